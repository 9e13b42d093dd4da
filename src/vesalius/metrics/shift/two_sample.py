"""Tests of two samples, with closed forms of their p values: numpy only.

Samples of one patient are alike, so every size below is a number of patients. The distribution of samples of N patients
varies no more than that of N single samples, so the p values are those, or larger.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A class that fewer patients than these are expected to be predicted as is counted together with others.
_FEWEST = 5.0


def distribution_p_value(first: Floats, second: Floats, sizes: tuple[float, float]) -> float:
    """Of the test by Kolmogorov and Smirnov, with the correction by Stephens (JRSS B 32:115, 1970).

    Args:
        first: one sample, or its quantiles at equally spaced probabilities.
        second: another.
        sizes: how many independent samples each is worth.
    """
    points = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(one), points, side="right") / len(one) for one in (first, second)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:  # the series below converges slowly there, and its sum is 1
        return 1.0
    terms = [(-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def shares_p_value(first: Floats, second: Floats, sizes: tuple[float, float]) -> float:
    """Of Pearson's chi-squared test of equal shares, by Wilson and Hilferty's approximation (PNAS 17:684, 1931).

    Args:
        first: (K,) shares of K classes, which sum to 1.
        second: likewise.
        sizes: how many independent samples each is worth.
    """
    counts = np.stack([first * sizes[0], second * sizes[1]])
    rare = (counts.sum(axis=0) * min(sizes) / sum(sizes)) < _FEWEST
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
        counts = counts[:, counts.sum(axis=0) > 0]
    degrees = counts.shape[1] - 1
    if degrees < 1:
        return 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    spread = 2 / (9 * degrees)
    return normal_p_value(((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def means_p_value(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Of the difference of two means, two-sided, by the normal distribution.

    Args:
        first: a mean and its standard error.
        second: another.
    """
    error = math.hypot(first[1], second[1])
    difference = abs(first[0] - second[0])
    return 2 * normal_p_value(difference / error) if error > 0 else float(difference == 0)


def normal_p_value(z: float) -> float:
    """The probability that a standard normal number is above `z`."""
    return math.erfc(z / math.sqrt(2)) / 2
