"""A run that is killed anywhere, also in the middle of an epoch or of a checkpoint's file, ends with the same bits."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from bit_equality import differences
from store_runs import COMMON, FAMILIES

HELPERS = Path(__file__).parents[1] / "helpers"
KILLER = "+callbacks.killer._target_=killer.Killer"
ALWAYS = "callbacks.last.every_n_steps=1"
DDP = ["trainer=ddp_cpu", "trainer.precision=32", "trainer.max_epochs=2", "logger=none", "evaluation.baselines=false"]
#: Overrides beyond those of the family; what each carries over besides weights: dropout's random numbers, ...
VARIANTS = {
    "cnn": ["cnn", "model.net.dropout=0.3", "data/augment=standard"],
    "lstm": ["lstm", "model.net.dropout=0.3"],
    "autoencoder": ["autoencoder"],
    "gan": ["gan"],
    "ema": ["cnn", "callbacks=ema"],
    "accumulation": ["cnn", "trainer.accumulate_grad_batches=2", "data.batch_size=6"],
    "critic_steps": ["gan", "model.n_critic=2", "trainer.accumulate_grad_batches=2", "data.batch_size=4"],
    "amp": ["cnn", "trainer.precision=bf16"],
    "rare_validation": ["cnn", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"],
    "validation_within": ["cnn", "+trainer.val_check_interval=2", "data.batch_size=4"],
    "balanced": ["cnn", "data.sampling=balanced", "data.steps_per_epoch=4"],
    "dropout": ["cnn", "model.net.dropout=0.3", "data/augment=standard", "model.net.widths=[8,16]"],
    "deterministic": ["cnn", "trainer.deterministic=true"],
}
QUICK = ("cnn",)


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def overrides_of(variant: str) -> list[str]:
    family, *more = VARIANTS[variant]
    return [*COMMON, *FAMILIES[family], KILLER, ALWAYS, *more]


def train(vesalius_in, place: Path, monkeypatch, kills: list[str], arguments: list[str], name: str) -> Path:
    """A run that is killed as often as `kills` has entries, and resumed each time, at least once within an epoch."""
    places = []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))
    typed = [*arguments, f"hydra.run.dir={name}"]
    for kill in [*kills, ""]:
        monkeypatch.setenv("KILL", kill)
        done = vesalius_in(place, "train", *typed)
        assert (done.returncode == 0) == (not kill), (kill, done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
        if (last := place / name / "checkpoints/last.ckpt").exists():
            places.append(torch.load(last, weights_only=True)["position"]["batches"])
            typed = [f"resume={name}"]
        elif kill:
            typed = [*arguments, f"hydra.run.dir={name}", "resume=auto"]
    assert any(places) or not kills
    return place / name


@pytest.mark.parametrize(
    "variant", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in VARIANTS]
)
def test_killed_runs_end_with_the_same_bits(variant, vesalius_in, tmp_path, monkeypatch):
    arguments = overrides_of(variant)
    whole = train(vesalius_in, tmp_path, monkeypatch, [], arguments, "whole")
    kills = ["batch:5", "write:5", "term:2", "rename:1"] if variant not in QUICK else ["batch:2"]
    killed = train(vesalius_in, tmp_path, monkeypatch, kills, arguments, "killed")
    assert differences(whole, killed) == []
    assert not list(killed.glob("checkpoints/.*"))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["cnn", "gan"])  # their epochs' losses are summed on one device, and on each
def test_two_processes_that_are_killed_end_with_the_same_bits(family, vesalius_in, tmp_path, monkeypatch):
    arguments = [*DDP, *FAMILIES[family], KILLER, ALWAYS]
    whole = train(vesalius_in, tmp_path, monkeypatch, [], arguments, "whole")
    killed = train(vesalius_in, tmp_path, monkeypatch, ["batch:2", "write:30"], arguments, "killed")
    assert differences(whole, killed) == []


@pytest.mark.slow
def test_a_rank_that_was_killed_is_named(vesalius_in, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("KILL", "rank:3")
    done = vesalius_in(tmp_path, "train", *DDP, *FAMILIES["cnn"], KILLER, ALWAYS, "hydra.run.dir=run")
    assert done.returncode == 1, done.stderr
    assert "rank 1 was killed by SIGKILL" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("KILL", "")
    assert vesalius_in(tmp_path, "train", "resume=run").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_deterministic_profile_gives_the_same_bits_twice(family, vesalius_in, fresh_vesalius_in, tmp_path):
    arguments = ["train", *COMMON, *FAMILIES[family], "trainer.deterministic=true"]
    for name, run in (("one", fresh_vesalius_in), ("other", vesalius_in)):
        done = run(tmp_path, *arguments, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
    assert differences(tmp_path / "one", tmp_path / "other") == []


def test_the_bits_are_compared(tmp_path):
    """Of two checkpoints that differ in a single bit, the difference is found."""
    for name, value in (("one", 1.0), ("other", 1.0000001)):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        for file in ("last.ckpt", "best.ckpt"):
            torch.save({"weights": [torch.tensor(value)], "config": name}, tmp_path / name / "checkpoints" / file)
        (tmp_path / name / "metrics.json").write_text("{}")
        pd.DataFrame({"epoch": [0], "seconds": [value]}).to_csv(tmp_path / name / "history.csv")
    assert differences(tmp_path / "one", tmp_path / "other") == [
        f"checkpoints/{file}: /weights/0" for file in ("last.ckpt", "best.ckpt")
    ]
