"""Paths in what a run writes for others to read."""

import json
import logging

import pytest

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.runs.provenance.code import code_version
from vesalius.runs.provenance.origin import provenance
from vesalius.runs.redaction import (
    PathlessFormatter,
    overrides_without_paths,
    private_paths,
    text_without_paths,
    without_paths,
)
from vesalius.sweeps.search.samplers import check_storage
from vesalius.training.checkpoints import CheckpointMetadata

CONFIG = {
    "name": "x/y",
    "init_from": None,
    "monitor": {"name": "val/auroc", "mode": "max"},
    "model": {"net": {"weights": "/home/me/w", "architecture": "resnet18"}},
    "data": {
        "source": {
            "_target_": "mine.Source",
            "root": "/home/me/patients",
            "labels": "Meier/labels.csv",
            "files": ["/home/me/Meier/1.dcm", "../Meier/2.dcm", "C:\\Meier\\3.dcm"],
            "group_pattern": "(\\d+)_",
            "pixels": [0.5, 2, True],
        },
        "cache_dir": "~/cache",
        "split_file": "Meier/split.csv",
    },
}


def test_of_paths_the_last_part_remains():
    assert without_paths(CONFIG) == {
        "name": "x/y",
        "init_from": None,
        "monitor": {"name": "val/auroc", "mode": "max"},
        "model": {"net": {"weights": ".../w", "architecture": "resnet18"}},
        "data": {
            "source": {
                "_target_": "mine.Source",
                "root": ".../patients",
                "labels": ".../labels.csv",
                "files": [".../1.dcm", ".../2.dcm", ".../3.dcm"],
                "group_pattern": "(\\d+)_",
                "pixels": [0.5, 2, True],
            },
            "cache_dir": ".../cache",
            "split_file": ".../split.csv",
        },
    }
    assert without_paths(without_paths(CONFIG)) == without_paths(CONFIG)
    for name in ("DEFAULT", "breastmnist"):
        assert without_paths({"weights": name}) == {"weights": name}


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("data.source.root=/home/me/Meier/cohort", "data.source.root=.../cohort"),
        ("data.source.root='/home/me/Meier, H/cohort a'", "data.source.root='.../cohort a'"),
        ("data.source.root=s3://clinic/Meier/cohort", "data.source.root=.../cohort"),
        ("++data.source.labels=../Meier/l.csv", "++data.source.labels=.../l.csv"),
        ("data.source.files=[/me/a.csv,'/me/b c.csv']", "data.source.files=[.../a.csv,'.../b c.csv']"),
        ("data.source={root: /me/Meier/a, size: 28}", "data.source={root: .../a, size: 28}"),
        ("+data={split_file: Meier/a.csv}", "+data={split_file: .../a.csv}"),
        ("data.split_file=runs/Meier/split.csv", "data.split_file=.../split.csv"),
        ("hydra.run.dir=/me/Meier/run", "hydra.run.dir=.../run"),
        ("experiment=a/b", "experiment=a/b"),
        ("monitor.name=val/auroc", "monitor.name=val/auroc"),
        ("model.net.weights=DEFAULT", "model.net.weights=DEFAULT"),
        ("data.fractions=[0.8,0.1,0.1]", "data.fractions=[0.8,0.1,0.1]"),
        ("~callbacks.ema", "~callbacks.ema"),
        ("trainer=cpu", "trainer=cpu"),
    ],
)
def test_what_was_typed_shows_no_folder(typed, shown):
    assert overrides_without_paths([typed]) == [shown]


def test_checkpoints_and_provenance_name_no_folder():
    overrides = ["data.source.root=/home/me/Meier/cohort"]
    origin = provenance(code=code_version(), overrides=overrides, fingerprint="0", split="0", acquisition={}, seed=0)
    assert origin["command"] == ["vesalius", "train", "data.source.root=.../cohort"]
    facts = Facts(
        task="binary",
        classes=("a", "b"),
        channels=1,
        image_size=(8, 8),
        value_max=255.0,
        train_size=2,
        class_counts=(1, 1),
        mean=(0.5,),
        std=(0.1,),
    )
    metadata = CheckpointMetadata()
    metadata.fill(CONFIG, facts, origin)
    written = json.dumps(metadata.contents)
    assert "/home/me" not in written
    assert "Meier" not in written
    assert CONFIG["data"]["source"]["root"] == "/home/me/patients"  # the run's own config is left as it was


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No such file: '/data/Müller Hans/1.dcm'", "No such file: '<path>'"),
        ("reading /data/Meier/1.dcm: damaged", "reading <path>: damaged"),
        ("access to s3://clinic/Meier/1.dcm was denied", "access to <path> was denied"),
        ("~/Meier/a.csv, C:\\Meier\\b.csv", "<path>, <path>"),
        ('  File "/usr/lib/x/store.py", line 3, in load', '  File "store.py", line 3, in load'),
        ("see https://example.org/a/b and val/auroc 3/4", "see https://example.org/a/b and val/auroc 3/4"),
        ("a / b", "a / b"),
    ],
)
def test_messages_show_no_absolute_path(text, shown):
    assert text_without_paths(text) == shown


def test_an_address_of_the_config_is_hidden_with_all_below_it():
    config = {"data": {"source": {"root": "https://clinic.example/Meier"}}}
    text = "https://clinic.example/Meier/1.dcm: damaged; see https://example.org"
    assert text_without_paths(text, private_paths(config)) == "<path>: damaged; see https://example.org"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("hydra.sweeper.storage=postgresql://doe:battery@host/db", "hydra.sweeper.storage=postgresql://***@host/db"),
        (
            "hydra.sweeper.storage=mysql://host/db?password=battery",
            "hydra.sweeper.storage=mysql://host/db?password=***",
        ),
        ("hydra.sweeper.storage='sqlite:////home/Doe/a.db?x=1'", "hydra.sweeper.storage='sqlite:.../a.db'"),
        ("+data.source.password=battery", "+data.source.password=***"),
        ("+data.source.api_key=0123", "+data.source.api_key=***"),
        ("model.optimizer.lr=0.1", "model.optimizer.lr=0.1"),
        ("+data.source.url=https://host/a", "+data.source.url=.../a"),
    ],
)
def test_what_was_typed_shows_no_password(typed, shown):
    assert overrides_without_paths([typed]) == [shown]


def test_secrets_of_the_environment_are_in_no_message(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("HOME", "/home/doe")
    shown = text_without_paths("Basic 0123456789abcdef of http://doe:battery@host and sqlite:////home/doe/a.db")
    assert shown == "Basic *** of http://***@host and sqlite:<path>"
    assert without_paths({"note": "key 0123456789abcdef"}) == {"note": "key ***"}


@pytest.mark.parametrize("given", ["postgresql://doe:battery@host/db", "mysql://host/db?password=battery"])
def test_a_password_that_a_sweep_would_store_is_refused(given):
    with pytest.raises(InputError, match=r"environment variable.*\$\{oc.env:STORAGE\}") as caught:
        check_storage([f"hydra.sweeper.storage={given}"])
    assert "battery" not in str(caught.value)
    check_storage(["hydra.sweeper.storage=postgresql://doe:${oc.env:PASSWORD}@host/db", "hydra.sweeper.n_trials=2"])


def test_a_log_shows_no_path_of_an_error(tmp_path):
    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(PathlessFormatter("%(levelname)s: %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    file = tmp_path / "Meier" / "Meier Hans" / "1.dcm"
    try:
        file.read_bytes()
    except OSError:
        logger.exception("in %s", file.parent.parent)
    handler.close()
    written = (tmp_path / "log").read_text()
    assert "FileNotFoundError" in written
    assert "Meier" not in written
    assert str(tmp_path) not in written
