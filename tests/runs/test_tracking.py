"""W&B as a guest: offline unless it can work at once, and never in the way."""

import socket
import time
from pathlib import Path

import pytest
import wandb

from vesalius.runs.tracking import WandbTracker, choose_mode


@pytest.fixture
def closed_port():
    """The address of a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_offline_is_taken_as_said():
    assert choose_mode("offline") == ("offline", None)


def test_online_without_a_key_stays_offline(monkeypatch):
    monkeypatch.setattr(type(wandb.api), "api_key", None, raising=False)
    mode, reason = choose_mode("online")
    assert mode == "offline"
    assert "wandb login" in reason


def test_a_server_that_does_not_answer_costs_two_seconds_at_most(monkeypatch, closed_port):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", closed_port)
    started = time.perf_counter()
    mode, reason = choose_mode("online")
    assert mode == "offline"
    assert "does not answer" in reason
    assert time.perf_counter() - started < 3


def test_a_run_is_written_offline_with_config_metrics_and_figures(tmp_path: Path):
    from matplotlib.figure import Figure

    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {"seed": 7, "model": {"lr": 0.1}}, "name")
    tracker.log_metrics({"val/auroc": 0.5, "epoch": 0})
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    tracker.finish({"test": {"auroc": {"value": 0.5}}}, {"roc": figure})
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    expected = (b"val/auroc", b"figures/roc", b"test")
    deadline = time.monotonic() + 20  # W&B's own process writes when it likes
    while not all(words in log.read_bytes() for words in expected) and time.monotonic() < deadline:
        time.sleep(0.05)
    for words in expected:
        assert words in log.read_bytes()


def test_a_tracker_that_fails_never_stops_the_run(tmp_path: Path, monkeypatch, caplog):
    def broken(**options):
        raise wandb.errors.CommError("no")

    monkeypatch.setattr(wandb, "init", broken)
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.log_metrics({"val/auroc": 0.5})
    tracker.finish({}, {})
    assert caplog.text.count("W&B is off") == 1


def test_online_that_fails_goes_on_offline(tmp_path: Path, monkeypatch):
    real = wandb.init

    def broken(**options):
        if options["mode"] == "online":
            raise wandb.errors.CommError("wrong key")
        return real(**options)

    monkeypatch.setattr(wandb, "init", broken)
    monkeypatch.setattr("vesalius.runs.tracking.choose_mode", lambda wanted: ("online", None))
    tracker = WandbTracker(mode="online")
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({}, {})
    assert not tracker.failed
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_a_resumed_run_is_the_same_one(tmp_path: Path):
    ids = []
    for _ in range(2):
        tracker = WandbTracker(mode="offline")
        tracker.begin(tmp_path, {}, "name")
        ids.append(tracker.experiment.id)
        tracker.finish({}, {})
    assert ids[0] == ids[1]


def test_no_path_of_the_users_is_sent(tmp_path: Path):
    config = {"data": {"source": {"root": "/home/me/patients", "files": ["/home/me/more"]}}, "init_from": None}
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, config, "name")
    tracker.finish({}, {})
    for path in tmp_path.glob("wandb/offline-run-*/**/*"):
        if path.is_file() and path.suffix != ".log":
            assert b"/home/me" not in path.read_bytes(), path
