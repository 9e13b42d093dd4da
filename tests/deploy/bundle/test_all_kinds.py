"""A bundle of an ensemble, of series and of an autoencoder: all columns of `predict`, and graphs for arrays."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vesalius
from vesalius.commands.ensemble import ensemble
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.deploy.bundle.export import export_run
from vesalius.deploy.bundle.golden import check_golden
from vesalius.deploy.bundle.reading import Bundle
from vesalius.deploy.bundle.session import Session
from vesalius.runs.arrays import write_arrays
from vesalius.runs.run_folder import OOD, RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

STORED = Path(__file__).parents[2] / "stored_runs"
pytestmark = pytest.mark.slow  # each traces a net


def member(path: Path, seed: int) -> Path:
    """A copy of the stored classifier with weights, a calibration, prediction sets and statistics of its own."""
    shutil.copytree(STORED / "cnn" / "finished", path)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    checkpoint = load_checkpoint(path / "checkpoints" / "best.ckpt")
    for name, value in checkpoint["state_dict"].items():
        if value.is_floating_point() and "running" not in name:
            checkpoint["state_dict"][name] = value + 0.1 * torch.randn(value.shape, generator=generator)
    torch.save(checkpoint, path / "checkpoints" / "best.ckpt")
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["calibration"] = {"method": "temperature", "temperature": 1.5 + seed}
    (path / "metrics.json").write_text(json.dumps(metrics))
    dim = checkpoint["state_dict"]["net.head.weight"].shape[1]
    whitening = rng.normal(size=(dim, dim)).astype(np.float32)
    arrays = {"mean": rng.normal(size=dim).astype(np.float32), "whitening": whitening}
    write_arrays(path / OOD, {**arrays, "threshold": np.array([2.0], np.float32)})
    return path


def check_equal(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    numbers = [name for name in theirs if name.startswith(("prob/", "pred/")) or name == "ood_score"]
    np.testing.assert_allclose(ours[numbers], theirs[numbers], atol=1e-4, rtol=1e-4)
    pd.testing.assert_frame_equal(ours.drop(columns=numbers), theirs.drop(columns=numbers))


def test_an_ensemble_is_one_graph_with_the_statistics_of_its_features(tmp_path) -> None:
    runs = [member(tmp_path / f"run{seed}", seed) for seed in range(2)]
    overrides = [f"runs=[{','.join(map(str, runs))}]", f"out={tmp_path / 'ensemble'}"]
    RunFolder.create(tmp_path / "ensemble", load_config("ensemble", overrides), overrides)
    ensemble(tmp_path / "ensemble")
    manifest = export_run(tmp_path / "ensemble", tmp_path / "bundle")
    assert set(manifest.provenance["checkpoint"]) == {"0", "1"}
    pixels = list(np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8))
    model, bundle = vesalius.load(tmp_path / "ensemble"), vesalius.load(tmp_path / "bundle")
    assert {"prediction", "ood", "ood_score"} <= set(bundle.columns)
    check_equal(bundle.predict(pixels), model.predict(pixels))
    assert np.ptp(bundle.predict(pixels)["ood_score"]) > 0.1
    with pytest.raises(InputError, match="no such part: choose model"):
        export_run(tmp_path / "ensemble", tmp_path / "encoder", part="encoder")


def test_series_of_any_length_and_times(tmp_path) -> None:
    export_run(STORED / "lstm" / "finished", tmp_path / "bundle")
    model, bundle = vesalius.load(STORED / "lstm" / "finished"), vesalius.load(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    lengths = [1, 2, 7, 12, 30]
    shape = (model.facts.channels, *model.facts.image_size)
    series = [rng.integers(0, 256, (length, *shape)).astype(np.uint8) for length in lengths]
    seconds = [rng.exponential(3.0, length).cumsum() for length in lengths] if model.contract.timed else None
    check_equal(bundle.predict(series, seconds=seconds), model.predict(series, seconds=seconds))
    assert bundle.predict(series, seconds=seconds)["problem"].isna().all()


def test_an_autoencoder_gives_what_its_module_does(tmp_path) -> None:
    export_run(STORED / "autoencoder" / "finished", tmp_path / "bundle")
    model, loaded = vesalius.load(STORED / "autoencoder" / "finished"), vesalius.load(tmp_path / "bundle")
    files = tmp_path / "bundle" / "golden" / "files"
    ours, theirs = loaded.predict(files), model.predict(files)
    assert "score" in theirs
    np.testing.assert_allclose(ours["score"], theirs["score"], rtol=1e-4)
    assert list(ours) == list(theirs)
    bundle = Bundle(tmp_path / "bundle")
    assert bundle.manifest.kind == "autoencoder"
    assert bundle.manifest.contract is not None
    images = sorted((tmp_path / "bundle" / "golden" / "files").iterdir())
    stored = np.stack([np.array(Image.open(image)) for image in images])[:, None]
    outputs = Session.of(bundle).run({"image": stored})
    squared = (outputs["original"] - outputs["reconstruction"]) ** 2
    np.testing.assert_allclose(outputs["score"], squared.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert outputs["reconstruction"].min() >= 0
    assert outputs["reconstruction"].max() <= 1


def test_a_generator_shows_the_class_that_is_asked_for(tmp_path) -> None:
    manifest = export_run(STORED / "gan" / "finished", tmp_path / "bundle")
    assert (manifest.kind, manifest.contract) == ("generator", None)
    bundle = Bundle(tmp_path / "bundle")
    assert check_golden(bundle, Session.of(bundle)) < 1e-4
    generator = restore_model(load_checkpoint(STORED / "gan" / "finished" / "checkpoints" / "best.ckpt"))
    noise = np.random.default_rng(0).standard_normal((3, *manifest.inputs[0].shape[1:]), dtype=np.float32)  # type: ignore[arg-type]
    feeds: dict[str, np.ndarray] = {"noise": noise}
    labels = None
    if len(manifest.inputs) > 1:
        feeds["label"] = np.array([0, 1, 2])
        labels = torch.from_numpy(feeds["label"])
    with torch.inference_mode():
        wanted = generator(torch.from_numpy(noise), labels).numpy()
    np.testing.assert_allclose(Session.of(bundle).run(feeds)["image"], wanted, atol=1e-5)
    with pytest.raises(InputError, match="a generator, which predicts nothing of images"):
        vesalius.load(tmp_path / "bundle")
