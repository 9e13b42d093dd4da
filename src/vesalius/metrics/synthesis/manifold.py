"""Which real and synthetic samples lie on each other's manifold, by nearest neighbours.

Precision and recall: Kynkäänniemi et al., NeurIPS 2019. Density and coverage: Naeem et al., ICML 2020. Neighbours are
of other patients: images of one patient lie so close together that the manifold would consist of as many specks as
there are patients, which a perfect generator misses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: The manifold reaches from each sample to this neighbour of its own kind; 5 as in Naeem et al. 2020.
NEIGHBOURS = 5
_ROWS = 512  # of a distance matrix computed at once


@dataclass(frozen=True)
class Manifold:
    """Which samples lie within reach of those of the other kind.

    Attributes:
        precise: (M,) whether each synthetic sample lies within reach of a real one.
        recalled: (N,) whether each real sample lies within reach of a synthetic one.
        reached: (M,) number of real samples within whose reach each synthetic one lies.
        covered: (N,) whether a synthetic sample lies within reach of each real one.
        k: neighbours; a sample's reach is the distance to its k-th among its own kind.
    """

    precise: Flags
    recalled: Flags
    reached: NDArray[np.int64]
    covered: Flags
    k: int

    def metrics(self) -> dict[str, float]:
        """Precision, recall, density and coverage."""
        return {
            "manifold_precision": float(self.precise.mean()),
            "manifold_recall": float(self.recalled.mean()),
            "density": float(self.reached.mean() / self.k),
            "coverage": float(self.covered.mean()),
        }


def manifold(
    real: Floats, groups: NDArray[Any], synthetic: Floats, synthetic_groups: NDArray[Any], k: int = NEIGHBOURS
) -> Manifold:
    """Which of the real (N, F) and synthetic (M, F) samples lie within reach of those of the other kind.

    A sample that has fewer than k others of its kind, of other patients (N,) and (M,), reaches to the farthest of them.
    """
    return PairDistances(real, groups, synthetic, synthetic_groups).manifold(k=k)


class PairDistances:
    """Distances among N real samples, among M synthetic ones and between them, in 32 bits: 300 MB for 5,000 of each.

    Those among samples of one patient are infinite, as (N,) and (M,) patients tell.
    """

    def __init__(self, real: Floats, groups: NDArray[Any], synthetic: Floats, synthetic_groups: NDArray[Any]) -> None:
        self._real, self._synthetic = _distances(real, real), _distances(synthetic, synthetic)
        for distances, own in ((self._real, groups), (self._synthetic, synthetic_groups)):
            numbers = np.unique(own, return_inverse=True)[1]
            distances[numbers[:, None] == numbers] = np.inf
        self._across = _distances(real, synthetic)

    def manifold(
        self,
        rows: NDArray[np.int64] | None = None,
        columns: NDArray[np.int64] | None = None,
        k: int = NEIGHBOURS,
    ) -> Manifold:
        """The manifold of some real (rows) and some synthetic samples (columns); None: of all."""
        rows = np.arange(len(self._real)) if rows is None else rows
        columns = np.arange(len(self._synthetic)) if columns is None else columns
        across = self._across[np.ix_(rows, columns)]
        within = across < _reach(self._real[np.ix_(rows, rows)], k)[:, None]
        return Manifold(
            precise=np.asarray(within.any(axis=0)),
            recalled=np.asarray((across < _reach(self._synthetic[np.ix_(columns, columns)], k)).any(axis=1)),
            reached=within.sum(axis=0),
            covered=np.asarray(within.any(axis=1)),
            k=k,
        )


def _reach(distances: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """(N,) distance to the k-th neighbour of another patient, or to the farthest; 0 without any."""
    count = min(k, len(distances))
    nearest = np.partition(distances, count - 1, axis=1)[:, :count]
    return np.asarray(np.where(np.isfinite(nearest), nearest, 0).max(axis=1))


def _distances(one: Floats, other: Floats) -> NDArray[np.float32]:
    from scipy.spatial.distance import cdist

    distances = np.empty((len(one), len(other)), np.float32)
    for start in range(0, len(one), _ROWS):
        distances[start : start + _ROWS] = cdist(one[start : start + _ROWS], other)
    return distances
