"""Differences between two models on the same patients."""

import numpy as np
import pandas as pd
import pytest

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.comparison.paired import paired_difference

CLASSES = ["benign", "malignant"]


def pair(seed: int, gain: float, patients: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models that find the same cases hard; the first sees `gain` more of the signal."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    target = (rng.random(patients) < 0.5).astype(int)[groups]
    shared = rng.normal(size=patients)[groups] + 1.2 * target

    def table(signal: float) -> pd.DataFrame:
        probability = 1 / (1 + np.exp(-(shared + signal * target + 0.3 * rng.normal(size=len(groups)) - 0.6)))
        return pd.DataFrame(
            {
                "sample_id": [f"s{i}" for i in range(len(groups))],
                "group_id": groups,
                "target": target,
                "prob/benign": 1 - probability,
                "prob/malignant": probability,
            }
        )

    return table(gain), table(0)


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "recall/malignant", "brier", "average_precision"])
def test_value_is_the_difference_of_the_metrics(metric: str) -> None:
    first, second = pair(0, 1)
    result = paired_difference(first, second, metric=metric, task="binary", classes=CLASSES)
    a, b = (classification_metrics(t, task="binary", classes=CLASSES)[metric]["value"] for t in (first, second))
    assert result["value"] == pytest.approx(a - b)
    assert result["ci95"][0] < result["value"] < result["ci95"][1]
    swapped = paired_difference(second, first, metric=metric, task="binary", classes=CLASSES)
    assert swapped["ci95"] == pytest.approx([-result["ci95"][1], -result["ci95"][0]])


def test_pairing_is_surer_than_two_intervals() -> None:
    first, second = pair(1, 0)
    result = paired_difference(first, second, metric="auroc", task="binary", classes=CLASSES)
    single = classification_metrics(first, task="binary", classes=CLASSES)["auroc"]["ci95"]
    assert result["ci95"][1] - result["ci95"][0] < 0.7 * (single[1] - single[0])


def test_interval_holds_no_difference_where_there_is_none() -> None:
    held = []
    for seed in range(40):
        result = paired_difference(*pair(seed, 0), metric="auroc", task="binary", classes=CLASSES)
        held.append(result["ci95"][0] <= 0 <= result["ci95"][1])
    assert sum(held) >= 34  # of 40 at 95 %, 33 or fewer come up three times in a thousand


def test_a_model_equals_itself_in_any_order_of_rows() -> None:
    first, _ = pair(2, 0)
    shuffled = first.sample(frac=1, random_state=0)
    result = paired_difference(first, shuffled, metric="auroc", task="binary", classes=CLASSES)
    assert (result["value"], result["ci95"]) == (0, [0, 0])


def test_thresholds_may_differ() -> None:
    first, _ = pair(3, 0)
    low, high = (first.assign(threshold=threshold) for threshold in (0.2, 0.8))
    result = paired_difference(low, high, metric="recall/malignant", task="binary", classes=CLASSES)
    assert result["value"] > 0


def test_other_samples_or_names_are_refused() -> None:
    first, second = pair(4, 0)
    with pytest.raises(InputError, match="differ in samples"):
        paired_difference(first, second.head(20), metric="auroc", task="binary", classes=CLASSES)
    with pytest.raises(InputError, match="differ in samples"):
        paired_difference(
            first, second.assign(target=1 - second["target"]), metric="auroc", task="binary", classes=CLASSES
        )
    with pytest.raises(InputError, match="unknown"):
        paired_difference(first, second, metric="auroc/cyst", task="binary", classes=CLASSES)
    one_class = [t.assign(target=0) for t in (first, second)]
    result = paired_difference(*one_class, metric="auroc", task="binary", classes=CLASSES)
    assert result["value"] is None
    assert "malignant" in result["reason"]
