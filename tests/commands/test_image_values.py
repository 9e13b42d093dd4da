"""Continuous targets of single images from the command line: trained, evaluated, reported, exported, predicted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vesalius as package
from small_runs import train_in
from vesalius.deploy.bundle.export import export_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> Path:
    """A file of images whose brightness and contrast are the targets, two images a patient."""
    path, random = tmp_path_factory.mktemp("values") / "values.npz", np.random.default_rng(0)
    level, spread = random.uniform(60, 180, 120), random.uniform(5, 30, 120)
    images = level[:, None, None] + spread[:, None, None] * random.standard_normal((120, 28, 28))
    targets = np.stack([level / 10, 100 * spread], axis=1)
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), targets=targets, patients=np.arange(120) // 2)
    return path


@pytest.fixture(scope="module")
def run(values, tmp_path_factory) -> Path:
    data = ["data=npz", f"data.source.file={values}", "data.source.task=regression", "data.source.group=patients"]
    data += ["data.source.target=targets", "data.source.classes=[level,spread]"]
    options = ["trainer=cpu", "trainer.max_epochs=6", "logger=none", "data.batch_size=12", "model.loss.kind=huber"]
    monitor = ["monitor.name=val/rmse", "monitor.mode=min"]
    return train_in(tmp_path_factory.mktemp("runs") / "run", [*data, *options, *monitor]).path


def test_each_target_has_its_errors_with_intervals_next_to_baselines(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["task"] == "regression"
    assert set(metrics["baselines"]) >= {"mean_target", "ridge_pixels", "ridge_pca"}
    for name in ("mae", "rmse", "r2", "mae/level", "r2/spread"):
        entry = metrics["test"][name]
        assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]
        assert 2 * entry["groups"] == entry["n"]
    table = pd.read_csv(run / "predictions" / "test.csv")
    error = (table["pred/level"] - table["target/level"]).abs().mean()
    assert metrics["test"]["mae/level"]["value"] == pytest.approx(error)
    assert metrics["test"]["r2/level"]["value"] > 0.5
    assert {"scatter", "test_images", "history"} <= {path.stem for path in (run / "figures").glob("*.png")}


def test_every_verb_takes_the_run(run, vesalius):
    for verb in ("evaluate", "verify", "embed", "report"):
        done = vesalius(verb, f"run={run}")
        assert done.returncode == 0, done.stderr
    assert "predicted" in (run / "report.html").read_text()


def test_a_bundle_predicts_as_the_run(run, tmp_path):
    manifest = export_run(run, tmp_path / "bundle")
    assert manifest.kind == "regressor"
    model, bundle = package.load(run), package.load(tmp_path / "bundle")
    pixels = list(np.random.default_rng(1).integers(0, 256, (9, 28, 28)).astype(np.uint8))
    ours, theirs = bundle.predict(pixels), model.predict(pixels)
    assert {"pred/level", "pred/spread"} <= set(ours)
    assert "prediction" not in ours
    np.testing.assert_allclose(ours.filter(like="pred/"), theirs.filter(like="pred/"), rtol=1e-4, atol=1e-3)
