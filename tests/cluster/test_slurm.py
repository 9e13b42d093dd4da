"""Sweeps on a SLURM that runs: a full queue, a cancelled job, a killed sweep, a time limit, two tasks a job."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bit_equality import differences
from slurm_cluster import can_run_slurm, running_slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(not can_run_slurm(), reason="SLURM is not installed, or this is not root"),
]
SMALL = ["data.source.patients=24", "data.source.slices=1", "data.source.image_size=28", "logger=none"]
SMALL += ["evaluation.baselines=false", "trainer=cpu"]
ON_SLURM = ["hydra.launcher.cluster=slurm", "hydra.launcher.cpus_per_task=1"]


@pytest.fixture(scope="module")
def slurm():
    with running_slurm(cpus=2) as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


def begin(place: Path, slurm: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vesalius.cli", "train", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=place, env=slurm, **pipes)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    printed, _ = process.communicate(timeout=1200)
    assert process.returncode == code, printed
    return printed


def queue(slurm: dict[str, str]) -> dict[str, str]:
    """The state of each job of SLURM by its name there."""
    command = ["squeue", "--noheader", "--array", "--format=%i %T"]
    listed = subprocess.run(command, env=slurm, capture_output=True, text=True, check=True)
    return dict(line.split() for line in listed.stdout.splitlines())


def fill_queue(slurm: dict[str, str], sweep: subprocess.Popen[str]) -> list[str]:
    """SLURM's names of the jobs that wait, once others run."""
    wait_for(lambda: "RUNNING" in queue(slurm).values(), sweep)
    return [name for name, state in queue(slurm).items() if state == "PENDING"]


def states(sweep: Path) -> dict[int, str]:
    return {job["number"]: job["state"] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]}


def test_a_full_queue_a_cancelled_job_and_a_killed_sweep_lose_nothing(slurm, tmp_path):
    sweep = tmp_path / "sweep"
    arguments = [*SMALL, *ON_SLURM, "trainer.max_epochs=2", f"hydra.sweep.dir={sweep}"]
    first = begin(tmp_path, slurm, "-m", "seed=0,1,2,3,4,5", *arguments)
    waiting = fill_queue(slurm, first)
    assert len(waiting) == 4  # two processors run two of the six
    subprocess.run(["scancel", waiting[-1]], env=slurm, check=True)
    first.kill()
    first.communicate()
    printed = finish(begin(tmp_path, slurm, "-m", f"resume={sweep}"))
    assert set(states(sweep).values()) == {"done"}, printed
    assert sorted(states(sweep)) == [0, 1, 2, 3, 4, 5]
    deadline = time.monotonic() + 60
    while queue(slurm) and time.monotonic() < deadline:  # a job that has recorded its end is about to leave
        time.sleep(0.2)
    assert not queue(slurm)
    here = tmp_path / "here"
    finish(begin(tmp_path, slurm, *SMALL, "trainer.max_epochs=2", "seed=5", f"hydra.run.dir={here}"))
    assert differences(sweep / "5", here) == []


def wait_for(condition: Callable[[], bool], sweep: subprocess.Popen[str], every: float = 0.2) -> None:
    while not condition():
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(every)


def test_a_job_that_runs_out_of_time_is_queued_again_and_ends_with_the_same_bits(slurm, tmp_path):
    sweep, here = tmp_path / "sweep", tmp_path / "here"
    long = [*SMALL, "trainer.max_epochs=200", "seed=0"]
    limit = ["hydra.launcher.timeout_min=10", f"hydra.sweep.dir={sweep}"]
    began = time.monotonic()
    process = begin(tmp_path, slurm, "-m", *long, *ON_SLURM, *limit)
    wait_for((sweep / "0" / "history.csv").exists, process, every=0.01)
    training = json.loads((sweep / "0" / "state.json").read_text())["pid"]
    os.kill(training, signal.SIGSTOP)  # until its time is nearly up: all of its epochs take seconds
    ((name, _),) = queue(slurm).items()
    minutes = int(time.monotonic() - began) // 60 + 2

    def update(*settings: str) -> None:
        subprocess.run(["scontrol", "update", f"jobid={name}", *settings], env=slurm, check=True)

    update(f"timelimit={minutes}")  # submitit has SLURM warn a job 90 seconds before its end
    log = next((sweep / ".submitit").glob("*_log.err"))
    wait_for(lambda: "SIGUSR2" in log.read_text(), process)
    with contextlib.suppress(ProcessLookupError):  # SLURM continues what it ends, and may have been quicker
        os.kill(training, signal.SIGCONT)
    wait_for(lambda: queue(slurm).get(name) == "PENDING", process)
    # SLURM would wait for two minutes; in the second of the first attempt's end it refuses a second one.
    update("timelimit=10", "starttime=now+3")
    finish(process)
    assert json.loads((sweep / "0" / "state.json").read_text())["attempt"] == 2
    assert "Interrupted by SIGTERM" in (sweep / "0" / "logs" / "console.log").read_text()  # it has saved what there was
    finish(begin(tmp_path, slurm, *long, f"hydra.run.dir={here}"))
    assert differences(sweep / "0", here) == []


def test_two_tasks_train_one_network(slurm, tmp_path):
    sweep = tmp_path / "sweep"
    tasks = ["trainer=ddp_cpu", "trainer.devices=2", "hydra.launcher.tasks_per_node=2", f"hydra.sweep.dir={sweep}"]
    finish(begin(tmp_path, slurm, "-m", "seed=0", *SMALL, "trainer.max_epochs=2", *ON_SLURM, *tasks))
    assert states(sweep) == {0: "done"}
    assert {path.name for path in (sweep / "0" / "logs").glob("rank*.log")} == {"rank0.log", "rank1.log"}
