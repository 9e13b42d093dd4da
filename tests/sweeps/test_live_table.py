"""What a sweep shows while it runs."""

import json

import pytest

from run_maker import predictions, write_run
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SweepJob
from vesalius.sweeps.live_table import SweepBoard, duration, progress_of


@pytest.fixture
def run(tmp_path):
    path = write_run(tmp_path / "0", predictions(1.0, 0), state="running", trainer={"max_epochs": 10})
    rows = ["epoch,val/auroc", "0,0.6", "1,0.8", "2,nan", "3,0.7"]
    (path / "history.csv").write_text("\n".join(rows) + "\n")
    return RunFolder(path)


@pytest.mark.parametrize(("mode", "best"), [("max", 0.8), ("min", 0.6)])
def test_progress_is_read_from_the_history(run, mode, best):
    config = {"monitor": {"name": "val/auroc", "mode": mode}, "trainer": {"max_epochs": 10}}
    progress = progress_of(run, config)
    assert (progress.epochs, progress.max_epochs, progress.best) == (4, 10, best)
    assert progress.seconds_left(8.0) == 12.0  # six epochs of two seconds
    assert progress.seconds_left(8.0, before=2) == 24.0  # only two of them were this attempt's
    assert progress.seconds_left(8.0, before=4) is None


def test_a_run_without_an_end_has_no_time_left(run):
    assert progress_of(run, {"trainer": {"max_epochs": -1}}).seconds_left(8.0) is None


@pytest.mark.parametrize(
    "damaged", [b"", b"epo", b"0,0.6\n1,0.8\n", b"epoch,val/auroc\nx,0.6\n", b"\xff\xfe\x00", b"\x00\n"]
)
def test_a_damaged_history_is_no_progress_and_no_end_of_the_sweep(run, damaged):
    (run.path / "history.csv").write_bytes(damaged)
    progress = progress_of(run, {"monitor": {"name": "val/auroc", "mode": "max"}, "trainer": {"max_epochs": 10}})
    assert progress.epochs == 0


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_what_varies_is_named_as_shortly_as_it_can_be():
    jobs = ["model.optimizer.lr=0.1", "model.critic.lr=0.2", "seed=3", "trainer=cpu"]
    board = SweepBoard(["model.optimizer.lr", "seed"], total=1, slots=1)
    assert board.varies(jobs) == "lr=0.1 seed=3"
    board = SweepBoard(["model.optimizer.lr", "model.critic.lr", "seed"], total=1, slots=1)
    assert board.varies(jobs) == "model.optimizer.lr=0.1 model.critic.lr=0.2 seed=3"


@pytest.mark.parametrize("terminal", [True, False])
def test_each_job_is_told_of(run, tmp_path, capsys, monkeypatch, terminal):
    monkeypatch.setattr("vesalius.sweeps.live_table.shows_table", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with SweepBoard(["seed"], total=3, slots=1) as board:
        board.started(0, ["seed=0", "a=b"], run, goes_on=False)
        board.update()
        (run.path / "state.json").write_text(json.dumps({"state": "done"}))
        board.ended(SweepJob(0, ("seed=0", "a=b"), run.path, "done", 0.8125))
        failed = SweepJob(1, ("seed=1", "a=b"), tmp_path / "1", "failed", None, "no [luck]")
        board.ended(failed, ["line [red]1", "line 2"])
    said = capsys.readouterr().err
    assert "  1 | line [red]1\n  1 | line 2\n" in said
    if terminal:
        row = next(line for line in said.splitlines() if "seed=0" in line)
        assert [word in row for word in ("done", "4/10", "val/auroc 0.8")] == [True] * 3
        assert "1 done, 1 failed, 1 waiting" in said
    else:
        assert said.splitlines()[0] == "[0, 0 of 3 ended] starts: seed=0"
        assert "done after" in said
        assert "val/auroc 0.8125" in said
        assert "failed: no [luck]" in said
