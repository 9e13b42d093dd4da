"""The run folder and its state."""

import contextlib
import fcntl
import json
import subprocess
import sys

import pytest

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import Interrupted, RunFolder, write_json


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", {"seed": 0, "name": "é"}, ["seed=0"])


def test_config_comes_back_as_it_was(folder):
    assert folder.config == {"seed": 0, "name": "é"}


def test_a_folder_that_holds_a_run_is_refused(folder):
    with pytest.raises(InputError, match="already holds a run"):
        RunFolder.create(folder.path, {}, [])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        RunFolder(tmp_path)


def test_metrics_of_an_unfinished_run_are_refused(folder):
    with pytest.raises(InputError, match="not started"):
        _ = folder.metrics


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "done", None),
        (Interrupted(143), "interrupted", "SIGTERM"),
        (Interrupted(130), "interrupted", "Ctrl-C"),
        (ValueError("why"), "failed", "ValueError: why"),
    ],
)
def test_state_tells_how_it_ended(folder, error, state, reason):
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected, folder.attempt():
        assert folder.state["state"] == "running"
        if error is not None:
            raise error
    assert (folder.state["state"], folder.state["reason"], folder.state["attempt"]) == (state, reason, 1)
    with folder.attempt():
        pass
    assert folder.state["attempt"] == 2


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "split.csv").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        RunFolder.create(tmp_path, {}, [])
    assert (tmp_path / "split.csv").read_text() == "mine"


def test_a_folder_whose_creation_was_killed_is_created_once_more(tmp_path):
    for name in (".creating", "overrides.yaml", ".config.yaml.77", "signature"):
        (tmp_path / name).write_text("")
    folder = RunFolder.create(tmp_path, {"seed": 1}, ["seed=1"])
    assert folder.config == {"seed": 1}
    assert folder.overrides == ["seed=1"]
    assert not (tmp_path / ".creating").exists()


def test_a_folder_that_another_command_is_creating_is_refused(tmp_path):
    with (tmp_path / ".creating").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="just being created"):
            RunFolder.create(tmp_path, {"seed": 1}, [])
    assert [path.name for path in tmp_path.iterdir()] == [".creating"]


def test_a_discarded_folder_is_gone(folder):
    with folder.attempt():
        pass
    folder.discard()
    assert not folder.path.exists()


def test_a_run_that_is_being_worked_on_is_distinguished_from_one_that_was_killed(folder):
    assert not folder.alive
    with folder.attempt():
        assert folder.alive
    assert not folder.alive
    code = (
        "import os; from vesalius.runs.run_folder import RunFolder\n"
        f"with RunFolder({str(folder.path)!r}).attempt(): print('begun', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "begun\n"
    assert folder.alive
    other.kill()
    other.wait()
    assert folder.state["state"] == "running"
    assert not folder.alive


def test_one_process_at_a_time_works_on_a_run(folder, monkeypatch):
    with folder.attempt():
        before = folder.state
        monkeypatch.setattr("vesalius.runs.run_folder._PROBES", 0.1)
        with pytest.raises(InputError, match="in use by process"), folder.attempt():
            pass
        assert folder.state == before  # the one that works tells how it stands
    with folder.attempt():
        assert folder.state["attempt"] == 2


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def started(monkeypatch):
    """Folders whose work was started, instead of starting it."""
    from vesalius.launch import launch

    paths = []
    monkeypatch.setattr(launch, "_work", lambda verb, folder, ahead=None: paths.append(folder.path) or 0)
    return paths


def test_resume_auto_starts_goes_on_and_is_content_with_what_is_done(started, tmp_path):
    from vesalius.launch.launch import launch

    config = {"seed": 0, "resume": "auto"}
    for _ in range(2):  # a new run; the same one again
        assert launch("train", config, ["resume=auto"], tmp_path / "run")[0] == 0
    assert started == [tmp_path / "run"] * 2
    write_json(tmp_path / "run/state.json", {"state": "done"})
    assert launch("train", config, ["resume=auto"], tmp_path / "run")[0] == 0
    assert len(started) == 2


def test_a_sweeps_objective_is_the_monitored_metric_of_the_best_checkpoint(monkeypatch, tmp_path):
    from vesalius.launch import launch

    written = {"monitor": {"name": "val/auroc", "best": 0.7}, "test": {"auroc": {"value": 0.9}}}
    monkeypatch.setattr(
        launch, "_work", lambda verb, folder, ahead=None: write_json(folder.path / "metrics.json", written) or 0
    )
    assert launch.launch("train", {"seed": 0}, [], tmp_path / "run") == (0, 0.7)
