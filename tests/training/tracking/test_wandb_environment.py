"""W&B's own environment variables are heeded, and the config wins over them where it sets a value."""

import pytest

from vesalius.training.tracking.wandb import WandbTracker
from vesalius.training.tracking.wandb_environment import WandbEnvironment


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, None),
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "disabled"),
        ({"WANDB_DISABLED": "false"}, None),
        ({"WANDB_SWEEP_ID": "abc"}, "online"),
        ({"WANDB_SWEEP_ID": "abc", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_the_mode(environ, mode):
    assert WandbEnvironment.read(environ).mode == mode


def test_names_and_tags():
    environ = {"WANDB_PROJECT": "liver", "WANDB_NAME": "first", "WANDB_TAGS": "a, b,", "WANDB_RUN_GROUP": "g"}
    found = WandbEnvironment.read(environ | {"WANDB_DIR": "/scratch", "WANDB_RUN_ID": "x"})
    assert (found.project, found.name, found.tags, found.group) == ("liver", "first", ("a", "b"), "g")
    assert found.directory == "/scratch"
    assert found.run_id is None  # only an agent's run has an id of its own
    assert WandbEnvironment.read({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "x"}).run_id == "x"


def test_a_disabled_tracker_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = WandbTracker()
    tracker.begin(tmp_path, {"data": {}, "model": {}}, "name")
    tracker.log_epoch({"epoch": 0.0})
    tracker.finish({}, {})
    assert not list(tmp_path.iterdir())


def test_the_environment_names_the_project_and_the_config_wins(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "from-the-environment")
    opened = []
    monkeypatch.setattr(wandb, "init", lambda **options: opened.append(options))
    config = {"data": {"source": {"_target_": "a.B"}}, "model": {"_target_": "a.C"}}
    for tracker in (WandbTracker(), WandbTracker(project="mine")):
        tracker.begin(tmp_path, config, "name")
    assert [options["project"] for options in opened] == ["from-the-environment", "mine"]
