"""Net benefit against counts and closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vesalius.metrics.decision.net_benefit import THRESHOLDS, decision_curve
from vesalius.metrics.predictions import read_predictions


def curve_of(table):
    p = read_predictions(table, task="binary", classes=["c0", "c1"])
    return p, decision_curve(p.truth[:, 1], p.probabilities[:, 1], p.groups)


def test_it_is_the_share_of_hits_less_that_of_false_alarms_at_the_odds(sample_table):
    p, curve = curve_of(sample_table(1, classes=2, per=3))
    truth, score = p.truth[:, 1], p.probabilities[:, 1]
    for t, value, everyone in zip(THRESHOLDS, curve["model"]["value"], curve["treat_all"]["value"], strict=True):
        treated = score >= t
        assert value == pytest.approx((truth & treated).mean() - (~truth & treated).mean() * t / (1 - t))
        assert everyone == pytest.approx(truth.mean() - (1 - truth.mean()) * t / (1 - t))


def test_the_interval_is_that_of_a_mean_where_each_patient_has_one_sample(sample_table):
    p, curve = curve_of(sample_table(2, classes=2))
    treated = p.probabilities[:, 1] >= 0.2
    values = np.where(treated, np.where(p.truth[:, 1], 1, -0.25), 0.0)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    at = THRESHOLDS.index(0.2)
    assert (curve["model"]["low"][at], curve["model"]["high"][at]) == pytest.approx((low, high))


def test_copies_of_samples_change_nothing(sample_table):
    table = sample_table(3, classes=2)
    copies = pd.concat([table, table.assign(sample_id=table["sample_id"] + "b")])
    (_, one), (_, two) = curve_of(table), curve_of(copies)
    for name in ("model", "treat_all"):
        for end in ("value", "low", "high"):
            assert one[name][end] == pytest.approx(two[name][end])
    assert one["useful"] == two["useful"]
    assert (two["n"], two["groups"]) == (2 * one["n"], one["groups"])


def test_a_good_model_is_useful_and_a_random_one_is_not(sample_table):
    table = sample_table(4, patients=400, classes=2, skill=4)
    _, good = curve_of(table)
    shuffled = table.assign(target=np.random.default_rng(0).permutation(table["target"]))
    _, random = curve_of(shuffled)
    assert {0.2, 0.5, 0.8} <= set(good["useful"])
    assert len(random["useful"]) == 0
