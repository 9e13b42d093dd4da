"""A run's own images pass, and images of nothing that it knows do not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vesalius
from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.perfusion import Perfusion
from vesalius.evaluation.base import Results, results_of
from vesalius.evaluation.monitoring.out_of_distribution import fit_out_of_distribution
from vesalius.models.features import head_inputs
from vesalius.runs.run_folder import SPLIT, RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

STORED = Path(__file__).parents[1] / "stored_runs"


def results_of_stored(name: str, folder: Path) -> Results:
    """The results of a stored run, whose files go to a folder."""
    run = RunFolder(STORED / name / "finished")
    checkpoint = load_checkpoint(run.best)
    data = build(run.config["data"], "data")
    data.reuse_split(run.path / SPLIT)
    data.setup()
    model = restore_model(checkpoint)
    facts = Facts.from_dict(checkpoint["facts"])
    return results_of(model, data, facts, run.config, torch.device("cpu"), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Any:
    """A copy of the stored classifier with its statistics, its results, and what they came to."""
    folder = tmp_path_factory.mktemp("run") / "cnn"
    shutil.copytree(STORED / "cnn" / "finished", folder)
    results = results_of_stored("cnn", folder)
    return folder, results, fit_out_of_distribution(results)


def test_known_images_pass_and_others_do_not(finished) -> None:
    folder, results, found = finished
    model = vesalius.load(folder)
    own = results.data.store[results.data.rows("test")].numpy()
    flagged = model.predict(list(own))["ood"].to_numpy(bool)
    assert flagged.mean() == found["out_of_distribution"]["test"]["flagged"]["value"]
    lesions = Lesions(patients=48, slices=1, image_size=own.shape[-1], seed=7)
    assert model.predict([lesions.load(row) for row in lesions.samples().to_dict("records")])["ood"].mean() <= 0.15
    rng = np.random.default_rng(0)
    size = own.shape[-1]
    breast = Perfusion(patients=20, image_size=size)
    others = {
        "noise": list(rng.integers(0, 256, (20, 1, size, size)).astype(np.uint8)),
        "inverted": list(255 - own),
        "another organ": [breast.load(row)[5] for row in breast.samples().to_dict("records")],
    }
    for name, images in others.items():
        table = model.predict(images)
        assert table["ood"].mean() > 0.8, name
        assert ((table["ood_score"] > 1) == table["ood"]).all()


def test_the_columns_stand_before_the_problem_and_are_empty_for_refused_inputs(finished) -> None:
    model = vesalius.load(finished[0])
    table = model.predict([np.zeros((28, 28), np.uint8), np.zeros((5, 5, 5, 5), np.uint8)])
    assert list(table)[-3:] == ["ood", "ood_score", "problem"]
    assert table["ood"].isna().tolist() == table["ood_score"].isna().tolist() == [False, True]


def test_a_run_without_the_file_has_no_columns() -> None:
    model = vesalius.load(STORED / "cnn" / "finished")
    assert not {"ood", "ood_score"} & set(model.columns)


def test_a_damaged_file_is_refused_by_name(finished, tmp_path) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / "ood.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"ood\.safetensors of .* cannot be read"):
        vesalius.load(tmp_path / "run")


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_features_of_a_prediction_are_those_of_embed(name, tmp_path) -> None:
    results = results_of_stored(name, tmp_path)
    batch = results.data.dataset[results.data.rows("test")[:3]]
    model = results.model.eval()
    with torch.inference_mode(), head_inputs(model) as collected:
        model.predict_step(batch, 0)
        torch.testing.assert_close(collected[0], model.embed(batch))
    assert len(collected) == len(model.views)


def test_a_run_of_series_has_statistics_too(tmp_path) -> None:
    found = fit_out_of_distribution(results_of_stored("lstm", tmp_path))
    assert found["out_of_distribution"]["test"]["flagged"]["value"] <= 0.5
    assert (tmp_path / "ood.safetensors").is_file()


def test_codes_of_an_autoencoder_serve_as_features(tmp_path) -> None:
    shutil.copytree(STORED / "autoencoder" / "finished", tmp_path / "run")
    results = results_of_stored("autoencoder", tmp_path / "run")
    fit_out_of_distribution(results)
    model = vesalius.load(tmp_path / "run")
    images = results.data.store[results.data.rows("test")].numpy()
    table = model.predict([*images, 255 - images[0]])
    assert list(table) == ["input", "ood", "ood_score", "score", "problem"]
    assert table["ood_score"].iloc[-1] > table["ood_score"].iloc[:-1].max()
    with torch.inference_mode():
        codes = results.model.eval().embed({"image": torch.from_numpy(images)}).numpy()
    np.testing.assert_allclose(table["ood_score"][: len(images)], model.backend.ood.score(codes), rtol=1e-4)


def test_training_images_that_are_all_synthetic_give_none(tmp_path) -> None:
    results = results_of_stored("cnn", tmp_path)
    results.data.table = results.data.table.assign(split=pd.Series("test", index=results.data.table.index))
    assert fit_out_of_distribution(results) == {}
    assert not list(tmp_path.iterdir())
