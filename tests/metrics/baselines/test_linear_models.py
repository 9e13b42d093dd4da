"""Cheap baselines: on a real set they reach its known figures, and on odd ones they do not crash."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vesalius.metrics.baselines.linear_models import fit_baselines, pool

BREAST = Path(__file__).parents[3].parent / "shared/data/medmnist/breastmnist.npz"
NAMES = {"majority", "logistic_pixels", "logistic_pca"}


def images(rng: np.random.Generator, target: np.ndarray, size: int = 16) -> np.ndarray:
    """Noise with a bright corner in class 1."""
    noisy = rng.integers(0, 120, (len(target), 1, size, size)).astype(float)
    noisy[:, :, :4, :4] += 60 * target[:, None, None, None]
    return noisy.astype(np.uint8)


def fit(train_x: np.ndarray, train_y: np.ndarray, eval_x: np.ndarray, **options: Any) -> dict[str, Any]:
    """Baselines whose penalty is picked on the training images: enough where it does not matter."""
    return fit_baselines(train_x, train_y, train_x, train_y, eval_x, **options)


@pytest.mark.skipif(not BREAST.exists(), reason="the shared data folder is absent")
def test_breast_ultrasound_reaches_the_known_figures() -> None:
    data = np.load(BREAST)
    predictions = fit_baselines(
        data["train_images"][:, None],
        data["train_labels"][:, 0],
        data["val_images"][:, None],
        data["val_labels"][:, 0],
        data["test_images"][:, None],
        task="binary",
        classes=("malignant", "benign"),
    )
    target = data["test_labels"][:, 0]
    for name, auroc, accuracy in (("logistic_pixels", 0.828, 0.808), ("logistic_pca", 0.818, 0.788)):
        probabilities = predictions[name]
        assert not isinstance(probabilities, str)
        assert roc_auc_score(target, probabilities[:, 1]) == pytest.approx(auroc, abs=0.02)
        assert (probabilities.argmax(axis=1) == target).mean() == pytest.approx(accuracy, abs=0.02)


def test_regressions_find_a_bright_corner_and_not_a_random_label() -> None:
    rng = np.random.default_rng(0)
    target, seen = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    train, other = images(rng, target), images(rng, seen)
    signal = fit(train, target, other, task="binary", classes=("a", "b"))
    noise = fit(train, rng.permutation(target), other, task="binary", classes=("a", "b"))
    for name in ("logistic_pixels", "logistic_pca"):
        assert roc_auc_score(seen, signal[name][:, 1]) > 0.95
        assert 0.3 < roc_auc_score(seen, noise[name][:, 1]) < 0.7


def test_majority_predicts_the_training_frequencies() -> None:
    rng = np.random.default_rng(1)
    target = np.r_[np.zeros(30, int), np.ones(10, int)]
    predictions = fit(images(rng, target), target, images(rng, target[:5]), task="binary", classes=("a", "b"))
    assert predictions["majority"] == pytest.approx(np.tile([0.75, 0.25], (5, 1)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_probabilities_are_probabilities(channels: int, dtype: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 255, (40, channels, 33, 20)).astype(dtype)
    predictions = fit(x, np.arange(40) % 3, x[:7], task="multiclass", classes=("a", "b", "c"))
    assert set(predictions) == NAMES
    for probabilities in predictions.values():
        assert not isinstance(probabilities, str)
        assert probabilities.shape == (7, 3)
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
        assert probabilities.min() >= 0


def test_units_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, 80)
    x = images(rng, target)
    first = fit(x, target, x, task="binary", classes=("a", "b"))
    second = fit(x / np.float32(255), target, x / np.float32(255), task="binary", classes=("a", "b"))
    for name in NAMES:
        np.testing.assert_allclose(first[name], second[name], atol=2e-3)


def test_each_label_has_its_own_regression() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (200, 3))
    labels[:, 2] = 0
    x = images(rng, labels[:, 0])
    predictions = fit(x, labels, x, task="multilabel", classes=("bright", "random", "never"))
    pixels = predictions["logistic_pixels"]
    assert not isinstance(pixels, str)
    assert roc_auc_score(labels[:, 0], pixels[:, 0]) > 0.95
    assert (pixels[:, 2] == 0).all()


def test_a_class_absent_from_training_has_no_probability() -> None:
    rng = np.random.default_rng(5)
    target = rng.choice([0, 2], 40)
    predictions = fit(images(rng, target), target, images(rng, target), task="multiclass", classes=("a", "b", "c"))
    for probabilities in predictions.values():
        assert (probabilities[:, 1] == 0).all()


def test_what_cannot_be_fitted_has_a_reason() -> None:
    rng = np.random.default_rng(6)
    target = np.zeros(12, int)
    x = images(rng, target)
    predictions = fit(x, target, x, task="binary", classes=("a", "b"))
    assert "one class only (a)" in predictions["logistic_pixels"]
    broken = x.astype(np.float32)
    broken[0, 0, 0, 0] = np.nan
    predictions = fit(broken, np.arange(12) % 2, broken, task="binary", classes=("a", "b"))
    assert "NaN" in predictions["logistic_pca"]
    predictions = fit(x[:0], target[:0], x, task="binary", classes=("a", "b"))
    assert set(predictions.values()) == {"no training image"}


def test_equal_seeds_are_equal_also_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.metrics.baselines.linear_models.MAX_TRAIN", 50)
    rng = np.random.default_rng(7)
    target = rng.integers(0, 2, 120)
    x = images(rng, target)
    first, again, other = (fit(x, target, x[:5], task="binary", classes=("a", "b"), seed=seed) for seed in (0, 0, 1))
    for name in NAMES:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["logistic_pixels"], other["logistic_pixels"])


@pytest.mark.parametrize("size", [1, 28, 29, 56, 224])
def test_pooling_keeps_the_mean_and_at_most_28_pixels(size: int) -> None:
    x = np.random.default_rng(8).integers(0, 256, (3, 2, size, size), dtype=np.uint8)
    pooled = pool(x)
    assert pooled.shape[1] <= 2 * 28 * 28
    if size != 29:
        np.testing.assert_allclose(pooled.mean(axis=1), x.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(pool(np.full_like(x, 7)), 7)


def test_the_penalty_is_picked_on_validation_only() -> None:
    rng = np.random.default_rng(9)
    target, seen = rng.integers(0, 2, 60), rng.integers(0, 2, 400)
    train, val = images(rng, target), images(rng, seen)
    against = fit_baselines(train, target, val, 1 - seen, val, task="binary", classes=("a", "b"))
    along = fit_baselines(train, target, val, seen, val, task="binary", classes=("a", "b"))
    # Validation labels that contradict training favour the strongest penalty: predictions near the class frequency.
    spread = {
        name: np.ptp(predictions["logistic_pixels"][:, 1]) for name, predictions in (("no", against), ("yes", along))
    }
    assert spread["no"] < spread["yes"]


def test_continuous_targets_are_predicted_by_ridge_regression() -> None:
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(10)
    train_y, val_y, seen = (np.column_stack([y, 5 - 3 * y]) for y in (rng.random(200), rng.random(80), rng.random(90)))
    train, val, other = (images(rng, 2 * y[:, 0]) for y in (train_y, val_y, seen))
    features = {"known": (train_y[:, :1], val_y[:, :1], seen[:, :1])}
    predictions = fit_baselines(
        train, train_y, val, val_y, other, task="regression", classes=("a", "b"), features=features
    )
    assert set(predictions) == {"mean_target", "ridge_pixels", "ridge_pca", "ridge_known"}
    np.testing.assert_allclose(predictions["mean_target"], np.tile(train_y.mean(0), (90, 1)))
    assert r2_score(seen, predictions["ridge_pixels"]) > 0.5
    assert r2_score(seen, predictions["ridge_known"]) > 0.99
