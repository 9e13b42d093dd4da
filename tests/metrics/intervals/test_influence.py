"""Influence functions against derivatives taken numerically, and means over folds against scikit-learn's."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vesalius.metrics.classification.no_skill import random_average_precision
from vesalius.metrics.intervals.auroc import auroc_interval
from vesalius.metrics.intervals.influence import auroc_gradient, average_precision_gradient, influence

GRADIENTS = {roc_auc_score: auroc_gradient, average_precision_score: average_precision_gradient}


def samples(seed, count=40, *, ties=False):
    random = np.random.default_rng(seed)
    truth = np.r_[True, True, False, False, random.random(count - 4) < 0.3]
    scores = random.normal(size=count) + truth
    return truth, np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", GRADIENTS)
def test_a_gradient_is_the_derivative_by_the_weight_of_a_sample(metric, ties):
    truth, scores = samples(3, ties=ties)
    value, gradient = GRADIENTS[metric](truth, scores)
    assert value == pytest.approx(metric(truth, scores))
    for at in range(len(truth)):
        step = 1e-5 * (np.arange(len(truth)) == at)
        up, down = (metric(truth, scores, sample_weight=1 + sign * step) for sign in (1, -1))
        assert gradient[at] == pytest.approx((up - down) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("metric", GRADIENTS)
def test_the_value_is_the_mean_over_folds_whatever_the_scale_of_each(metric):
    truth, scores = samples(5, 60)
    folds = np.arange(60) % 2
    moved = influence(GRADIENTS[metric], truth, scores, np.arange(60), folds)
    assert moved.value == pytest.approx(np.mean([metric(truth[folds == k], scores[folds == k]) for k in (0, 1)]))
    shifted = influence(GRADIENTS[metric], truth, np.where(folds == 1, 100 + 3 * scores, scores), np.arange(60), folds)
    assert shifted.value == moved.value
    np.testing.assert_array_equal(shifted.of_patients, moved.of_patients)


def test_the_variance_over_folds_is_the_mean_of_each_ones_over_the_number_of_folds():
    truth, scores = np.arange(60) % 2 == 0, np.random.default_rng(1).normal(size=60)
    folds = np.arange(60) // 20  # of 10 positives and 10 negatives each
    whole = influence(auroc_gradient, truth, scores, np.arange(60), folds)
    each = [
        influence(auroc_gradient, truth[own], scores[own], np.arange(20), np.zeros(20, dtype=int)).variance
        for own in (folds == k for k in range(3))
    ]
    assert whole.variance == pytest.approx(np.mean(each) / 3)


def test_copies_of_a_patients_images_narrow_nothing():
    truth, scores = samples(7)
    folds = np.zeros(40, dtype=int)
    once = influence(auroc_gradient, truth, scores, np.arange(40), folds)
    tripled = influence(auroc_gradient, *(np.repeat(a, 3) for a in (truth, scores, np.arange(40), folds)))
    assert tripled.variance == pytest.approx(once.variance)
    assert tripled.degrees == pytest.approx(once.degrees)


def test_folds_that_rank_perfectly_and_folds_of_equal_scores_have_an_interval_with_width():
    truth, folds = np.arange(40) % 2 == 0, np.arange(40) // 20
    scores = np.where(folds == 0, truth, 0.5)
    interval = auroc_interval(truth[:, None], scores[:, None], np.arange(40), folds)
    assert interval.low < 0.7 < 0.8 < interval.high


@pytest.mark.parametrize(("positives", "samples"), [(1, 5), (2, 6), (3, 7), (5, 5)])
def test_the_average_precision_of_a_random_order_is_the_mean_over_all_orders(positives, samples):
    orders = set(permutations([True] * positives + [False] * (samples - positives)))
    expected = np.mean([average_precision_score(order, -np.arange(samples)) for order in orders])
    assert random_average_precision(positives, samples) == pytest.approx(expected)
