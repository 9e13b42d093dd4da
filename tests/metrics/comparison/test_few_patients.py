"""Differences where a class has few patients, where nothing differs, where seeds are few, and where arms are many."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from vesalius.metrics.comparison.paired import paired_difference
from vesalius.metrics.comparison.repeats import between_pairs, repeated_difference
from vesalius.metrics.comparison.resampled_metric import MIN_PATIENTS
from vesalius.metrics.comparison.verdict import verdict
from vesalius.metrics.intervals.clustered import t_quantile

CLASSES = ["benign", "malignant"]
BINARY = {"task": "binary", "classes": CLASSES}


def table(right: np.ndarray, target: np.ndarray) -> pd.DataFrame:
    """One image per patient, decided rightly or not."""
    malignant = np.where(right == (target == 1), 0.9, 0.1)
    ids = {"sample_id": [f"s{i}" for i in range(len(target))], "group_id": np.arange(len(target)), "target": target}
    return pd.DataFrame(ids | {"prob/benign": 1 - malignant, "prob/malignant": malignant})


def rare(count: int, patients: int = 60) -> np.ndarray:
    return (np.arange(patients) < count).astype(int)


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "recall/malignant", "average_precision", "f1"])
def test_a_class_of_few_patients_is_not_compared(metric: str) -> None:
    rng, target = np.random.default_rng(0), rare(MIN_PATIENTS - 1)
    first, second = (table(rng.random(60) < p, target) for p in (0.9, 0.5))
    found = paired_difference(first, second, metric=metric, **BINARY)
    assert (found["value"], found["ci95"]) == (None, None)
    assert verdict(found, "a", "b", metric) == (
        f"No verdict on {metric} of a and b: too few patients to compare: {MIN_PATIENTS - 1} of class malignant, "
        f"at least {MIN_PATIENTS} are needed."
    )
    known = paired_difference(first, second, metric="accuracy", **BINARY)  # which all 60 patients decide
    assert known["ci95"] is not None


def test_the_side_that_a_metric_is_computed_over_counts() -> None:
    target = rare(30)
    none = table(target == 0, target)  # predicts benign for everyone
    found = paired_difference(none, table(target >= 0, target), metric="precision/benign", **BINARY)
    assert found["value"] is not None
    few = table(np.where(np.arange(60) < 3, True, target == 0), target)
    found = paired_difference(few, table(target >= 0, target), metric="precision/malignant", **BINARY)
    assert "3 predicted as malignant" in found["reason"]
    shares = paired_difference(few, none, metric="specificity/malignant", **BINARY)
    assert shares["ci95"][1] > 0
    unequal = [t.assign(group_id=np.minimum(t["group_id"], 4)) for t in (few, none)]  # 5 patients, one with 56 images
    assert "(worth 1." in paired_difference(*unequal, metric="accuracy", **BINARY)["reason"]


@pytest.mark.parametrize("metric", ["accuracy", "recall/malignant", "balanced_accuracy", "auroc"])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_difference_without_spread_has_an_interval_with_width(metric: str, wrong: bool) -> None:
    """All right against all wrong, and all right twice with other probabilities."""
    target = rare(10, 20)
    right = table(target >= 0, target)
    other = table(target < 0, target) if wrong else right.assign(**{"prob/benign": 0.4, "prob/malignant": 0.6})
    if not wrong:
        other.loc[target == 0, ["prob/benign", "prob/malignant"]] = 0.6, 0.4
    found = paired_difference(right, other, metric=metric, **BINARY)
    low, high = found["ci95"]
    assert found["value"] == (1 if wrong else 0)
    assert high - low > 0.1
    assert (low > 0.5 and high == 1) if wrong else low == pytest.approx(-high)


def test_the_interval_of_paired_shares_is_that_of_one_more_patient() -> None:
    """20 patients, of whom 6 are right only with the first model and 2 only with the second."""
    target, others = rare(10, 20), np.arange(20)
    first, second = table(others >= 2, target), table((others < 2) | (others >= 8), target)
    found = paired_difference(first, second, metric="accuracy", **BINARY)
    variance = (8 / 20 - 0.2**2) / 19 + (1 + 0.2**2) / 22**2
    assert found["value"] == pytest.approx(0.2)
    assert np.diff(found["ci95"]) == pytest.approx(2 * student.ppf(0.975, 19) * np.sqrt(variance), rel=0.05)


def test_seeds_of_two_models_have_the_interval_of_welch_and_pairs_their_own() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=5), 2 * rng.normal(size=5)
    low, high = ttest_ind(first, second, equal_var=False).confidence_interval()
    assert np.sqrt(between_pairs(first, second) / 5) == pytest.approx((high - low) / 2)
    draws = 3 * rng.normal(size=5)
    low, high = ttest_rel(first + draws, first * 0.9 + draws + 0.2 * second).confidence_interval()
    assert np.sqrt(between_pairs(first + draws, first * 0.9 + draws + 0.2 * second) / 5) == pytest.approx(
        (high - low) / 2
    )
    assert between_pairs(first[:1], second[:1]) == between_pairs(np.ones(3), np.ones(3)) == 0


def test_many_differences_are_widened_so_that_they_hold_together() -> None:
    assert t_quantile(10) == pytest.approx(student.ppf(0.975, 10))
    assert t_quantile(1e6, 5) == pytest.approx(2.569, abs=0.001)  # Sidak: 1.96 is the quantile of a single one
    each = 2 * student.cdf(t_quantile(7, 6), 7) - 1
    assert each**6 == pytest.approx(0.95)
    rng, target = np.random.default_rng(2), rare(30)
    first, second = (table(rng.random(60) < p, target) for p in (0.9, 0.7))
    alone, together = (
        repeated_difference([first], [second], metric="accuracy", **BINARY, differences=k) for k in (1, 5)
    )
    assert np.diff(together["ci95"]) / np.diff(alone["ci95"]) == pytest.approx(t_quantile(59, 5) / t_quantile(59))
    assert together["method"] == "paired cluster bootstrap, 5 together"


def test_one_seed_each_names_no_better_arm() -> None:
    target = rare(30)
    first, second = table(np.arange(60) != 0, target), table(np.arange(60) % 2 == 0, target)
    one = repeated_difference([first], [second], metric="accuracy", **BINARY)
    assert one["ci95"][0] > 0
    assert verdict(one, "a", "b", "accuracy").startswith(
        "No verdict on a and b from one seed each: accuracy of these two"
    )
    two = repeated_difference([first] * 2, [second] * 2, metric="accuracy", **BINARY)
    assert verdict(two, "a", "b", "accuracy").startswith("a reaches a higher accuracy than b by .48")
