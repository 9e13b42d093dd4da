"""Drift is removed from each run as SciPy removes it, and nothing leaks from one run to another."""

import numpy as np
import pytest
from scipy.signal import detrend
from scipy.stats import zscore

from vesalius.data.sources.volumes.voxel_series import remove_drift


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_as_scipy(line, standardize):
    series = np.random.default_rng(0).normal(1000, 20, (3, 4, 24)) + 5 * np.arange(24)
    expected = series.reshape(3, 4, 3, 8)
    if line:
        expected = detrend(expected, axis=-1)
    if standardize:
        expected = zscore(expected, axis=-1)
    got = remove_drift(series.astype(np.float32), 8, detrend=line, standardize=standardize)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.reshape(series.shape), atol=2e-3 if not standardize else 1e-4)


def test_a_run_knows_nothing_of_another():
    series = np.random.default_rng(0).normal(size=(5, 20))
    other = series.copy()
    other[:, 10:] = 7 * other[:, 10:] + 3
    one, two = (remove_drift(values, 10, detrend=True, standardize=True) for values in (series, other))
    np.testing.assert_array_equal(one[:, :10], two[:, :10])
    np.testing.assert_allclose(one, two, atol=1e-5)  # scale and offset of a run are gone


def test_constants_and_lines_become_zero():
    flat = np.stack([np.full(9, 1234.5), np.zeros(9), 3e4 + 0.1 * np.arange(9)])
    assert (remove_drift(flat, 9, detrend=True, standardize=True) == 0).all()
    assert (remove_drift(flat[:, :1], 1, detrend=True, standardize=True) == 0).all()
