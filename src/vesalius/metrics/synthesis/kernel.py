"""Kernel distance (KID) between two samples of features (Bińkowski et al., ICLR 2018).

The unbiased squared maximum mean discrepancy under the kernel (x.y / F + 1)^3, over all samples at once.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROWS = 512  # of a kernel matrix in memory at once


def kernel_distance(one: Floats, other: Floats) -> float:
    """The distance between features (N, F) and (M, F); near 0, and possibly below, for equal distributions."""
    sums = KernelSums(one, np.zeros(len(one), np.int64), other, np.zeros(len(other), np.int64))
    return sums.distance(np.ones(1), np.ones(1))


class KernelSums:
    """Sums of the kernel over blocks of samples, which give the distance without some of the blocks at little cost.

    Args:
        one: (N, F) features.
        one_blocks: (N,) number of each one's block, from 0.
        other: (M, F) features.
        other_blocks: (M,) likewise.
    """

    def __init__(
        self, one: Floats, one_blocks: NDArray[np.int64], other: Floats, other_blocks: NDArray[np.int64]
    ) -> None:
        first, second = np.eye(one_blocks.max() + 1)[one_blocks], np.eye(other_blocks.max() + 1)[other_blocks]
        self._first, self._second = _sum_blocks(one, first, one, first), _sum_blocks(other, second, other, second)
        for sums, samples, member in ((self._first, one, first), (self._second, other, second)):
            sums -= np.diag(_kernel((samples**2).sum(axis=1), samples.shape[1]) @ member)
        self._across = _sum_blocks(one, first, other, second)
        self._sizes = first.sum(axis=0), second.sum(axis=0)

    def distance(self, one_kept: Floats, other_kept: Floats) -> float:
        """The distance between some of the blocks: 1 keeps a block, 0 leaves it out."""
        n, m = float(self._sizes[0] @ one_kept), float(self._sizes[1] @ other_kept)
        within = one_kept @ self._first @ one_kept / (n * (n - 1)) + other_kept @ self._second @ other_kept / (
            m * (m - 1)
        )
        return float(within - 2 * (one_kept @ self._across @ other_kept) / (n * m))


def _kernel(products: Floats, dim: int) -> Floats:
    kernel: Floats = (products / dim + 1) ** 3
    return kernel


def _sum_blocks(one: Floats, one_member: Floats, other: Floats, other_member: Floats) -> Floats:
    """(A, B) sums of the kernel between A blocks and B blocks, given as (N, A) and (M, B) zeros and ones."""
    sums = np.zeros((one_member.shape[1], other_member.shape[1]))
    for start in range(0, len(one), _ROWS):
        kernel = _kernel(one[start : start + _ROWS] @ other.T, one.shape[1])
        sums += one_member[start : start + _ROWS].T @ (kernel @ other_member)
    return sums
