"""Sweeps as a user starts, stops and resumes them. Most with runs that cost nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from small_runs import SMALL
from vesalius.runs.sweep_folder import SweepFolder

pytestmark = pytest.mark.xdist_group("sweeps")  # its runs are made once

FAKE = Path(__file__).parents[1] / "helpers/fake_sweep.py"


def command(*arguments):
    return [sys.executable, str(FAKE), "train", *map(str, arguments)]


@pytest.fixture(scope="module")
def sweep(warm_vesalius_in):
    """Run `vesalius train ...` whose runs cost nothing."""

    def run(place, *arguments, pause=0.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAKE_PAUSE", str(pause))
            return warm_vesalius_in(place, "train", *arguments, timeout=120, fake=True)

    return run


def states(folder):
    return {job.number: job.state for job in SweepFolder(folder).jobs}


def log_of(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def lives(pid):
    """Whether a process runs; one that has ended stays in the table until its parent, here pid 1, asks for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def group_of(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, sweep):
    """Good jobs, one that fails, one that refuses its config, one that is killed, one that cannot be composed."""
    place = tmp_path_factory.mktemp("mixed")
    more = ["trainer.max_epochs=2", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=here"]
    return place / "here", sweep(
        place, "-m", "seed=0,13,14,15,-1,1", *more, pause=1.0
    )  # long beside a start: jobs overlap


def test_a_failing_job_does_not_stop_the_rest(mixed):
    folder, done = mixed
    assert done.returncode == 1
    assert states(folder) == {0: "done", 1: "failed", 2: "refused", 3: "failed", 4: "refused", 5: "done"}
    assert "Traceback" not in "".join(line for line in done.stderr.splitlines() if " | " not in line)


def test_each_job_that_was_not_finished_is_named_with_its_reason(mixed):
    folder, done = mixed
    told = {line.split()[2]: line for line in done.stderr.splitlines() if line.startswith("Error: job")}
    assert set(told) == {"1", "2", "3", "4"}
    assert "RuntimeError: bad luck" in told["1"]
    assert f"{folder.name}/1" in told["1"]
    assert "seed=14: there is no such luck." in told["2"]
    assert "SIGKILL" in told["3"]
    assert "0 and 2**32" in told["4"]
    assert "trainer.max_epochs=2 seed=13" in told["1"] or "seed=13 trainer.max_epochs=2" in told["1"]


def test_the_last_lines_of_a_failed_job_are_shown(mixed):
    folder, done = mixed
    assert "  1 | RuntimeError: bad luck" in done.stderr
    assert "RuntimeError: bad luck" in (folder / "1" / "logs" / "console.log").read_text()
    assert "  0 | " not in done.stderr


def test_refused_jobs_leave_no_folder(mixed):
    folder, _ = mixed
    assert sorted(path.parent.name for path in folder.glob("*/config.yaml")) == ["0", "1", "3", "5"]
    assert not (folder / "2").exists()
    assert not (folder / "4").exists()


def test_no_job_starts_beyond_the_slots(mixed):
    folder, _ = mixed
    running, most = set(), 0
    for what, number, _ in log_of(folder):
        if what == "start":
            running.add(number)
        else:
            running.discard(number)
        running.discard("3")  # it has no time to say that it ends
        most = max(most, len(running))
    assert most == 2


def test_the_sweep_folder_holds_what_was_asked_and_how_it_went(mixed):
    folder, _ = mixed
    told = json.loads((folder / "sweep.json").read_text())
    assert told["axes"] == {"seed": ["0", "13", "14", "15", "-1", "1"]}
    assert told["arguments"] == ["hydra.launcher.n_jobs=2", "seed=0,13,14,15,-1,1", "trainer.max_epochs=2"]
    jobs = SweepFolder(folder).jobs
    for job in jobs:
        if job.state == "done":
            assert job.objective == json.loads((job.path / "metrics.json").read_text())["monitor"]["best"]
            assert f"seed={yaml.safe_load((job.path / 'config.yaml').read_text())['seed']}" in job.overrides
    assert [job.objective is None for job in jobs] == [False, True, True, True, True, False]


def test_a_folder_that_holds_a_sweep_is_not_taken_twice(mixed, sweep):
    folder, _ = mixed
    before = (folder / "sweep.json").read_bytes()
    done = sweep(folder.parent, "-m", "seed=0,1", "hydra.sweep.dir=here")
    assert done.returncode == 2
    assert "resume=here" in done.stderr
    assert (folder / "sweep.json").read_bytes() == before


def test_what_lies_in_the_users_folder_stays(tmp_path, sweep):
    """Folders named as those of jobs would be, and a run of the user's own where the first job would lie."""
    mine = tmp_path / "mine" / "0"
    mine.mkdir(parents=True)
    (mine / "precious.png").write_text("kept")
    single = sweep(tmp_path, "seed=7", "trainer.max_epochs=1", "hydra.run.dir=run/0")
    assert single.returncode == 0, single.stderr
    for folder in ("mine", "run"):
        done = sweep(tmp_path, "-m", "seed=0,1", "trainer.max_epochs=1", f"hydra.sweep.dir={folder}")
        assert done.returncode == 2
        assert "choose another folder" in done.stderr
        assert {path.name for path in (tmp_path / folder).iterdir()} - {"log", "worked"} == {"0"}
    assert (mine / "precious.png").read_text() == "kept"


@pytest.mark.slow
def test_a_folder_that_came_while_the_sweep_stood_still_is_not_taken(tmp_path, sweep):
    """Neither deleted nor gone on with, however often it is tried: what `sweep.json` does not list is not its own."""
    pytest.importorskip("optuna", reason="pip install 'vesalius[sweep]'")
    arguments = ["-m", "hydra/sweeper=vesalius_optuna", "seed=range(0,9)", "hydra.sweeper.n_trials=1"]
    assert sweep(tmp_path, *arguments, "trainer.max_epochs=1", "hydra.sweep.dir=here").returncode == 0
    (tmp_path / "here" / "1").mkdir()
    (tmp_path / "here" / "1" / "mine").touch()
    for _ in range(2):
        done = sweep(tmp_path, "-m", "resume=here", "hydra.sweeper.n_trials=2")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert "here/1 was not created by this sweep: move it" in done.stderr
        assert (tmp_path / "here" / "1" / "mine").exists()
    (tmp_path / "here" / "1").rename(tmp_path / "elsewhere")
    assert sweep(tmp_path, "-m", "resume=here", "hydra.sweeper.n_trials=2").returncode == 0
    assert states(tmp_path / "here") == {0: "done", 1: "done"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "seed=range(0,0)", "hydra.sweep.dir=here"], "has no job"),
        (["-m", "seed=0,1", "hydra.sweep.dir=afile"], "hydra.sweep.dir=afile: no folder can be created there"),
        (["-m", "seed=0,1", f"name={'x' * 300}"], "no folder can be created there"),
        (["-m", "seed=0,1", "hydra.launcher.n_jobs=0", "hydra.sweep.dir=here"], "hydra.launcher.n_jobs=0"),
        (["-m", "model=cnn,autoencoder", "model.net.dropout=0.1", "hydra.sweep.dir=here"], "dropout"),
    ],
)
def test_a_sweep_that_cannot_begin_is_refused_and_leaves_nothing(tmp_path, arguments, message, sweep):
    (tmp_path / "afile").touch()
    done = sweep(tmp_path, *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]


def test_a_trial_that_cannot_be_composed_fails_and_the_others_go_on(tmp_path, sweep):
    pytest.importorskip("optuna", reason="pip install 'vesalius[sweep]'")
    space = ["model=cnn,autoencoder", "model.net.dropout=0.1", "hydra.sweeper.sampler=grid"]
    arguments = ["-m", "hydra/sweeper=vesalius_optuna", *space, "trainer.max_epochs=1", "hydra.sweep.dir=here"]
    for again in (arguments, ["-m", "resume=here"]):
        done = sweep(tmp_path, *again)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert states(tmp_path / "here") == {0: "done", 1: "refused"}
        assert "model.net.dropout" in done.stderr
        assert "Best trial 0 of 2" in done.stdout


def test_resume_keeps_what_is_done_and_runs_the_rest_again(tmp_path, sweep):
    first = sweep(tmp_path, "-m", "seed=shuffle(0,13,1,2)", "trainer.max_epochs=1", "hydra.sweep.dir=here")
    assert first.returncode == 1
    folder = tmp_path / "here"
    jobs = SweepFolder(folder).jobs
    bad = next(job for job in jobs if job.state == "failed")
    attempts = {job.number: (job.path / "state.json").read_bytes() for job in jobs if job.state == "done"}
    (bad.path / "mine").touch()
    started = len(log_of(folder))

    other = sweep(tmp_path, "-m", "resume=here", "seed=3,4")
    assert other.returncode == 2
    assert "seed=3,4" in other.stderr
    assert "leave it out" in other.stderr

    again = sweep(tmp_path, "-m", "resume=here", "hydra.launcher.n_jobs=2")
    assert again.returncode == 1  # bad luck does not change
    after = SweepFolder(folder).jobs
    assert [job.overrides for job in after] == [job.overrides for job in jobs]
    assert {number: (folder / str(number) / "state.json").read_bytes() for number in attempts} == attempts
    assert [number for _, number, _ in log_of(folder)[started:]] == [str(bad.number)] * 2
    assert not (bad.path / "mine").exists()  # from scratch


@pytest.mark.parametrize("asked", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_sweep_lets_its_jobs_save_and_goes_on(tmp_path, asked, sweep):
    arguments = ["-m", "seed=0,1,2", "trainer.max_epochs=30", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=here"]
    folder = tmp_path / "here"
    env = {**os.environ, "FAKE_PAUSE": "0.5"}  # neither ends before the other begins, on a busy machine too
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: all((folder / number / "history.csv").exists() for number in "01"))
    process.send_signal(asked)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + asked
    assert "resume=here" in said
    assert "Traceback" not in said
    assert states(folder) == {0: "interrupted", 1: "interrupted", 2: "waiting"}
    if asked == signal.SIGINT:
        again = sweep(tmp_path, "-m", "resume=here")
        assert again.returncode == 0, again.stderr
        assert states(folder) == {0: "done", 1: "done", 2: "done"}
        for number in "012":
            assert len((folder / number / "history.csv").read_text().splitlines()) == 31
        attempts = [json.loads((folder / number / "state.json").read_text())["attempt"] for number in "012"]
        assert attempts == [2, 2, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-m", "seed=0,1", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=here"], id="sweep"),
        pytest.param(["seed=0", "hydra.run.dir=here/0"], id="run", marks=pytest.mark.slow),
    ],
)
def test_a_second_ctrl_c_kills(tmp_path, arguments):
    folder, jobs = tmp_path / "here", 2 if "-m" in arguments else 1
    env = {**os.environ, "FAKE_PAUSE": "600", "FAKE_DEAF": "1"}
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (folder / "worked").exists() and (folder / "worked").read_text().count("in") == jobs)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.7)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    ended = [json.loads((folder / str(number) / "state.json").read_text()) for number in range(jobs)]
    assert [(state["state"], state["reason"]) for state in ended] == [("interrupted", "killed")] * jobs


def test_a_killed_sweep_leaves_no_job_behind_and_can_be_resumed_at_once(tmp_path, sweep):
    arguments = ["-m", "seed=0,1,2", "trainer.max_epochs=20", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=here"]
    folder = tmp_path / "here"
    env = {**os.environ, "FAKE_PAUSE": "0.5"}  # as above
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, env=env)
    wait_until(lambda: all((folder / number / "history.csv").exists() for number in "01"))
    pids = [json.loads((folder / number / "state.json").read_text())["pid"] for number in "01"]
    assert all(lives(pid) for pid in pids)
    process.kill()
    process.wait()
    again = sweep(tmp_path, "-m", "resume=here")
    assert again.returncode == 0, again.stderr
    assert not any(lives(pid) for pid in pids)
    assert states(folder) == {0: "done", 1: "done", 2: "done"}
    attempts = [json.loads((folder / number / "state.json").read_text())["attempt"] for number in "012"]
    assert attempts == [2, 2, 1]
    assert "goes on" in again.stderr


def test_a_sweep_belongs_to_one_process(tmp_path, sweep):
    arguments = ["-m", "seed=0,1", "trainer.max_epochs=1", "hydra.sweep.dir=here"]
    env = {**os.environ, "FAKE_PAUSE": "60"}
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, env=env)
    wait_until(lambda: (tmp_path / "here" / "0" / "state.json").exists())
    other = sweep(tmp_path, "-m", "resume=here")
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert other.returncode == 2
    assert "another process" in other.stderr


@pytest.mark.proof
def test_ranks_of_every_job_have_equal_configs_also_when_the_sweep_draws(vesalius, tmp_path):
    """Four jobs of two processes each, values shuffled, one set up to fail; each is a W&B run."""
    small = [one for one in SMALL if not one.startswith(("trainer=", "logger="))]
    rates = ["1e-3", "2e-3", "3e-3", "1e30"]  # the last diverges
    arguments = [*small, f"model.optimizer.lr=shuffle({','.join(rates)})", "trainer=ddp_cpu", "logger=wandb"]
    done = vesalius("train", "-m", *arguments, "trainer.max_epochs=1", "hydra.sweep.dir=here", timeout=600)
    print(done.stderr)
    assert done.returncode == 1
    folder = tmp_path / "here"
    jobs = SweepFolder(folder).jobs
    drawn = [next(text for text in job.overrides if "lr=" in text).partition("=")[2] for job in jobs]
    assert sorted(map(float, drawn)) == sorted(map(float, rates))
    assert sorted(job.state for job in jobs) == ["done", "done", "done", "failed"]
    hashes = set()
    for job, rate in zip(jobs, drawn, strict=True):
        assert yaml.safe_load((job.path / "config.yaml").read_text())["model"]["optimizer"]["lr"] == float(rate)
        logs = [(job.path / "logs" / f"rank{rank}.log").read_text() for rank in (0, 1)]
        own = [next(line.split(": ")[-1] for line in log.splitlines() if "config " in line) for log in logs]
        assert own[0] == own[1]
        hashes.add(own[0])
        assert len(list(job.path.glob("wandb/offline-run-*"))) == 1
    assert len(hashes) == 4


@pytest.mark.proof
def test_ctrl_c_of_a_sweep_of_two_ranks_a_job_leaves_no_process(tmp_path):
    small = [one for one in SMALL if not one.startswith("trainer=")]
    arguments = ["-m", *small, "seed=0,1", "trainer=ddp_cpu", "trainer.max_epochs=1000", "hydra.sweep.dir=here"]
    process = subprocess.Popen([sys.executable, "-m", "vesalius.cli", "train", *arguments], cwd=tmp_path)
    run = tmp_path / "here" / "0"
    wait_until(lambda: (run / "history.csv").exists(), seconds=120)
    rank_0 = json.loads((run / "state.json").read_text())["pid"]
    ranks = [int(path.name) for path in Path("/proc").glob("[0-9]*") if group_of(int(path.name)) == rank_0]
    assert len(ranks) >= 2
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not any(lives(pid) for pid in ranks)
    assert states(tmp_path / "here") == {0: "interrupted", 1: "waiting"}


@pytest.mark.benchmark
def test_a_sweep_costs_little_more_than_its_jobs(vesalius, tmp_path):
    """At most 2.5 s a job over the wall time of the jobs' own processes."""
    arguments = [*SMALL, "trainer.max_epochs=1", "seed=0,1,2,3", "hydra.sweep.dir=here"]
    began = time.monotonic()
    done = vesalius("train", "-m", *arguments, timeout=600)
    whole = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    own = []
    for number in "0123":
        folder = tmp_path / "here" / number
        state = json.loads((folder / "state.json").read_text())
        own.append(state["seconds"])
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import vesalius.commands.train"], check=True)
    imports = time.monotonic() - began
    overhead = (whole - sum(own)) / 4 - imports
    print(f"sweep of 4: {whole:.1f} s; work {sum(own):.1f} s; start {imports:.2f} s a job; over {overhead:.2f} s")
    assert overhead <= 2.5
