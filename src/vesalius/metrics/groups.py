"""Samples by group: a group is a patient, whose samples are alike.

N samples, G groups.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def number_groups(group_ids: ArrayLike) -> NDArray[np.int64]:
    """(N,) numbers 0..G-1 of groups, in the order of their sorted ids, so that the order of samples does not matter."""
    ids = np.array([str(group_id) for group_id in np.asarray(group_ids, dtype=object)], dtype=object)
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def sum_by_group(values: NDArray[Any], groups: NDArray[np.int64], group_count: int) -> NDArray[np.float64]:
    """Sum values (N, M) over the samples of each group: (G, M)."""
    sums = np.zeros((group_count, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def effective_groups(member: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """How many equally large groups some samples are worth: n^2 / sum of squared group sizes (Kish 1965).

    Args:
        member: (N,) which samples count.
        groups: (N,) numbers of their groups.
    """
    sizes = np.bincount(groups[member])
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.sum() else 0.0
