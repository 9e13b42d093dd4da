"""A run goes on to more epochs in a folder of its own, and despite changes only with the user's word."""

import json
import shutil
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from torch.optim import lr_scheduler

from bit_equality import differences
from store_runs import COMMON, FAMILIES
from vesalius.config.errors import InputError
from vesalius.data.splits.file import load_run_split, split_hash
from vesalius.launch import resume_despite
from vesalius.models import Constant, Cosine, MultiStep, OneCycle
from vesalius.models.schedules import follows_horizon
from vesalius.runs.provenance.changes import code_changes, source_hash
from vesalius.training.checkpoint_files import write_checkpoint

STORED = Path(__file__).parents[1] / "stored_runs"
CODE = "resume_despite=[code]"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture
def interrupted(tmp_path) -> Path:
    """A run that was stopped after the first of two epochs, by an earlier version."""
    return Path(shutil.copytree(STORED / "cnn/interrupted", tmp_path / "run"))


def provenance(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())


# --- more epochs -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "more"),
    [("cnn", ["callbacks=ema", "model.net.dropout=0.3"]), ("gan", []), ("autoencoder", ["data/augment=standard"])],
)
def test_a_continued_run_ends_as_one_that_was_begun_with_as_many_epochs(family, more, vesalius_in, tmp_path):
    arguments = ["train", *COMMON, *FAMILIES[family], "model/schedule=constant", *more]
    for name, epochs in (("short", 2), ("whole", 4)):
        done = vesalius_in(tmp_path, *arguments, f"trainer.max_epochs={epochs}", f"hydra.run.dir=runs/{name}")
        assert done.returncode == 0, done.stderr
    before = {path: path.read_bytes() for path in sorted((tmp_path / "runs/short").rglob("*")) if path.is_file()}
    done = vesalius_in(tmp_path, "train", "resume=runs/short", "trainer.max_epochs=4")
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    (long,) = {path.parent for path in tmp_path.glob("runs/*/config.yaml")} - {
        tmp_path / "runs/short",
        tmp_path / "runs/whole",
    }
    assert differences(tmp_path / "runs/whole", long) == []
    assert provenance(long)["continued"] == [{"run": "short", "epochs": 2, "trainer.max_epochs": [2, 4]}]
    assert yaml.safe_load((long / "config.yaml").read_text())["trainer"]["max_epochs"] == 4
    verified = vesalius_in(tmp_path, "verify", f"run={long}")
    assert verified.returncode == 0, verified.stderr
    assert str(tmp_path) not in json.dumps(torch.load(long / "checkpoints/last.ckpt")["config"])


def test_rates_that_follow_the_number_of_epochs_cannot_be_continued(interrupted, vesalius_in):
    done = vesalius_in(interrupted.parent, "train", "resume=run", "trainer.max_epochs=5", CODE)
    assert done.returncode == 2
    assert "the learning rates of OneCycle are a function of the number of epochs" in done.stderr
    assert [path.name for path in interrupted.parent.iterdir() if path.is_dir()] == ["run"]


def test_schedules_know_whether_they_follow_the_number_of_epochs():
    assert follows_horizon(Cosine())
    assert follows_horizon(OneCycle())
    assert not follows_horizon(Constant())
    assert not follows_horizon(MultiStep([3]))
    assert not follows_horizon(partial(lr_scheduler.StepLR, step_size=3))
    assert follows_horizon(partial(lr_scheduler.OneCycleLR, max_lr=0.1))


@pytest.mark.slow
def test_fewer_epochs_than_are_trained_are_refused(interrupted, vesalius_in):
    done = vesalius_in(interrupted.parent, "train", "resume=run", "trainer.max_epochs=1", CODE)
    assert done.returncode == 2
    assert "trainer.max_epochs=1: 1 epochs are trained already" in done.stderr
    other = vesalius_in(interrupted.parent, "train", "resume=run", "trainer.max_epochs=9", "seed=1", CODE)
    assert other.returncode == 2
    assert "nothing can be changed" in other.stderr


# --- changes ---------------------------------------------------------------------------------------------------------


def test_other_code_needs_a_word(interrupted, vesalius_in):
    before = (interrupted / "state.json").read_bytes()
    done = vesalius_in(interrupted.parent, "train", "resume=run")
    assert done.returncode == 2
    assert "Vesalius (which was at commit" in done.stderr
    assert CODE in done.stderr
    assert (interrupted / "state.json").read_bytes() == before
    done = vesalius_in(interrupted.parent, "train", "resume=run", CODE)
    assert done.returncode == 0, done.stderr
    (entry,) = provenance(interrupted)["continued"]
    assert entry["epochs"] == 1
    assert any(change.startswith("Vesalius") for change in entry["code"])
    assert provenance(interrupted)["code"]["source"] == source_hash()
    assert torch.load(interrupted / "checkpoints/last.ckpt")["provenance"]["continued"] == [entry]


@pytest.mark.slow
def test_other_data_and_another_split_need_a_word_each(interrupted, vesalius_in):
    last = interrupted / "checkpoints/last.ckpt"
    content = torch.load(last)
    split = interrupted / "split.csv"
    content["provenance"] |= {"data": "0" * 32, "split": split_hash(load_run_split(split))}
    write_checkpoint(content, last)
    rows = split.read_text().splitlines()
    at = next(at for at, row in enumerate(rows) if row.endswith(",val"))
    rows[at] = rows[at].removesuffix("val") + "test"
    split.write_text("\n".join(rows) + "\n")
    for words, message in (("[code]", "splits of samples changed"), ("[code,split]", "content of the data set")):
        done = vesalius_in(interrupted.parent, "train", "resume=run", f"resume_despite={words}")
        assert done.returncode == 2
        assert message in done.stderr
        assert json.loads((interrupted / "state.json").read_text())["state"] == "interrupted"
    done = vesalius_in(interrupted.parent, "train", "resume=run", "resume_despite=[code,split,data]")
    assert done.returncode == 0, done.stderr
    (entry,) = provenance(interrupted)["continued"]
    assert {"code", "data", "split"} <= entry.keys()
    assert entry["data"][0] == "0" * 32


def test_packages_and_source_are_compared(tmp_path):
    (tmp_path / "a.py").write_text("1")
    one = source_hash(tmp_path)
    source_hash.cache_clear()
    (tmp_path / "a.py").write_text("2")
    assert source_hash(tmp_path) != one
    same = {"code": {"source": source_hash()}, "packages": {"torch": version("torch"), "vesalius": "0"}}
    assert code_changes(same) == []
    other = {**same, "packages": {"torch": "1.0", "no_such_package": "2"}}
    assert code_changes(other) == [f"torch (1.0 → {version('torch')})", "no_such_package (2 → none)"]


def test_an_unknown_word_is_refused():
    with pytest.raises(InputError, match=r"resume_despite=date: .*Did you mean 'data'"):
        resume_despite.set_despite(["date"])
