"""Whether an image is unlike those that a classifier learned from, by the distance of its features from theirs.

The distance is Mahalanobis' from a Gaussian that is fitted to the feature vectors before the head (Lee et al., A simple
unified framework for detecting out-of-distribution samples, NeurIPS 2018), with a shrunk covariance. One Gaussian
serves all tasks. On the phantoms a mean for each class and the distance relative to a background (Ren et al. 2021)
found hardly more unlike images, and the distance to the k-th neighbour (Sun et al. 2022) fewer (see docs/explain.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError

#: Longest feature vector: its covariance takes 64 MiB.
MOST_FEATURES = 4096


@dataclass(frozen=True)
class OutOfDistribution:
    """A Gaussian of features and a threshold of the distance from it.

    Attributes:
        mean: (D,) of the features of the training images.
        whitening: (D, D); features minus their mean, times this, have the length that is their distance.
        threshold: of the distance, above 0.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    threshold: float

    def score(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(M,) distances of features (M, D), 1 at the threshold; infinite for features that are not finite."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise InputError(
                f"The model gives feature vectors of {features.shape[-1]} numbers, and the statistics of its training "
                f"images are of {len(self.mean)}: they are of another model."
            )
        known = np.isfinite(features).all(axis=1)
        # One at a time and in 64 bits: the sum of one image must not depend on the others of its batch.
        centred = np.where(known[:, None], features, 0).astype(np.float64) - self.mean
        distance = np.linalg.norm(np.einsum("md,de->me", centred, self.whitening.astype(np.float64)), axis=1)
        return np.where(known, distance / self.threshold, np.inf)

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """All of it as arrays by name."""
        threshold = np.array([self.threshold], dtype=np.float32)
        return {"mean": self.mean, "whitening": self.whitening, "threshold": threshold}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "OutOfDistribution":
        """Inverse of `to_arrays`.

        Raises:
            InputError: for anything else.
        """
        if set(arrays) != {"mean", "whitening", "threshold"}:
            raise InputError(f"expected the arrays mean, threshold and whitening, not {', '.join(sorted(arrays))}.")
        mean, whitening, threshold = (arrays[name] for name in ("mean", "whitening", "threshold"))
        size = mean.size
        shapes = (mean.shape, whitening.shape, threshold.shape) == ((size,), (size, size), (1,))
        if not shapes or size > MOST_FEATURES or any(array.dtype != np.float32 for array in arrays.values()):
            raise InputError(f"expected mean (D,), threshold (1,) and whitening (D, D), D at most {MOST_FEATURES}.")
        if not all(np.isfinite(array).all() for array in arrays.values()) or threshold[0] <= 0:
            raise InputError("its numbers are not finite, or the threshold is not above 0.")
        return cls(mean, whitening, float(threshold[0]))
