"""Principal components of images: the best linear code of a given length, which an autoencoder has to beat."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError

Floats = NDArray[np.float32]

#: More images than this change the first components little and cost time.
MAX_TRAIN = 5_000

_EXACT = 512  # images or pixels up to which an exact decomposition takes seconds


@dataclass(frozen=True)
class PrincipalComponents:
    """A linear code of images of one shape.

    Attributes:
        mean: (P,) the mean image, P = C x H x W.
        components: (K, P) orthonormal axes, the most varying first.
        scales: (K,) standard deviation of the training images along each axis.
        shape: (C, H, W).
    """

    mean: Floats
    components: Floats
    scales: Floats
    shape: tuple[int, ...]

    @classmethod
    def fit(cls, images: NDArray[Any], count: int, *, seed: int = 0) -> "PrincipalComponents":
        """Find the axes of images (N, C, H, W) in any unit.

        Randomised singular value decomposition (Halko et al., SIAM Review 53:217, 2011), or an exact one of few images
        or small ones. Needs as much memory again as the images take in 32 bits, and up to four times as much where it
        is exact: 84 MB for 5,000 images of 64 x 64 pixels, 26 MB for 400 of them.

        Args:
            images: the training images.
            count: K, 1 or more; reduced to what N images (N - 1 axes) and P pixels allow.
            seed: of the random start.

        Raises:
            InputError: for fewer than two images, which have no axes.
        """
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        if len(images) < 2:
            raise InputError(
                f"Principal components need at least 2 training images and there are {len(images)}; give the training "
                "split more images (data.split)."
            )
        flat = _flat(images)
        count = min(count, len(flat) - 1, flat.shape[1])
        solver = "full" if min(flat.shape) <= _EXACT else "randomized"
        # Equal threads, equal digits; images that are all the same divide 0 by 0 in a number that is not used.
        with threadpool_limits(1), np.errstate(invalid="ignore"):
            pca = PCA(count, svd_solver=solver, random_state=seed, iterated_power=7).fit(flat)
        scales = np.sqrt(np.maximum(pca.explained_variance_, 0))
        mean, components, scales = (np.asarray(part, np.float32) for part in (pca.mean_, pca.components_, scales))
        return cls(mean, components, scales, tuple(images.shape[1:]))

    def project(self, images: NDArray[Any]) -> Floats:
        """Codes (N, K) of images (N, C, H, W) in the unit of the training images."""
        return np.asarray((_flat(images) - self.mean) @ self.components.T, np.float32)

    def reconstruct(self, projections: NDArray[Any]) -> Floats:
        """Images (N, C, H, W) of codes (N, K), in the unit of the training images, not clipped to their range."""
        flat = np.asarray(projections, np.float32) @ self.components + self.mean
        return np.asarray(flat, np.float32).reshape(-1, *self.shape)


def _flat(images: NDArray[Any]) -> Floats:
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1)
