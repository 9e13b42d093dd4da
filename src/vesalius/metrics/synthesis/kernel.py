"""Kernel distance (KID) between two samples of features (Bińkowski et al., ICLR 2018).

The unbiased squared maximum mean discrepancy under the kernel (x.y / F + 1)^3, over all samples at once. Pairs within a
sample are those of different patients: images of one patient are alike, and their pairs would make the distance of a
perfect generator positive. Without them its expectation is 0 however many images each patient has.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROWS = 512  # of a kernel matrix in memory at once


class KernelSums:
    """Sums of the kernel over blocks of patients, which give the distance without some of the blocks at little cost.

    Args:
        one: (N, F) features.
        one_groups: (N,) their patients.
        one_blocks: (N,) number of each one's block, from 0; a patient lies in one block.
        other: (M, F) features.
        other_groups: (M,) likewise; of synthetic samples, each may be its own.
        other_blocks: (M,) likewise.
    """

    def __init__(
        self,
        one: Floats,
        one_groups: NDArray[Any],
        one_blocks: NDArray[np.int64],
        other: Floats,
        other_groups: NDArray[Any],
        other_blocks: NDArray[np.int64],
    ) -> None:
        first, second = np.eye(one_blocks.max() + 1)[one_blocks], np.eye(other_blocks.max() + 1)[other_blocks]
        self._first = _sum_blocks(one, first, one, first, (one_groups, one_groups))
        self._second = _sum_blocks(other, second, other, second, (other_groups, other_groups))
        self._across = _sum_blocks(one, first, other, second)
        self._sizes = first.sum(axis=0), second.sum(axis=0)
        self._within_patients = _squared_sizes(one_groups, first), _squared_sizes(other_groups, second)

    def distance(self, one_kept: Floats, other_kept: Floats) -> float:
        """The distance between some of the blocks: 1 keeps a block, 0 leaves it out; NaN for less than two patients."""
        n, m = float(self._sizes[0] @ one_kept), float(self._sizes[1] @ other_kept)
        pairs = [
            size**2 - float(squares @ kept)
            for size, squares, kept in zip((n, m), self._within_patients, (one_kept, other_kept), strict=True)
        ]
        if min(pairs) <= 0:
            return float("nan")
        within = one_kept @ self._first @ one_kept / pairs[0] + other_kept @ self._second @ other_kept / pairs[1]
        return float(within - 2 * (one_kept @ self._across @ other_kept) / (n * m))


def kernel_distance(one: Floats, one_groups: NDArray[Any], other: Floats, other_groups: NDArray[Any]) -> float:
    """The distance between features (N, F) and (M, F) of patients (N,) and (M,).

    Near 0, and possibly below, for equal distributions; NaN where either has less than two patients.
    """
    blocks = np.zeros(len(one), np.int64), np.zeros(len(other), np.int64)
    sums = KernelSums(one, one_groups, blocks[0], other, other_groups, blocks[1])
    return sums.distance(np.ones(1), np.ones(1))


def _squared_sizes(groups: NDArray[Any], member: Floats) -> Floats:
    """(A,) sum over the patients of each block of their squared numbers of samples."""
    sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(sizes[2][sizes[1]] @ member, dtype=np.float64)


def _sum_blocks(
    one: Floats,
    one_member: Floats,
    other: Floats,
    other_member: Floats,
    groups: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Floats:
    """(A, B) sums of the kernel between A blocks and B blocks, given as (N, A) and (M, B) zeros and ones.

    `groups`: patients (N,) and (M,), whose own pairs are left out; None counts all.
    """
    sums = np.zeros((one_member.shape[1], other_member.shape[1]))
    for start in range(0, len(one), _ROWS):
        part = slice(start, start + _ROWS)
        kernel = (one[part] @ other.T / one.shape[1] + 1) ** 3
        if groups is not None:
            kernel[groups[0][part, None] == groups[1]] = 0
        sums += one_member[part].T @ (kernel @ other_member)
    return sums
