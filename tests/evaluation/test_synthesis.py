"""Metrics of generators whose faults are known: it copies, it always draws one image, a class is rare."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.evaluation import synthesis as synthesis_results
from vesalius.evaluation.synthesis import SynthesisResults
from vesalius.figures import synthesis as synthesis_figures
from vesalius.metrics.names import SYNTHESIS_METRICS

pytestmark = pytest.mark.xdist_group("synthesis")  # its run is made once

SMALL = ["data=lesions", "data.source.patients=80", "data.source.slices=2", "data.source.image_size=28"]
SMALL += ["model=gan", "model.generator.width=4", "model.critic.width=4", "data.fractions=[0.5,0.2,0.3]"]


@pytest.fixture(scope="module")
def data(cache_dir):
    made = build(load_config("train", [*SMALL, f"data.cache_dir={cache_dir}"])["data"], "data")
    made.setup()
    return made


@pytest.fixture
def results_of(data, tmp_path):
    """Results of a generator that is a function of classes (N,), given the results."""

    def make(draw):
        config = load_config("train", SMALL)
        model = build(config["model"], "model", facts=data.facts)
        results = SynthesisResults(model, data, data.facts, config, torch.device("cpu"), tmp_path)
        model.sample = lambda labels, generator: draw(results, labels)
        return results

    return make


def replay(results, labels):
    """Training images of these classes."""
    rows = results.data.rows("train")
    own = results.data.targets[rows]
    return results.images(torch.stack([rows[own == label][at % 5] for at, label in enumerate(labels)]))


def all_of(results):
    predictions = {split: results.predictions(split) for split in ("val", "test")}
    metrics = results.score(predictions)
    metrics["baselines"] = results.baselines(predictions, metrics)
    return metrics | results.analyses(predictions, metrics, start=None), predictions


def test_a_generator_that_replays_training_images_is_flagged_and_shown_with_them(results_of, monkeypatch):
    shown = SimpleNamespace()
    monkeypatch.setattr(
        synthesis_figures,
        "pairs_figure",
        lambda made, real, captions: vars(shown).update(made=made, real=real, captions=captions),
    )
    results = results_of(replay)
    metrics, predictions = all_of(results)
    assert metrics["memorisation"]["flagged"]
    assert metrics["memorisation"]["train"] == len(results.data.rows("train"))
    results.figures(predictions, metrics)
    assert len(shown.made) == 8
    np.testing.assert_allclose(shown.made, shown.real, atol=1e-6)
    assert set(shown.captions) == {"0.00"}


def test_every_baseline_is_there_and_training_images_are_of_the_classes_of_the_test(results_of, monkeypatch):
    matches, results = [], results_of(replay)
    found = results.matching_training_rows
    monkeypatch.setattr(results, "matching_training_rows", lambda labels: matches.append(found(labels)) or matches[-1])
    metrics, _ = all_of(results)
    assert list(metrics["baselines"]) == ["real", "augmented", "pca_gaussian"]
    for entries in metrics["baselines"].values():
        assert tuple(entries) == SYNTHESIS_METRICS
        assert all(entry["value"] is not None for entry in entries.values())
    assert metrics["extractor"]["name"] == "random"
    (rows,) = matches
    assert results.data.targets[rows].tolist() == results.labels("test").tolist()
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(results.data.rows("train").tolist())


def test_a_generator_of_one_image_has_no_recall(results_of):
    results = results_of(
        lambda results, labels: results.images(results.data.rows("train")[:1]).repeat(len(labels), 1, 1, 1)
    )
    metrics, _ = all_of(results)
    assert metrics["test"]["manifold_recall"]["value"] < 0.05


def test_a_rare_class_is_drawn_from_its_own_images_where_not_all_are_used(results_of, data, monkeypatch):
    """Its images stand where a subset of every second training image passes over them."""
    monkeypatch.setattr(synthesis_results, "MAX_TRAIN", 40)
    train, targets = data.rows("train"), data.targets.clone()
    targets[targets == 3] = 0
    targets[train[[1, 3, 5]]] = 3
    monkeypatch.setattr(data, "targets", targets)
    results = results_of(replay)
    assert targets[data.spread_rows("train", 40)].max() == 2
    drawn = results.gaussian.sample(np.full(200, 3), np.random.default_rng(0))
    own = results.images(train[[1, 3, 5]]).numpy()
    assert np.abs(drawn.mean(0) - own.mean(0)).mean() < 0.02
    assert drawn.std(0).mean() > 0.01
