"""Entries of several repeats combined: on which scale their mean has its interval."""

import numpy as np
import pytest

from vesalius.metrics.comparison.arms import combine
from vesalius.metrics.intervals.transforms import scale_of


def entry(value, half, **more):
    return {"value": value, "ci95": [value - half, value + half], "n": 80, "groups": 40, "no_skill": 3.0, **more}


@pytest.mark.parametrize(("metric", "task"), [("mae", "regression"), ("rmse/age", "regression")])
def test_an_error_has_the_same_interval_in_other_units(metric, task):
    values, scale = (0.80, 0.90, 0.98), scale_of(metric, task)
    one, ten = (combine([entry(u * v, u * 0.015) for v in values], scale)["ci95"] for u in (1, 10))
    assert np.array(ten) == pytest.approx(10 * np.array(one))
    assert ten[1] > 10


@pytest.mark.parametrize(("metric", "low", "high"), [("frechet_distance", 0, np.inf), ("kid", -np.inf, np.inf)])
def test_a_distance_below_one_is_not_bound_by_one(metric, low, high):
    scale = scale_of(metric, "synthesis")
    assert (scale.low, scale.high) == (low, high)
    found = combine([entry(v, 0.015) for v in (0.90, 0.98)], scale)
    assert found["ci95"][1] > 1
    assert np.mean(found["ci95"]) == pytest.approx(found["value"])
