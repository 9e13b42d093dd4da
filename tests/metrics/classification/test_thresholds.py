"""Operating points on validation data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import choose_threshold, level_note
from vesalius.metrics.predictions import read_predictions

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
    # The next threshold in the direction that costs the kept rate misses more than the order statistic allows.
    scores, count = table["prob/malignant"].to_numpy(), (table["target"] == (kind == "sensitivity")).sum()
    beyond = scores[scores > threshold] if given_up < 0 else scores[scores < threshold]
    if len(beyond):
        neighbour = beyond.min() + 1e-9 if given_up < 0 else beyond.max() - 1e-9
        missed = (1 - value(table, float(neighbour), kept)) * count
        assert missed > max((count + 1) * (1 - level) - 1, 0) + 1e-6


@pytest.mark.parametrize(("kind", "level", "count", "per"), [("sensitivity", 0.9, 25, 4), ("specificity", 0.8, 13, 1)])
def test_a_level_is_expected_of_new_patients(kind: str, level: float, count: int, per: int) -> None:
    """Of uniform scores, the rate on new patients is 1 less an order statistic, k of `count`, which has the mean
    k / (count + 1); images that are copies of each other count as their patient."""
    rng, k, rates = np.random.default_rng(6), np.floor((count + 1) * (1 - level) + 1e-9), []
    others = np.linspace(0, 1, 201)[1:-1]
    for _ in range(150):
        own = np.repeat(rng.random(count), per) + 1e-7 * np.tile(np.arange(per), count)
        sick, scores = np.r_[np.ones(len(own)), np.zeros(len(others))], np.r_[own, others]
        if kind == "specificity":
            sick, scores = 1 - sick, np.r_[1 - own, 1 - others]
        patients = np.r_[np.repeat(np.arange(count), per), count + np.arange(len(others))]
        table = pd.DataFrame({"sample_id": np.arange(len(scores)), "group_id": patients, "target": sick.astype(int)})
        table = table.assign(**{"prob/benign": 1 - scores, "prob/malignant": scores})
        threshold = choose_threshold(table, f"{kind}@{level}")
        rates.append(1 - threshold if kind == "sensitivity" else threshold)
    mean, error = k / (count + 1), np.sqrt(k * (count + 1 - k) / (count + 1) ** 2 / (count + 2) / len(rates))
    assert np.mean(rates) >= level - 4 * error
    assert np.mean(rates) == pytest.approx(1 - mean, abs=4 * error + 0.005)


@pytest.mark.parametrize(("count", "promised"), [(18, False), (19, True)])
def test_too_few_patients_to_expect_a_level_are_all_kept_and_noted(count: int, promised: bool) -> None:
    table = validation(5)[lambda table: (table["target"] == 0) | (table["target"].cumsum() <= count)]
    kept = value(table, choose_threshold(table, "sensitivity@0.95"), "recall/malignant")
    note = level_note(read_predictions(table, task="binary", classes=CLASSES), "sensitivity@0.95")
    assert kept == 1
    if promised:
        assert note is None
    else:
        assert "18 validation patients with malignant are too few" in str(note)
        assert f"{18 / 19:.3f}" in str(note)
    assert level_note(read_predictions(table, task="binary", classes=CLASSES), "youden") is None


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
            assert 0 <= threshold <= 1 or threshold == -0.5 < table["prob/malignant"].min() == 0
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
