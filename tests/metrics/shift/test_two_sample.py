"""The p values are those of scipy, but for the correction of small samples."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp, norm

from vesalius.metrics.shift.two_sample import distribution_p_value, means_p_value, shares_p_value


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.3])
def test_distributions(moved) -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=4000), random.normal(moved, size=3000)
    expected = ks_2samp(first, second, method="asymp").pvalue
    assert distribution_p_value(first, second, (4000, 3000)) == pytest.approx(expected, rel=0.2, abs=1e-6)


def test_fewer_independent_samples_are_worth_less() -> None:
    random = np.random.default_rng(1)
    first, second = np.repeat(random.normal(size=50), 4), np.repeat(random.normal(1, size=50), 4)
    by_patient = distribution_p_value(first, second, (50, 50))
    assert by_patient == pytest.approx(ks_2samp(first[::4], second[::4], method="exact").pvalue, rel=0.5)
    assert by_patient > distribution_p_value(first, second, (200, 200))


def test_distributions_that_are_equal_or_apart() -> None:
    values = np.linspace(0, 1, 60)
    assert distribution_p_value(values, values, (60, 60)) == 1
    assert distribution_p_value(values, values + 2, (60, 60)) < 1e-12


@pytest.mark.parametrize("counts", [[[30, 40, 50], [45, 40, 20]], [[100, 100], [130, 70]], [[80, 60, 40, 20]] * 2])
def test_shares(counts) -> None:
    table = np.array(counts, dtype=float)
    sizes = tuple(table.sum(axis=1))
    found = shares_p_value(table[0] / sizes[0], table[1] / sizes[1], sizes)
    assert found == pytest.approx(chi2_contingency(table, correction=False).pvalue, rel=0.02, abs=2e-3)


def test_rare_classes_count_together_and_one_class_is_no_difference() -> None:
    first, second = np.array([0.9, 0.02, 0.02, 0.06]), np.array([0.9, 0.06, 0.02, 0.02])
    assert shares_p_value(first, second, (50, 50)) == pytest.approx(1, abs=0.2)
    assert shares_p_value(np.array([1.0, 0.0]), np.array([1.0, 0.0]), (50, 50)) == 1


def test_means() -> None:
    assert means_p_value((0.0, 0.1), (0.3, 0.1)) == pytest.approx(2 * norm.sf(0.3 / np.hypot(0.1, 0.1)))
    assert means_p_value((0.0, 0.0), (0.0, 0.0)) == 1
    assert means_p_value((0.0, 0.0), (0.1, 0.0)) == 0
