"""Everything in one table of results decides classes by the same rule: each by its own threshold on validation."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, roc_curve

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.evaluation.autoencoder import probes
from vesalius.evaluation.autoencoder.outputs import AutoencoderOutputs
from vesalius.evaluation.autoencoder.reconstruction import ReconstructionResults
from vesalius.evaluation.scoring import score_table
from vesalius.evaluation.supervised import SupervisedResults, predict_baselines
from vesalius.metrics.baselines.linear_models import fit_baselines
from vesalius.models.nets.weight_sets import find_set

SMALL = ["data=image_folder", "trainer=cpu", "logger=none", "data.image_size=16", "data.fractions=[0.4,0.3,0.3]"]
CNN = ["model=cnn", "model.net.widths=[4]"]
AUTOENCODER = ["model=autoencoder", "model.net.encoder.widths=[4]", "model.net.latent_dim=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One patient in six is sick, and a little brighter: a linear model seldom gives it one half."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for patient in range(150):
        name = "sick" if patient % 6 == 0 else "healthy"
        pixels = random.normal(120 + 12 * (name == "sick"), 40, (16, 16))
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{patient:03d}.png")
    return root


@pytest.fixture
def results_of(folder, cache_dir, tmp_path):
    """Results of an untrained model, whose training is not what is tested here."""

    def make(kind, *overrides):
        options = [*SMALL, f"data.source.root={folder}", f"data.cache_dir={cache_dir}", *overrides]
        config = load_config("train", options)
        data = build(config["data"], "data")
        data.setup()
        torch.manual_seed(0)
        model = build(config["model"], "model", facts=data.facts)
        return kind(model, data, data.facts, config, torch.device("cpu"), tmp_path)

    return make


def best_balanced_accuracy(truth, scores):
    """The largest that any threshold reaches, from scikit-learn's curve."""
    alarms, hits, _ = roc_curve(truth, scores)
    return ((hits + 1 - alarms) / 2).max()


def test_baselines_decide_by_their_own_validation_threshold(results_of):
    results = results_of(SupervisedResults, *CNN, "evaluation.decision=youden")
    predictions = {split: results.predictions(split) for split in ("val", "test")}
    entries = results.baselines(predictions, results.score(predictions))
    data, classes = results.data, results.facts.classes
    (train, x), (val, y) = (
        (data.baseline_inputs(rows)["pixels"], data.targets[rows].numpy()) for rows in map(data.rows, ("train", "val"))
    )
    fitted = fit_baselines(train, x, val, y, val, task="binary", classes=classes, seed=results.config["seed"])
    imagenet = {"logistic_imagenet"} if find_set("efficientnet_lite0", "imagenet").installed else set()
    assert set(results.baseline_tables) == set(entries) == set(fitted) | imagenet
    for arm in fitted:
        table = results.baseline_tables[arm]
        assert list(table["sample_id"]) == list(predictions["test"]["sample_id"])
        (threshold,) = table["threshold"].unique()
        reached = balanced_accuracy_score(y, fitted[arm][:, 1] > threshold)
        assert reached == pytest.approx(best_balanced_accuracy(y, fitted[arm][:, 1]))
        expected = balanced_accuracy_score(table["target"], table["prob/sick"] > threshold)
        assert entries[arm]["balanced_accuracy"]["value"] == pytest.approx(expected)
    assert entries["majority"]["balanced_accuracy"]["value"] == 0.5
    table = results.baseline_tables["logistic_pca"]
    by_argmax = balanced_accuracy_score(table["target"], table["prob/sick"] > 0.5)
    print(entries["logistic_pca"]["balanced_accuracy"]["value"], by_argmax)
    assert entries["logistic_pca"]["balanced_accuracy"]["value"] > by_argmax + 0.05


def test_baselines_decide_by_argmax_where_the_model_does(results_of):
    results = results_of(SupervisedResults, *CNN)
    tables = predict_baselines(results.data, results.facts, "argmax", 0, torch.device("cpu"))
    assert not any("threshold" in table for table in tables.values())
    assert score_table(tables["majority"], results.facts)["accuracy"]["value"] > 0.5


def test_probes_decide_by_their_own_validation_threshold(results_of, monkeypatch):
    monkeypatch.setattr(probes, "FRACTIONS", {1.0: 1})
    results = results_of(ReconstructionResults, *AUTOENCODER, "evaluation.decision=specificity@0.9")
    tables = {}
    monkeypatch.setattr(probes, "_score_arm", lambda all_tables, *_: tables.update(all_tables))
    probes.score_probes(AutoencoderOutputs(results))
    assert {"latent/logistic", "pixels/knn"} <= set(tables)
    ids = results.predictions("test")["sample_id"].tolist()
    for by_fraction in tables.values():
        (table,) = by_fraction[1.0]
        assert table["sample_id"].tolist() == ids
        assert table["threshold"].nunique() == 1
    assert len({by_fraction[1.0][0]["threshold"].iloc[0] for by_fraction in tables.values()}) > 3
