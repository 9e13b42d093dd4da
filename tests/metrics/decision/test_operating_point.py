"""Predictive values against counts, and ratios of shares against simulation."""

import numpy as np
import pytest

from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.decision.operating_point import predictive_values, rate_differences, rates_of, ratio_interval
from vesalius.metrics.entry import Interval, metric_entry
from vesalius.metrics.intervals.clustered import wilson

CLASSES = ("c0", "c1")


def metrics_of(table, threshold=0.5):
    return classification_metrics(table, task="binary", classes=CLASSES, decision=threshold)


def test_at_the_prevalence_of_the_test_set_they_are_the_precisions(sample_table):
    table = sample_table(1, patients=300, per=2, classes=2)
    metrics = metrics_of(table, 0.3)
    rates = rates_of(metrics, "c1")
    values = predictive_values(rates, table["target"].mean(), n=600, groups=300)
    assert values["ppv"]["value"] == pytest.approx(metrics["precision/c1"]["value"])
    assert values["npv"]["value"] == pytest.approx(metrics["precision/c0"]["value"])
    for name, precision in (("ppv", "precision/c1"), ("npv", "precision/c0")):
        assert values[name]["ci95"] == pytest.approx(metrics[precision]["ci95"], abs=0.03)


def test_a_rare_disease_makes_positive_results_wrong_and_negative_ones_right(sample_table):
    rates = rates_of(metrics_of(sample_table(2, classes=2)), "c1")
    at = [predictive_values(rates, share, n=200, groups=200) for share in (0.001, 0.01, 0.1, 0.5, 0.9)]
    assert (np.diff([one["ppv"]["value"] for one in at]) > 0).all()
    assert (np.diff([one["npv"]["value"] for one in at]) < 0).all()
    for one, share in zip(at, (0.001, 0.01, 0.1, 0.5, 0.9), strict=True):
        assert one["ppv"]["no_skill"] == share
        for entry in one.values():
            assert 0 <= entry["ci95"][0] <= entry["value"] <= entry["ci95"][1] <= 1


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_results_that_do_not_occur_have_no_value_but_a_reason(threshold, sample_table):
    table = sample_table(3, classes=2)
    values = predictive_values(rates_of(metrics_of(table, threshold), "c1"), 0.1, n=200, groups=200)
    missing, known = ("npv", "ppv") if threshold == 0 else ("ppv", "npv")
    assert values[missing]["value"] is None
    assert "was predicted" in values[missing]["reason"]
    assert values[known]["value"] == pytest.approx(0.1 if threshold == 0 else 0.9)


def test_without_a_class_in_the_test_split_there_is_a_reason(sample_table):
    rates = rates_of(metrics_of(sample_table(4, classes=2).assign(target=0)), "c1")
    assert predictive_values(rates, 0.1, n=200, groups=200)["ppv"]["value"] is None


@pytest.mark.parametrize(("threshold", "noted"), [(0.999, "sensitivity"), (0.5, None), (0.001, "specificity")])
def test_a_rate_that_is_lower_than_on_validation_is_noted(threshold, noted, sample_table):
    val = rates_of(metrics_of(sample_table(5, classes=2), 0.5), "c1")
    test = rates_of(metrics_of(sample_table(6, classes=2), threshold), "c1")
    differences = rate_differences(test, val)
    assert [name for name, entry in differences.items() if "note" in entry] == ([noted] if noted else [])
    for name, entry in differences.items():
        assert entry["value"] == pytest.approx(test[name]["value"] - val[name]["value"])
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]


def test_differences_of_equal_rates_are_noted_in_few_studies():
    """Of 60 validation and 40 test patients, each with a sensitivity of .95."""
    rng, noted = np.random.default_rng(0), []
    for _ in range(1000):
        rates = [{"sensitivity": share(rng.binomial(n, 0.95), n), "specificity": share(n, n)} for n in (40, 60)]
        noted.append("note" in rate_differences(*rates)["sensitivity"])
    print(np.mean(noted))
    assert 0.002 <= np.mean(noted) <= 0.04


def share(count, n):
    return metric_entry(count / n, Interval(*wilson(count / n, n), "Wilson"), n=n, groups=n, no_skill=1.0)


@pytest.mark.parametrize(("a", "b"), [(0.9, 0.1), (0.95, 0.02), (0.6, 0.4), (0.99, 0.3)])
def test_the_interval_of_a_ratio_holds_it(a, b):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        shares = [
            (count / n, *wilson(count / n, n)) for count, n in ((rng.binomial(60, a), 60), (rng.binomial(90, b), 90))
        ]
        low, high = ratio_interval(*shares)
        held.append(low <= a / b <= high)
    print(a, b, np.mean(held))
    assert 0.93 <= np.mean(held) <= 0.995
