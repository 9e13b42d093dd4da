"""Intervals against closed forms, brute force and their invariants (their coverage: test_coverage.py)."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from vesalius.metrics.groups import effective_groups
from vesalius.metrics.intervals.auroc import auroc_interval
from vesalius.metrics.intervals.clustered import (
    bootstrap_interval,
    bootstrap_weights,
    logit_interval,
    proportion_interval,
    t_quantile,
    wilson,
)


def column(values: object) -> np.ndarray:
    return np.asarray(values, dtype=bool)[:, None]


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 1), (40, 42), (42, 42), (300, 1000)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_repeats_the_proportion_has_wilsons_interval() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 30, 500):
        right = rng.random(n) < 0.9
        interval = proportion_interval(column(right), column(np.ones(n)), rng.permutation(n))
        assert interval[:2] == pytest.approx(wilson(right.mean(), n))
        assert interval.method == "Wilson"


def test_with_repeats_it_is_never_narrower_than_wilsons() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        n = int(rng.integers(2, 60))
        groups = np.unique(rng.integers(0, int(rng.integers(1, n + 1)), n), return_inverse=True)[1]
        right = rng.random(n) < rng.random()
        interval = proportion_interval(column(right), column(np.ones(n)), groups)
        low, high = wilson(right.mean(), n)
        assert interval.high - interval.low >= high - low - 1e-12
        assert interval.low <= right.mean() <= interval.high


def test_identical_images_of_a_patient_count_once() -> None:
    right = np.random.default_rng(2).random(50) < 0.8
    groups = np.repeat(np.arange(50), 3)
    interval = proportion_interval(column(np.repeat(right, 3)), column(np.ones(150)), groups)
    assert interval[:2] == pytest.approx(wilson(right.mean(), 50), abs=0.005)


def test_a_mean_of_proportions_has_the_effective_size_of_its_parts() -> None:
    # Two classes of 30 patients each, equally well found: the mean is as sure as one proportion of 60.
    right = np.tile(np.arange(30) < 24, 2)[:, None].repeat(2, axis=1)
    member = np.repeat([[True, False], [False, True]], 30, axis=0)
    interval = proportion_interval(right, member, np.arange(60))
    assert interval[:2] == pytest.approx(wilson(0.8, 60), abs=0.01)


def test_patients_in_several_classes_widen_the_mean() -> None:
    rng = np.random.default_rng(3)
    skill = rng.random(40) < 0.7
    right, member = np.tile(skill, 2)[:, None].repeat(2, axis=1), np.repeat([[True, False], [False, True]], 40, axis=0)
    tied = proportion_interval(right, member, np.tile(np.arange(40), 2))
    free = proportion_interval(right, member, np.arange(80))
    assert tied.high - tied.low > 1.2 * (free.high - free.low)


def test_auroc_interval_is_near_a_bootstrap_of_patients() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(150), rng.integers(1, 4, 150))
    truth = (rng.random(150) < 0.5)[groups]
    scores = rng.normal(size=150)[groups] + 0.5 * rng.normal(size=len(groups)) + truth
    interval = auroc_interval(truth[:, None], scores[:, None], groups)
    members = [np.flatnonzero(groups == g) for g in range(150)]
    replicates = []
    for _ in range(400):
        drawn = np.concatenate([members[g] for g in rng.integers(0, 150, 150)])
        positive, negative = scores[drawn][truth[drawn]], scores[drawn][~truth[drawn]]
        replicates.append((positive[:, None] > negative).mean())
    low, high = np.quantile(replicates, [0.025, 0.975])
    assert interval.high - interval.low == pytest.approx(high - low, rel=0.2)
    assert interval.low == pytest.approx(low, abs=0.03)


def test_auroc_interval_of_the_worst_mirrors_that_of_the_best() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(80) < 0.4
    scores = rng.normal(size=80) + truth
    up, down = (auroc_interval(truth[:, None], s[:, None], np.arange(80)) for s in (scores, -scores))
    assert (down.low, down.high) == pytest.approx((1 - up.high, 1 - up.low))


def test_auroc_of_perfect_and_of_constant_scores() -> None:
    truth = np.arange(40) < 20
    perfect = auroc_interval(truth[:, None], truth[:, None].astype(float), np.arange(40))
    assert (perfect.low, perfect.high) == pytest.approx(wilson(1, 20))
    constant = auroc_interval(truth[:, None], np.zeros((40, 1)), np.arange(40))
    assert (constant.low, constant.high) == (0.5, 0.5)


def test_mean_auroc_of_equal_columns_is_as_wide_as_one() -> None:
    rng = np.random.default_rng(6)
    truth, scores = rng.random((90, 1)) < 0.5, rng.normal(size=(90, 1))
    one = auroc_interval(truth, scores, np.arange(90))
    both = auroc_interval(truth.repeat(2, axis=1), scores.repeat(2, axis=1), np.arange(90))
    assert both.high - both.low == pytest.approx(one.high - one.low, rel=0.05)


def test_effective_groups_counts_equal_patients_and_discounts_unequal_ones() -> None:
    everyone = np.ones(12, dtype=bool)
    assert effective_groups(everyone, np.repeat(np.arange(4), 3)) == 4
    assert 1 < effective_groups(everyone, np.repeat([0, 1], [11, 1])) < 1.2
    assert effective_groups(~everyone, np.arange(12)) == 0


def test_bootstrap_draws_whole_sets_of_patients_and_repeats_itself() -> None:
    weights = bootstrap_weights(37, 50, seed=0)
    assert weights.shape == (1000, 37)
    assert (weights.sum(axis=1) == 37).all()
    assert (weights == bootstrap_weights(37, 50, seed=0)).all()
    assert (weights != bootstrap_weights(37, 50, seed=1)).any()
    assert weights.var() == pytest.approx(36 / 37, abs=0.03)
    assert len(bootstrap_weights(5, 10**7, seed=0)) == 200


def test_bootstrap_interval_of_a_mean_is_the_t_interval() -> None:
    values = np.random.default_rng(7).random(80)
    replicates = bootstrap_weights(80, 80, seed=0) @ values / 80
    interval = bootstrap_interval(values.mean(), replicates, 79, logit=False)
    half = t_quantile(79) * values.std(ddof=1) / np.sqrt(80)
    assert interval[:2] == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_bootstrap_interval_stays_within_the_metrics_range() -> None:
    rng = np.random.default_rng(8)
    for value in (0.0, 0.001, 0.5, 0.999, 1.0):
        for logit in (True, False):
            interval = bootstrap_interval(value * 2, value * 2 + 0.3 * rng.normal(size=300), 20, upper=2, logit=logit)
            assert 0 <= interval.low <= value * 2 <= interval.high <= 2


def test_undefined_replicates_are_left_out() -> None:
    replicates = np.random.default_rng(9).normal(0.7, 0.05, 500)
    gaps = np.r_[replicates, np.full(100, np.nan)]
    assert bootstrap_interval(0.7, gaps, 50) == bootstrap_interval(0.7, replicates, 50)


def test_logit_interval_with_many_degrees_is_the_normal_one() -> None:
    low, high = logit_interval(0.8, 0.04, 1e9)
    centre, half = np.log(4), norm.ppf(0.975) * 0.04 / 0.16
    assert (low, high) == pytest.approx(tuple(1 / (1 + np.exp(-(centre + s * half))) for s in (-1, 1)))
