"""A mean over seeds or draws on shared patients: its value, its interval, and the verdict on it."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.comparison.verdict import verdict
from vesalius.metrics.intervals import clustered as intervals
from vesalius.metrics.reconstruction import paired_reconstruction_difference
from vesalius.metrics.regression import regression_metrics

CLASSES = ["benign", "malignant"]
BINARY = {"task": "binary", "classes": CLASSES}


def patients(rng: np.random.Generator, count: int) -> np.ndarray:
    """Patient of each image: half of them have 2 or 3."""
    return np.repeat(np.arange(count), np.r_[np.ones(count - count // 2, int), rng.integers(2, 4, count // 2)])


def scored(groups: np.ndarray, target: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    probability = norm.cdf(scores)
    ids = {"sample_id": [f"s{i}" for i in range(len(groups))], "group_id": groups, "target": target}
    return pd.DataFrame(ids | {"prob/benign": 1 - probability, "prob/malignant": probability})


def repeats(
    rng: np.random.Generator,
    *,
    tables: int,
    gain: float = 0.0,
    spread: float = 0.0,
    noise: float = 0.5,
    count: int = 60,
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Two models on patients that are hard for both. The separation of each repeat has a mean of 1.5 (plus `gain`)
    and a standard deviation of `spread`; every image has `noise` of its own in each repeat."""
    groups = patients(rng, count)
    target = (np.arange(count) % 2)[groups]
    shared = 0.8 * rng.normal(size=count)[groups] + 0.6 * rng.normal(size=len(groups))

    def one(separation: float) -> pd.DataFrame:
        return scored(groups, target, shared + separation * (target - 0.5) + noise * rng.normal(size=len(groups)))

    first = [one(1.5 + gain + spread * rng.normal()) for _ in range(tables)]
    return first, [one(1.5 + spread * rng.normal()) for _ in range(tables)]


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "recall/malignant", "brier", "ece", "average_precision"])
def test_one_repeat_is_the_paired_difference(metric: str) -> None:
    first, second = repeats(np.random.default_rng(0), tables=1, gain=0.5)
    single = paired_difference(first[0], second[0], metric=metric, task="binary", classes=CLASSES)
    assert repeated_difference(first, second, metric=metric, **BINARY) == single


@pytest.mark.parametrize("metric", ["auroc", "recall/benign", "brier", "f1"])
def test_values_are_means_over_the_repeats(metric: str) -> None:
    first, second = repeats(np.random.default_rng(1), tables=4, spread=0.3)
    each = [[classification_metrics(t, **BINARY)[metric] for t in tables] for tables in (first, second)]
    a, b = (np.mean([m["value"] for m in metrics]) for metrics in each)
    found = repeated_metric(first, metric=metric, **BINARY)
    assert found["value"] == pytest.approx(a)
    assert found["no_skill"] == pytest.approx(each[0][0]["no_skill"])
    assert (found["n"], found["groups"]) == (len(first[0]), 60)
    assert 0 < found["ci95"][0] < found["value"] < found["ci95"][1] < 1
    difference = repeated_difference(first, second, metric=metric, **BINARY)
    assert difference["value"] == pytest.approx(a - b)
    assert json.loads(json.dumps([found, difference])) == [found, difference]


def test_pairing_follows_the_places_and_swapping_turns_the_sign() -> None:
    rng = np.random.default_rng(2)
    second = repeats(rng, tables=5, spread=1.0)[0]
    first = [t.assign(**{c: t[c] for c in t}) for t in second]
    same = repeated_difference(first, second, metric="auroc", **BINARY)
    assert (same["value"], same["ci95"]) == (0, [0, 0])
    turned = repeated_difference(first[1:] + first[:1], second, metric="auroc", **BINARY)
    assert turned["value"] == pytest.approx(0)
    assert turned["ci95"][1] - turned["ci95"][0] > 0.05  # pairs of other seeds differ, though the means do not
    one, other = repeats(rng, tables=3, gain=0.4)
    forth, back = (repeated_difference(*pair, metric="auroc", **BINARY) for pair in ((one, other), (other, one)))
    assert back["ci95"] == pytest.approx([-forth["ci95"][1], -forth["ci95"][0]])


def test_repeats_that_are_the_same_add_nothing() -> None:
    first, second = repeats(np.random.default_rng(3), tables=1, gain=0.5)
    once = repeated_difference(first, second, metric="auroc", **BINARY)
    thrice = repeated_difference(first * 3, second * 3, metric="auroc", **BINARY)
    assert thrice["ci95"] == pytest.approx(once["ci95"])
    assert thrice["method"] == "paired cluster bootstrap and 3 repeats"


def test_repeats_that_disagree_widen_the_interval_as_a_t_test_over_them_would() -> None:
    """With very many patients only the repeats are left to chance, and the interval is that of their mean."""
    rng = np.random.default_rng(4)
    groups = np.arange(600)
    shared, target = rng.normal(size=600), groups % 2
    separations = np.array([0.2, 1.0, 1.6, 3.0])
    tables = [scored(groups, target, shared + separation * target) for separation in separations]
    second = [scored(groups, target, shared + 0.2 * target) for _ in separations]
    found = repeated_difference(tables, second, metric="auroc", **BINARY)
    each = [
        repeated_difference([a], [b], metric="auroc", **BINARY)["value"] for a, b in zip(tables, second, strict=True)
    ]
    low, high = student.interval(0.95, 3, np.mean(each), np.std(each, ddof=1) / 2)
    assert found["ci95"] == pytest.approx([low, high], abs=0.03)


def test_noise_of_the_test_set_is_counted_once() -> None:
    """Repeats that differ only by independent noise of each image are as good as four times the images, but only the
    four of each model tell how much they differ: the interval is Welch's, with 3 to 6 degrees of freedom, mostly t_5 /
    2 / t_199 = .65 times as wide. Were the noise counted in the margin of the patients too, it would be .82."""
    rng = np.random.default_rng(9)
    widths = []
    for _ in range(10):
        first, second = repeats(rng, tables=4, noise=3, count=200)
        four, one = (repeated_difference(first[:k], second[:k], metric="accuracy", **BINARY)["ci95"] for k in (4, 1))
        widths.append((four[1] - four[0]) / (one[1] - one[0]))
    assert np.median(widths) == pytest.approx(0.65, abs=0.07)


def test_order_of_rows_does_not_matter() -> None:
    first, second = repeats(np.random.default_rng(5), tables=2)
    shuffled = [table.sample(frac=1, random_state=k) for k, table in enumerate(second)]
    kind = {"metric": "auroc", **BINARY}
    assert repeated_difference(first, shuffled, **kind) == repeated_difference(first, second, **kind)


def continuous(seed: int, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    groups = patients(rng, 40)
    truth = 100 + rng.normal(size=(len(groups), 2))
    predicted = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    ids = pd.DataFrame({"sample_id": np.arange(len(groups)), "group_id": groups})
    return ids.assign(
        **{f"{k}/{n}": v[:, i] for k, v in (("target", truth), ("pred", predicted)) for i, n in enumerate("ab")}
    )


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "mae/b"])
def test_continuous_targets_have_the_metrics_of_a_regression(metric: str) -> None:
    first, second = ([continuous(seed, noise) for seed in range(k, k + 3)] for k, noise in ((1, 0.3), (11, 0.5)))
    kind = {"metric": metric, "task": "regression", "classes": ["a", "b"]}
    found = repeated_metric(first, **kind)
    each = [regression_metrics(t, names=["a", "b"], no_skill=[0, 0])[metric] for t in first]
    assert found["value"] == pytest.approx(np.mean([m["value"] for m in each]))
    assert each[0]["ci95"] == pytest.approx(repeated_metric(first[:1], **kind)["ci95"], rel=0.03)
    difference = repeated_difference(first, second, **kind)
    assert difference["ci95"][1] < 0 or metric == "r2"
    if metric in ("mae", "rmse"):
        one = repeated_difference(first[:1], second[:1], **kind)
        assert one["ci95"] == paired_difference(first[0], second[0], **kind)["ci95"]


def test_reconstructions_are_compared_by_their_mean_error() -> None:
    rng = np.random.default_rng(6)
    groups = patients(rng, 60)
    hard = rng.normal(size=60)[groups]

    def table(gain: float) -> pd.DataFrame:
        return pd.DataFrame({"sample_id": range(len(groups)), "group_id": groups, "psnr": 25 + gain + hard})

    first, second = ([table(gain + rng.normal(size=len(groups))) for _ in range(3)] for gain in (0.5, 0.0))
    kind = {"metric": "psnr", "task": "reconstruction", "classes": []}
    found = repeated_difference(first, second, **kind)
    means = [(a["psnr"] - b["psnr"]).mean() for a, b in zip(first, second, strict=True)]
    assert found["value"] == pytest.approx(np.mean(means))
    single = repeated_difference(first[:1], second[:1], **kind)
    assert single["ci95"] == pytest.approx(
        paired_reconstruction_difference(first[0], second[0], "psnr")["ci95"], abs=0.03
    )
    assert repeated_metric(first, **kind)["no_skill"] is None


def test_what_cannot_be_computed_has_a_reason() -> None:
    first, second = repeats(np.random.default_rng(7), tables=2)
    with pytest.raises(InputError, match="same seeds or draws"):
        repeated_difference(first, second[:1], metric="auroc", **BINARY)
    with pytest.raises(InputError, match="differ in samples"):
        repeated_difference(first, [second[0], second[1].head(9)], metric="auroc", **BINARY)
    with pytest.raises(InputError, match="differ in samples"):
        repeated_metric([first[0], first[1].assign(target=1)], metric="auroc", **BINARY)
    for metric in ("auroc/cyst", "psnr", "accuracy/benign", "auroc/"):
        with pytest.raises(InputError, match="unknown"):
            repeated_metric(first, metric=metric, **BINARY)
    with pytest.raises(InputError, match="at least one"):
        repeated_metric([], metric="auroc", **BINARY)
    with pytest.raises(InputError, match="no column group_id"):
        repeated_metric([first[0].drop(columns="group_id")], metric="auroc", **BINARY)
    with pytest.raises(InputError, match="no finite number in ssim"):
        repeated_metric(first, metric="ssim", task="reconstruction", classes=[])
    benign = [table.assign(target=0) for table in first]
    found = repeated_metric(benign, metric="auroc", **BINARY)
    assert (found["value"], found["ci95"]) == (None, None)
    assert "malignant" in found["reason"]
    assert "malignant" in verdict(repeated_difference(benign, benign, metric="auroc", **BINARY), "a", "b", "auroc")


def difference(value: float, low: float, high: float) -> dict[str, object]:
    return {"value": value, "ci95": [low, high]}


def test_the_verdict_is_what_the_interval_allows() -> None:
    gain, loss, none = difference(0.021, 0.004, 0.038), difference(-0.02, -0.035, -0.005), difference(0.01, -0.01, 0.03)
    assert verdict(gain, "ours", "pca", "auroc") == "ours reaches a higher auroc than pca by .021 [.004, .038]."
    assert verdict(loss, "ours", "pca", "auroc") == "ours is worse than pca: its auroc is lower by .020 [.005, .035]."
    assert verdict(none, "ours", "pca", "auroc").startswith(
        "No evidence of a gain: auroc of ours minus that of pca is .010"
    )
    assert verdict(loss, "ours", "pca", "mae/time") == "ours reaches a lower mae/time than pca by .020 [.005, .035]."
    assert verdict(gain, "ours", "pca", "brier").startswith("ours is worse than pca: its brier is higher by")
    tiny = verdict(difference(-0.00012, -0.00015, -0.00009), "ours", "pca", "mse")
    assert tiny == "ours reaches a lower mse than pca by .000120 [.000090, .000150]."


def truth_of(spread: float, noise: float, gain: float) -> float:
    """Mean AUROC over repeats in the population that `repeats` draws from."""
    separations = 1.5 + gain + spread * np.random.default_rng(99).normal(size=200_001)
    return float(norm.cdf(separations / np.sqrt(2 * (1 + noise**2))).mean())


def coverage(tables: int, spread: float, noise: float, studies: int) -> dict[str, float]:
    """Share of the intervals of AUROC and of its difference that hold the truth, and of accuracy's difference, which
    is 0."""
    rng = np.random.default_rng(8)
    mean, other = (truth_of(spread, noise, gain) for gain in (0.4, 0.0))
    held: dict[str, list[bool]] = {"auroc": [], "auroc_difference": [], "accuracy_difference": []}
    for study in range(studies):
        first, second = repeats(rng, tables=tables, gain=0.4, spread=spread, noise=noise)
        even = repeats(rng, tables=tables, spread=spread, noise=noise)
        kind = {"metric": "auroc", **BINARY, "seed": study}
        low, high = repeated_metric(first, **kind)["ci95"]
        held["auroc"].append(low <= mean <= high)
        low, high = repeated_difference(first, second, **kind)["ci95"]
        held["auroc_difference"].append(low <= mean - other <= high)
        low, high = repeated_difference(*even, **kind | {"metric": "accuracy"})["ci95"]
        held["accuracy_difference"].append(low <= 0 <= high)
    return {name: float(np.mean(each)) for name, each in held.items()}


@pytest.mark.proof
@pytest.mark.parametrize(
    ("tables", "spread", "noise"),
    [(1, 0.0, 0.5), *((n, *kind) for n in (2, 3, 5) for kind in ((0.0, 0.5), (0.1, 0.5), (0.3, 0.5), (0.6, 0.3)))],
)
def test_coverage(tables: int, spread: float, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 patients, half of them with 2 or 3 images. One repeat covers only its own seed, so that the
    spread is not tested with it, and two estimate it badly. 300 resamples, as 1,000 take thrice as long."""
    monkeypatch.setattr(intervals, "REPLICATES", 300)
    held = coverage(tables, spread, noise, 400)
    print(f"{tables} repeats, spread {spread}, noise {noise}: {', '.join(f'{k} {v:.1%}' for k, v in held.items())}")
    for name, share in held.items():
        assert (0.85 if tables == 2 else 0.92) <= share <= 0.985, name
