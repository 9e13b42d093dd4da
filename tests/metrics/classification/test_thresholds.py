"""Operating points on validation data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import choose_threshold

CLASSES = ["benign", "malignant"]


def validation(seed: int, *, ties: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = np.r_[0, 1, rng.integers(0, 2, 78)]
    scores = 1 / (1 + np.exp(-(rng.normal(size=80) + 1.5 * target - 2)))
    scores = np.round(scores, 1) if ties else scores
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(80)],
            "group_id": [f"p{i}" for i in range(80)],
            "target": target,
            "prob/benign": 1 - scores,
            "prob/malignant": scores,
        }
    )


def value(table: pd.DataFrame, threshold: float, name: str) -> float:
    entry = classification_metrics(table, task="binary", classes=CLASSES, decision=threshold)[name]
    assert entry["value"] is not None
    return float(entry["value"])


@pytest.mark.parametrize("seed", range(6))
def test_youden_reaches_the_largest_index(seed: int) -> None:
    table = validation(seed, ties=seed % 2 == 0)
    alarms, hits, _ = roc_curve(table["target"], table["prob/malignant"])
    threshold = choose_threshold(table, "youden")
    reached = value(table, threshold, "recall/malignant") + value(table, threshold, "specificity/malignant") - 1
    assert reached == pytest.approx((hits - alarms).max())


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize(
    ("kind", "kept", "given_up"),
    [("sensitivity", "recall/malignant", -1), ("specificity", "specificity/malignant", 1)],
)
def test_a_level_is_kept_and_no_more_than_needed(level: float, kind: str, kept: str, given_up: int) -> None:
    table = validation(11, ties=level == 0.9)
    threshold = choose_threshold(table, f"{kind}@{level}")
    assert value(table, threshold, kept) >= level - 1e-12
    # The next threshold in the direction that costs the kept rate breaks the level, if there is one.
    scores = table["prob/malignant"].to_numpy()
    beyond = scores[scores > threshold] if given_up < 0 else scores[scores < threshold]
    if len(beyond):
        neighbour = beyond.min() + 1e-9 if given_up < 0 else beyond.max() - 1e-9
        assert value(table, float(neighbour), kept) < level


@pytest.mark.parametrize("ratio", [0.1, 1.0, 5.0, 20.0, 500.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_ratio_of_costs_has_the_lowest_cost_of_all_thresholds(ratio: float, seed: int) -> None:
    table = validation(seed, ties=seed == 2)
    sick, scores = table["target"].to_numpy() == 1, table["prob/malignant"].to_numpy()

    def cost(threshold: float) -> float:
        return float(ratio * (sick & (scores <= threshold)).sum() + (~sick & (scores > threshold)).sum())

    lowest = min(cost(threshold) for threshold in [-1.0, *scores])
    assert cost(choose_threshold(table, f"cost@{ratio}")) == pytest.approx(lowest)


def test_a_dear_miss_moves_the_threshold_down() -> None:
    chosen = [choose_threshold(validation(4), f"cost@{ratio}") for ratio in (0.05, 1, 20)]
    assert chosen[0] > chosen[1] > chosen[2]


def test_argmax_is_one_half() -> None:
    assert choose_threshold(validation(0)) == 0.5


def equal_scores(score: float) -> pd.DataFrame:
    return validation(0).assign(**{"prob/benign": 1 - score, "prob/malignant": score})


@pytest.mark.parametrize("score", [0.0, 1e-300, 0.3, 0.5, 0.7, 1.0])
def test_equal_scores_have_the_threshold_that_each_rule_asks_for(score: float) -> None:
    table = equal_scores(score)
    assert value(table, choose_threshold(table, "sensitivity@0.95"), "recall/malignant") == 1
    assert value(table, choose_threshold(table, "specificity@0.95"), "specificity/malignant") == 1
    if score != 0.5:
        by_argmax = value(table, 0.5, "recall/malignant")
        assert value(table, choose_threshold(table, "youden"), "recall/malignant") == by_argmax


@pytest.mark.parametrize("level", [0.5, 0.95, 1.0])
def test_a_sensitivity_is_kept_where_many_scores_are_exactly_zero(level: float) -> None:
    table = validation(3)
    saturated = table["prob/malignant"].where(table["prob/malignant"] > 0.4, 0.0)
    table = table.assign(**{"prob/malignant": saturated, "prob/benign": 1 - saturated})
    assert value(table, choose_threshold(table, f"sensitivity@{level}"), "recall/malignant") >= level


def test_threshold_lies_on_no_score() -> None:
    for seed in range(5):
        table = validation(seed, ties=True)
        for rule in ("youden", "sensitivity@0.95", "specificity@0.95", "cost@3"):
            threshold = choose_threshold(table, rule)
            assert 0 <= threshold <= 1
            assert not np.isclose(table["prob/malignant"], threshold, atol=1e-12).any()


@pytest.mark.parametrize(
    "rule",
    [
        "best",
        "sensitivity",
        "sensitivity@2",
        "sensitivity@high",
        "specificity@0",
        "sensitivity=0.95",
        "",
        "cost@0",
        "cost@-1",
        "cost@nan",
        "cost@inf",
    ],
)
def test_unknown_rules_are_refused(rule: str) -> None:
    with pytest.raises(InputError, match="youden"):
        choose_threshold(validation(0), rule)


def test_tables_without_two_classes_are_refused() -> None:
    with pytest.raises(InputError, match="malignant is absent"):
        choose_threshold(validation(0).assign(target=0), "youden")
    with pytest.raises(InputError, match="binary"):
        choose_threshold(validation(0).assign(**{"prob/other": 0.0}), "youden")
