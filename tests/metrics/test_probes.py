"""Probes find the information in features, pick hyperparameters on validation, and never learn from test samples."""

import inspect
import time
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from vesalius.config.errors import InputError
from vesalius.metrics.baselines import linear_models as baselines
from vesalius.metrics.baselines import nearest_neighbours as neighbours
from vesalius.metrics.probes import probe

TRAIN, VAL, TEST = 200, 80, 120


def labels(rng: np.random.Generator, task: str) -> np.ndarray:
    size = TRAIN + VAL + TEST
    if task == "multilabel":
        return (rng.random((size, 3)) < 0.4).astype(int)
    return rng.normal(size=(size, 2)) if task == "regression" else rng.integers(0, 3, size)


def parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    train, val, test = np.split(values, [TRAIN, TRAIN + VAL])
    return train, val, test


def informative(rng: np.random.Generator, target: np.ndarray, signal: float = 2.0) -> np.ndarray:
    """8 features, some of which depend on the target, on different scales."""
    shown = np.eye(3)[target] if target.ndim == 1 else target
    features = rng.normal(size=(len(target), 8))
    features[:, : shown.shape[1]] += signal * shown
    return features * np.logspace(-2, 2, 8) + 5


def run_probe(
    task: str, *, seed: int = 0, features: dict[str, Any] | None = None, **options: Any
) -> tuple[Any, np.ndarray]:
    """Predictions by arm and part, and the test targets, which the probe is not given."""
    rng = np.random.default_rng(seed)
    target = labels(rng, task)
    arms = features or {"good": parts(informative(rng, target)), "noise": parts(rng.normal(size=(len(target), 8)))}
    train_y, val_y, test_y = parts(target)
    draws = {0.1: [np.arange(20), np.arange(20, 40)], 1.0: [np.arange(TRAIN)]}
    names = ["a", "b"] if task == "regression" else ["a", "b", "c"]
    given = {"draws": draws, "task": task, "classes": names} | options
    return probe(arms, (train_y, val_y), **given), test_y


def test_signal_is_found_and_noise_is_not_and_labels_help() -> None:
    predictions, truth = run_probe("multiclass")
    assert list(predictions) == ["good/logistic", "good/knn", "noise/logistic", "noise/knn"]
    aurocs = {
        (arm, part): np.mean([roc_auc_score(truth, each, multi_class="ovr") for each in drawn])
        for arm, by_part in predictions.items()
        for part, drawn in by_part.items()
    }
    for classifier in ("logistic", "knn"):
        assert aurocs[f"good/{classifier}", 1.0] > 0.85
        assert aurocs[f"good/{classifier}", 1.0] > aurocs[f"good/{classifier}", 0.1] > 0.6
        assert 0.4 < aurocs[f"noise/{classifier}", 1.0] < 0.6


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "ordinal"])
def test_predictions_are_probabilities_for_each_draw(task: str) -> None:
    predictions, _ = run_probe(task)
    for by_part in predictions.values():
        assert [len(drawn) for drawn in by_part.values()] == [2, 1]
        for prediction in (each for drawn in by_part.values() for each in drawn):
            assert prediction.shape == (TEST, 3)
            assert ((prediction >= 0) & (prediction <= 1)).all()
            if task != "multilabel":
                assert np.allclose(prediction.sum(axis=1), 1, atol=1e-6)


def test_each_label_is_found_on_its_own() -> None:
    predictions, truth = run_probe("multilabel")
    for classifier in ("logistic", "knn"):
        assert all(roc_auc_score(truth[:, k], predictions[f"good/{classifier}"][1.0][0][:, k]) > 0.7 for k in range(3))


def test_continuous_targets_are_predicted_by_ridge_and_by_neighbours() -> None:
    predictions, truth = run_probe("regression")
    assert list(predictions) == ["good/ridge", "good/knn", "noise/ridge", "noise/knn"]
    assert r2_score(truth, predictions["good/ridge"][1.0][0]) > 0.6
    assert r2_score(truth, predictions["good/knn"][1.0][0]) > 0.4
    assert r2_score(truth, predictions["noise/knn"][1.0][0]) < 0.1


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_test_samples_change_nothing_but_their_own_predictions(task: str) -> None:
    """Half of the test samples are replaced by absurd values, and the predictions for the others, which depend on all
    that was chosen and fitted, stay bit-identical."""
    rng = np.random.default_rng(1)
    features = informative(rng, labels(np.random.default_rng(0), task))
    absurd = features.copy()
    absurd[TRAIN + VAL + 60 :] = 1e6 * rng.normal(size=(60, 8))
    plain, planted = (run_probe(task, features={"f": parts(each)})[0] for each in (features, absurd))
    for arm, by_part in plain.items():
        for part, drawn in by_part.items():
            for one, other in zip(drawn, planted[arm][part], strict=True):
                assert np.array_equal(one[:60], other[:60]), arm
                assert not np.array_equal(one[60:], other[60:]), arm


def test_test_targets_are_no_argument() -> None:
    assert list(inspect.signature(probe).parameters) == ["features", "targets", "draws", "task", "classes", "seed"]


def test_labels_outside_a_draw_are_not_used() -> None:
    rng = np.random.default_rng(2)
    target = labels(rng, "multiclass")
    features = {"f": parts(informative(rng, target))}
    other = target.copy()
    other[20:TRAIN] = rng.integers(0, 3, TRAIN - 20)
    draws = {0.1: [np.arange(20)]}
    one, two = (
        probe(features, parts(each)[:2], draws, task="multiclass", classes=["a", "b", "c"]) for each in (target, other)
    )
    for arm in one:
        assert np.array_equal(one[arm][0.1][0], two[arm][0.1][0]), arm


def test_a_class_that_a_draw_lacks_has_probability_zero() -> None:
    rng = np.random.default_rng(3)
    target = labels(rng, "multiclass")
    lacking, single = np.flatnonzero(target[:TRAIN] != 2), np.flatnonzero(target[:TRAIN] == 1)
    predictions, _ = run_probe("multiclass", seed=3, draws={0.1: [lacking, single]})
    for arm, by_part in predictions.items():
        assert (by_part[0.1][0][:, 2] == 0).all(), arm
        assert (by_part[0.1][1] == [0, 1, 0]).all(), arm


def test_one_penalty_and_one_k_give_the_predictions_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "PENALTIES", (0.1,))
    monkeypatch.setattr(baselines, "RIDGE_PENALTIES", (0.1,))
    monkeypatch.setattr(neighbours, "NEIGHBOURS", (7,))
    features = informative(np.random.default_rng(4), labels(np.random.default_rng(0), "multiclass"))
    features = (features - features[:TRAIN].mean(axis=0)) / features[:TRAIN].std(axis=0)  # both distances agree
    train, _, test = arm = parts(features)
    predictions, _ = run_probe("multiclass", features={"f": arm})
    target = labels(np.random.default_rng(0), "multiclass")[:TRAIN]
    logistic = LogisticRegression(C=0.1).fit(train, target).predict_proba(test)
    assert predictions["f/logistic"][1.0][0] == pytest.approx(logistic, abs=2e-3)
    votes = KNeighborsClassifier(7).fit(train, target).predict_proba(test)
    smoothed = (7 * votes + np.bincount(target) / TRAIN) / 8
    assert predictions["f/knn"][1.0][0] == pytest.approx(smoothed)

    predictions, _ = run_probe("regression", features={"f": arm})
    values = labels(np.random.default_rng(0), "regression")[:TRAIN]
    assert predictions["f/ridge"][1.0][0] == pytest.approx(Ridge(alpha=10).fit(train, values).predict(test), abs=1e-4)
    assert predictions["f/knn"][1.0][0] == pytest.approx(KNeighborsRegressor(7).fit(train, values).predict(test))


def test_k_is_picked_on_validation() -> None:
    """Two clouds: with clean validation labels many neighbours are best; where a validation sample always has the label
    of its nearest training sample, however noisy that is, one neighbour is."""
    rng = np.random.default_rng(5)
    cloud = np.repeat([0, 1], 100)
    train, test = (rng.normal(size=(200, 3)) + 4 * cloud[:, None] for _ in range(2))
    noisy = np.where(rng.random(200) < 0.3, 1 - cloud, cloud)
    scales = [(train.astype(np.float32), val.astype(np.float32), test.astype(np.float32)) for val in (test, train)]
    targets = [(np.eye(2, dtype=int)[noisy], np.eye(2, dtype=int)[val]) for val in (cloud, noisy)]
    smooth, rough = (
        neighbours.nearest_neighbours([scale], target, [np.arange(200)], task="binary")[0]
        for scale, target in zip(scales, targets, strict=True)
    )
    assert len(np.unique(rough[:, 1].round(6))) == 2  # one neighbour: the vote is for either class
    assert roc_auc_score(cloud, smooth[:, 1]) > 0.97 > roc_auc_score(cloud, rough[:, 1])


def test_the_distance_is_picked_on_validation() -> None:
    """A large dimension without information hides the others, unless features are standardised; where only this
    dimension depends on the class, standardising hides it among 30 others."""
    rng = np.random.default_rng(6)
    target = rng.integers(0, 2, TRAIN + VAL + TEST)
    draws = {1.0: [np.arange(TRAIN)]}
    loud = rng.normal(size=(len(target), 31))
    loud[:, 0] *= 100
    quiet = loud.copy()
    loud[:, 0] += 300 * target
    quiet[:, 1:4] += 2 * target[:, None]
    targets = parts(target)
    for features in (loud, quiet):
        prediction = probe({"f": parts(features)}, targets[:2], draws, task="binary", classes=["a", "b"])
        assert roc_auc_score(targets[2], prediction["f/knn"][1.0][0][:, 1]) > 0.9


def test_many_test_samples_are_predicted_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run_probe("multiclass")
    monkeypatch.setattr(neighbours, "MAX_DISTANCES", TRAIN * 7)
    in_parts, _ = run_probe("multiclass")
    assert in_parts["good/knn"][1.0][0] == pytest.approx(whole["good/knn"][1.0][0])


def test_equal_features_are_decided_by_the_seed_and_not_by_the_order_of_classes() -> None:
    features, target = np.zeros((TRAIN, 2)), np.repeat([0, 1], TRAIN // 2)
    predictions = [
        probe({"f": (features, features[:8], features[:1])}, (target, target[96:104]), {1.0: [np.arange(TRAIN)]},
              task="binary", classes=["a", "b"], seed=seed)["f/knn"][1.0][0][0, 1]
        for seed in range(20)
    ]  # fmt: skip
    assert np.mean(predictions) == pytest.approx(0.5, abs=0.15)


def test_what_cannot_be_probed_is_refused_at_once() -> None:
    size = TRAIN + VAL + TEST
    broken = np.zeros((size, 2))
    broken[[3, TRAIN + 1], 0] = np.nan
    with pytest.raises(InputError) as caught:
        run_probe("multiclass", features={"f": parts(broken)})
    assert "f: training features of 1 samples are NaN" in str(caught.value)
    assert "f: validation features of 1 samples are NaN" in str(caught.value)
    with pytest.raises(InputError, match="features for"):
        run_probe("multiclass", features={"f": (broken[:9], broken[:VAL], broken[:5])})
    with pytest.raises(InputError, match="1% of the labels"):
        run_probe("multiclass", draws={0.01: [np.array([], dtype=int)]})


@pytest.mark.benchmark
def test_speed() -> None:
    """Four kinds of features of 1,700 images, 16 draws each, on one core."""
    rng = np.random.default_rng(7)
    target = rng.integers(0, 4, 2500)
    features = {}
    for name, width in (("latent", 64), ("pca", 64), ("random", 64), ("pixels", 784)):
        values = rng.normal(size=(2500, width)) @ rng.normal(size=(width, width)) / np.sqrt(width)
        features[name] = (values[:1700], values[1700:2000], values[2000:])
    draws = {part: [rng.permutation(1700)[: int(part * 1700)] for _ in range(5)] for part in (0.01, 0.05, 0.1)}
    start = time.perf_counter()
    probe(
        features,
        (target[:1700], target[1700:2000]),
        draws | {1.0: [np.arange(1700)]},
        task="multiclass",
        classes="abcd",
    )
    seconds = time.perf_counter() - start
    print(f"128 probes of 1,700 images: {seconds:.1f} s")
    assert seconds < 40
