"""Jobs that a scheduler runs. SLURM itself is played by four small scripts, its Python side is real."""

import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SweepFolder
from vesalius.sweeps.slurm import check_request, check_slurm, is_queued
from vesalius.sweeps.submitit_pool import ClusterPool, ClusterTask, check_options, make_executor

submitit = pytest.importorskip("submitit", reason="pip install 'vesalius[sweep]'")

HELPERS = Path(__file__).parents[1] / "helpers"
OPTIONS = {
    "cluster": "slurm",
    "n_jobs": 1,
    "gpus_per_job": 0,
    "partition": "gpu",
    "account": "lab",
    "nodes": 2,
    "tasks_per_node": 4,
    "gpus_per_node": 4,
    "cpus_per_task": 8,
    "timeout_min": 90,
    "array_parallelism": 3,
    "additional_parameters": {"qos": "long", "mail-type": "FAIL"},
    "setup": ["module load cuda"],
    "max_requeues": 2,
}
DDP = {"trainer": {"devices": 4, "num_nodes": 2}}

# Runs a script at once, each task of an array in the background, and knows which of them still run.
SBATCH = r"""#!/bin/bash
cp "$1" "$FAKE_SLURM/script_$$"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")
export SLURM_JOB_ID=$$ SLURM_NTASKS=1 SLURM_NNODES=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NAME=test
for task in $(seq 0 ${last:-0}); do
    if [ -n "$last" ]; then export SLURM_ARRAY_JOB_ID=$$ SLURM_ARRAY_TASK_ID=$task; fi
    name=$$${last:+_$task}
    (touch "$FAKE_SLURM/queue_$name"; bash "$1"; rm "$FAKE_SLURM/queue_$name") > "$FAKE_SLURM/out_$name" 2>&1 &
done
echo "Submitted batch job $$"
"""
SRUN = r"""#!/bin/bash
shift 5  # --unbuffered --output FILE --error FILE
export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_STEP_ID=0
exec "$@"
"""
SQUEUE = r"""#!/bin/bash
name="${@: -1:1}"; [ -e "$FAKE_SLURM/queue_${name#--jobs=}" ] && echo RUNNING || exit 0
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The commands of SLURM on the path, in play."""
    place = tmp_path / "slurm"
    place.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "squeue": SQUEUE}.items():
        (place / name).write_text(text)
        (place / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(place))
    return place


@pytest.fixture
def full_slurm(slurm):
    """A queue in which jobs wait for ever."""
    (slurm / "sbatch").write_text('#!/bin/bash\ncp "$1" "$FAKE_SLURM/script"; echo "Submitted batch job 7"\n')
    (slurm / "queue_7").touch()
    return slurm


def test_the_script_asks_for_what_the_options_say(full_slurm, tmp_path):
    executor = make_executor(tmp_path / "sweep", OPTIONS)
    executor.submit(print)
    lines = (full_slurm / "script").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {
        "job-name=vesalius-sweep",
        "partition=gpu",
        "account=lab",
        "nodes=2",
        "ntasks-per-node=4",
        "gpus-per-node=4",
        "cpus-per-task=8",
        "time=90",
        "qos=long",
        "mail-type=FAIL",
        "signal=USR2@90",
    }
    assert lines.index("module load cuda") < next(at for at, line in enumerate(lines) if line.startswith("srun"))
    assert executor.max_num_timeout == 2
    few = OPTIONS | dict.fromkeys(("partition", "account", "gpus_per_node", "cpus_per_task"))
    make_executor(tmp_path / "sweep", few).submit(print)
    text = (full_slurm / "script").read_text().partition("srun")[0]
    assert not any(word in text for word in ("partition", "account", "gpus", "cpus"))


def test_a_sweep_runs_as_an_array_to_its_end(slurm, tmp_path):
    options = ["hydra.launcher.cluster=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=7"]
    arguments = ["-m", "seed=0,13,14", "trainer=cpu", "trainer.max_epochs=1", "hydra.sweep.dir=here", *options]
    command = [sys.executable, str(HELPERS / "fake_sweep.py"), "train", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    sweep = SweepFolder(tmp_path / "here")
    states = [job.state for job in sweep.jobs]
    assert states == ["done", "failed", "refused"], [job.reason for job in sweep.jobs]
    assert "there is no such luck" in sweep.jobs[2].reason
    (script,) = slurm.glob("script_*")
    asked = script.read_text()
    assert "#SBATCH --array=0-2%3" in asked
    assert "#SBATCH --time=7" in asked
    names = [sweep.cluster_name(number) for number in range(3)]
    assert names == [f"{script.name.removeprefix('script_')}_{task}" for task in range(3)]
    assert "bad luck" in (sweep.path / "1" / "logs" / "console.log").read_text()


def test_a_job_that_is_out_of_time_saves_and_goes_on(tmp_path, monkeypatch):
    """What SLURM does before the time is up: USR2 to the processes of the job; here through submitit's own executor."""
    monkeypatch.setenv("FAKE_PAUSE", "0.1")
    config = {"seed": 0, "trainer": {"max_epochs": 25}, "monitor": {"name": "val/auroc", "mode": "max"}}
    folder = RunFolder.create(tmp_path / "0", config, [])
    executor = submitit.LocalExecutor(tmp_path / ".submitit")
    command = [sys.executable, str(HELPERS / "fake_worker.py"), str(folder.path)]
    job = executor.submit(ClusterTask(command, folder.path / "logs" / "console.log"))
    deadline = time.monotonic() + 60
    while not (folder.path / "history.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = Path(f"/proc/{folder.state['pid']}/status").read_text()
    task = next(int(line.split()[1]) for line in worker.splitlines() if line.startswith("PPid"))
    os.kill(task, signal.SIGUSR2)
    code, _ = job.result()
    assert code == 0
    assert (folder.state["state"], folder.state["attempt"]) == ("done", 2)
    epochs = [line.split(",")[0] for line in (folder.path / "history.csv").read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(25)]


def test_a_job_of_another_start_is_still_in_the_queue(slurm):
    (slurm / "queue_7_1").touch()
    assert is_queued("7_1")
    assert not is_queued("7_2")
    (slurm / "squeue").unlink()
    if not Path("/usr/bin/squeue").exists():
        assert is_queued("7_2")  # nobody can say that it is not


def test_a_result_is_read_and_nothing_that_it_names_is_run(full_slurm, tmp_path):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    def ended(content, place):
        sweep = SweepFolder.create(place, verb="train", arguments=[], axes={}, sweeper="basic")
        pool = ClusterPool(sweep, OPTIONS, 1)
        pool.start(0, ["true"], place / "0")
        assert pool.ended() == []
        (place / ".submitit" / "7_0_result.pkl").write_bytes(content)
        (found,) = pool.ended()
        return found.code, found.last_lines

    assert ended(pickle.dumps(("success", (3, ["said"]))), tmp_path / "good") == (3, ["said"])
    reserving = b"\x80\x02Nr\xff\xff\xff\x7f."  # would take 32 GB for the memo of one value
    others = [pickle.dumps(one) for one in (("success", Hostile()), 3, ("success", 3), ("success", ("x", None)))]
    hostile = (b"no pickle", b"", reserving, bytes(2**21), *others)
    for number, content in enumerate(hostile):
        code, (said,) = ended(content, tmp_path / str(number))
        assert code != 0
        assert "is not the result of a job" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("late", [True, False])
def test_a_job_that_left_the_queue_may_show_its_result_a_little_later(full_slurm, tmp_path, monkeypatch, late):
    monkeypatch.setattr("vesalius.sweeps.submitit_pool._QUERY", 0.0)
    sweep = SweepFolder.create(tmp_path / "sweep", verb="train", arguments=[], axes={}, sweeper="basic")
    pool = ClusterPool(sweep, OPTIONS, 1)
    pool.start(0, ["true"], tmp_path / "sweep" / "0")
    assert pool.ended() == []
    (full_slurm / "queue_7").unlink()
    assert pool.ended() == []
    if late:
        (tmp_path / "sweep" / ".submitit" / "7_0_result.pkl").write_bytes(pickle.dumps(("success", (0, []))))
    (found,) = pool.ended()
    assert (found.code, found.last_lines) == ((0, []) if late else (143, ["it left no result: see .submitit/"]))


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({}, DDP),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0"}, DDP),
        ({"SLURM_NTASKS": "1"}, {"trainer": {"devices": "auto", "accelerator": "cpu"}}),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "CUDA_VISIBLE_DEVICES": "0,1"}, {"trainer": {"devices": -1}}),
        ({"SLURM_NTASKS": "3", "SLURM_STEP_ID": "0"}, {"trainer": {"devices": [0, 1, 5]}}),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, {"trainer": {"devices": "0,5"}}),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}, {"trainer": {"devices": "5,"}}),
        ({"SLURM_NTASKS": "9", "SLURM_JOB_NAME": "bash"}, DDP),
    ],
)
def test_tasks_that_fit_pass(environ, config):
    check_slurm(config, environ)


def test_tasks_that_do_not_fit_are_refused_with_both_cures():
    environ = {"SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_STEP_ID": "0"}
    with pytest.raises(InputError) as caught:
        check_slurm(DDP, environ)
    (problem,) = caught.value.problems
    assert "#SBATCH --nodes=2 --ntasks-per-node=4" in problem
    assert "trainer.devices=2 trainer.num_nodes=3" in problem


@pytest.mark.parametrize(("tasks", "nodes"), [(5, 2), (1, 2)])
def test_tasks_that_nodes_cannot_share_evenly_have_one_cure(tasks, nodes):
    environ = {"SLURM_NTASKS": str(tasks), "SLURM_NNODES": str(nodes), "SLURM_STEP_ID": "0"}
    with pytest.raises(InputError) as caught:
        check_slurm(DDP, environ)
    (problem,) = caught.value.problems
    assert "#SBATCH --nodes=2 --ntasks-per-node=4" in problem
    assert "or set" not in problem


def test_devices_that_are_no_number_are_named():
    with pytest.raises(InputError, match=r"trainer\.devices=two: "):
        check_slurm({"trainer": {"devices": "two"}}, {"SLURM_NTASKS": "2"})


def test_one_process_for_many_tasks_is_refused():
    with pytest.raises(InputError, match="put srun before vesalius"):
        check_slurm(DDP, {"SLURM_NTASKS": "8", "SLURM_NNODES": "2"})


def test_the_launcher_asks_for_as_many_tasks_as_the_trainer_needs():
    check_request(DDP, OPTIONS)
    check_request({"trainer": {"devices": "auto", "num_nodes": 2}}, OPTIONS)
    with pytest.raises(InputError, match=r"hydra\.launcher\.nodes=1 hydra\.launcher\.tasks_per_node=1"):
        check_request({"trainer": {"devices": 1}}, OPTIONS)


def test_options_that_cannot_be_are_all_named(slurm):
    check_options(OPTIONS)
    with pytest.raises(InputError) as caught:
        check_options(OPTIONS | {"nodes": 0, "timeout_min": 0, "gpus_per_job": 1})
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="choose slurm, or null"):
        check_options(OPTIONS | {"cluster": "pbs"})


def test_slurm_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no srun"):
        check_options(OPTIONS)
