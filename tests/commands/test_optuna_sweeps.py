"""Sweeps that Optuna draws, as a user starts them: real runs, few and small."""

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import optuna
import pytest
import yaml

from small_runs import SMALL
from vesalius.sweeps.search.journal import JOURNAL, open_journal

pytestmark = pytest.mark.xdist_group("optuna_sweeps")  # its runs are made once

OPTUNA = ["-m", "hydra/sweeper=vesalius_optuna"]
LR = "model.optimizer.lr=tag(log, interval(1e-4, 1e-1))"
#: Gives every trial up that has epochs left.
NEVER_GOOD = "hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, lower: 2.0}"


def trials_of(folder):
    return optuna.load_study(study_name="study", storage=open_journal(folder / JOURNAL)).trials


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def sweep(vesalius_in, tmp_path_factory):
    """Two trials of a search space that comes from a file."""
    place = tmp_path_factory.mktemp("sweep")
    options = ["hydra.sweeper.n_trials=2", "hydra.sweep.dir=here", "model.net.dropout=0.1", "trainer.max_epochs=1"]
    small = [*SMALL[1:], "data.source.patients=96"]  # enough for intervals
    done = vesalius_in(place, "train", "-m", "hparams_search=lesions_cnn_lr", *small, *options)
    assert done.returncode == 0, done.stderr
    return place / "here", done


def test_trials_jobs_and_folders_are_the_same_things(sweep):
    folder, _ = sweep
    trials = trials_of(folder)
    assert sorted(path.parent.name for path in folder.glob("*/config.yaml")) == ["0", "1"]
    for trial in trials:
        run = folder / str(trial.number)
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["model"]["optimizer"]["lr"] == trial.params["model.optimizer.lr"]
        assert config["model"]["optimizer"]["weight_decay"] == trial.params["model.optimizer.weight_decay"]
        assert config["model"]["net"]["dropout"] == 0.1  # typed, so it goes before the file
        assert json.loads((run / "metrics.json").read_text())["monitor"]["best"] == trial.value
        assert trial.user_attrs["folder"] == f"here/{trial.number}"
    assert set(trials[0].params) == {"model.optimizer.lr", "model.optimizer.weight_decay"}


def test_the_best_trial_is_printed_with_its_interval(sweep):
    folder, done = sweep
    trials = trials_of(folder)
    best = max(trials, key=lambda trial: trial.value)
    judged = json.loads((folder / str(best.number) / "metrics.json").read_text())["val"]["auroc"]
    low, high = judged["ci95"]
    assert f"Best trial {best.number} of 2: val/auroc {best.value:.4g} with" in done.stdout
    assert f"auroc {judged['value']:.3g} [{low:.3g}, {high:.3g}], no skill 0.5" in done.stdout
    told = json.loads((folder / "sweep.json").read_text())
    assert told["study"]["best"] == best.number
    assert told["axes"]["model.optimizer.lr"] == ["tag(log, interval(1e-4, 1e-1))"]
    with (folder / "study" / "trials.csv").open() as file:
        assert [float(row["val/auroc"]) for row in csv.DictReader(file)] == [trial.value for trial in trials]


def test_a_pruned_run_stops_early_and_is_no_failure(vesalius, tmp_path):
    arguments = [*OPTUNA, LR, *SMALL, NEVER_GOOD, "hydra.sweeper.n_trials=1", "hydra.sweep.dir=here"]
    done = vesalius("train", *arguments, "trainer.max_epochs=300")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    state = json.loads((tmp_path / "here" / "0" / "state.json").read_text())
    assert state["state"] == "pruned"
    assert state["reason"].startswith("threshold pruner: val/auroc")
    (trial,) = trials_of(tmp_path / "here")
    assert trial.state.name == "PRUNED"
    assert 1 <= len(trial.intermediate_values) < 300
    assert "no best one" in done.stdout


def test_mistakes_are_reported_before_anything_is_written(vesalius, tmp_path):
    cases = {
        ("hydra.sweeper.sampler=grid", LR): "list the values",
        ("hydra.sweeper.sampler=tpee", LR): "Did you mean 'tpe'",
        ("hydra.sweeper.n_trial=3", LR): "n_trial",
        ("model=glob(*)",): "choice(a, b)",
        ("seed=1",): "nothing varies",
        ("hydra/launcher=basic", LR): "hydra/launcher=vesalius",
    }
    for arguments, cure in cases.items():
        done = vesalius("train", *OPTUNA, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert cure in done.stderr, arguments
    assert not list(tmp_path.rglob("*"))


def test_without_optuna_the_message_has_the_line_to_type(fresh_vesalius_in, tmp_path, monkeypatch):
    (tmp_path / "without" / "optuna").mkdir(parents=True)
    (tmp_path / "without" / "optuna" / "__init__.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    done = fresh_vesalius_in(tmp_path, "train", *OPTUNA, LR)  # the warm interpreter has imported Optuna already
    assert done.returncode == 2
    assert done.stderr == "Error: hydra/sweeper=vesalius_optuna needs Optuna: pip install 'vesalius[sweep]'\n"


def test_a_start_without_a_sweep_does_not_pay_for_optuna():
    said = (
        "import sys, hydra_plugins.vesalius_optuna.sweeper; print({'optuna', 'torch', 'sqlalchemy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.proof
def test_a_real_sweep_killed_five_times_ends_whole(vesalius, tmp_path):
    """Twelve trials, two at a time; five times SIGKILL at a random moment of a trial, then resumed.

    Every other time of all it has started too, so that no job can save what it has.
    """
    arguments = [*OPTUNA, LR, *SMALL, "trainer.max_epochs=20", "hydra.sweeper.n_trials=12", "hydra.launcher.n_jobs=2"]
    command = [sys.executable, "-m", "vesalius.cli", "train"]
    folder, draw = tmp_path / "here", random.Random()
    seen, done_before = {}, {}
    for attempt in range(5):
        more = [*arguments, f"hydra.sweep.dir={folder}"] if attempt == 0 else ["-m", f"resume={folder}"]
        process = subprocess.Popen([*command, *more], cwd=tmp_path)
        least = 2 * attempt + 1  # of twelve, so that however quick a trial is, some are left for the next attempt
        wait_for(lambda least=least: len(list(folder.glob("*/state.json"))) >= least, process, seconds=600)
        time.sleep(draw.uniform(0, 1))
        assert process.poll() is None
        jobs = children_of(process.pid)
        process.kill()
        for job in jobs if attempt % 2 else ():
            with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
                os.killpg(job, signal.SIGKILL)  # each is a session of its own, with its ranks
        process.wait()
        for state in folder.glob("*/state.json"):
            if json.loads(state.read_text())["state"] == "done":
                done_before.setdefault(state, state.read_bytes())
        for trial in trials_of(folder):
            assert seen.setdefault(trial.number, trial.params).items() <= trial.params.items()
        print(f"kill {attempt + 1}: {[trial.state.name for trial in trials_of(folder)]}")
    done = vesalius("train", "-m", f"resume={folder}", timeout=1200)
    assert done.returncode == 0, done.stderr
    trials = trials_of(folder)
    assert [trial.number for trial in trials] == list(range(12))
    assert len({json.dumps(trial.params) for trial in trials}) == 12
    assert {state: state.read_bytes() for state in done_before} == done_before  # none was run again
    assert sorted(int(path.parent.name) for path in folder.glob("*/config.yaml")) == list(range(12))
    for trial in trials:
        run = folder / str(trial.number)
        assert json.loads((run / "state.json").read_text())["state"] == "done"
        assert json.loads((run / "metrics.json").read_text())["monitor"]["best"] == trial.value
        lr = yaml.safe_load((run / "config.yaml").read_text())["model"]["optimizer"]["lr"]
        assert lr == trial.params["model.optimizer.lr"]
        with (run / "history.csv").open() as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(20))
        assert 1 <= json.loads((run / "state.json").read_text())["attempt"] <= 6
    print(done.stdout[-600:])


def children_of(pid):
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def wait_for(ready, process, seconds=60):
    """Until `ready()`; the process must live so long."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
