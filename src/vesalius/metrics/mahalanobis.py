"""Distance of feature vectors from those of known images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError

Floats = NDArray[np.float64]


class Mahalanobis:
    """Distance of codes from those of normal images, in standard deviations along each direction.

    The covariance is Ledoit and Wolf's (Journal of Multivariate Analysis 88:365, 2004), of standardised codes: with few
    images it is shrunk towards that of independent dimensions.
    """

    def __init__(self, mean: Floats, scale: Floats, precision: Floats) -> None:
        self.mean, self.scale, self.precision = mean, scale, precision

    @classmethod
    def fit(cls, latents: NDArray[Any]) -> "Mahalanobis":
        """Learn from the codes (N, D) of normal training images.

        Raises:
            InputError: for fewer than 2 images, or codes that are not finite.
        """
        from sklearn.covariance import LedoitWolf

        latents = np.asarray(latents, dtype=np.float64)
        if len(latents) < 2:
            raise InputError(f"{len(latents)} normal training images are too few for a distance; give 2 or more.")
        if not np.isfinite(latents).all():
            raise InputError("Latent codes are NaN or infinite: the model has diverged; lower the learning rate.")
        mean, spread = latents.mean(axis=0), latents.std(axis=0)
        scale = np.where(spread > 1e-9 * (np.abs(mean) + 1), spread, np.inf)  # constant dimensions do not count
        precision = LedoitWolf(assume_centered=True).fit((latents - mean) / scale).get_precision()
        return cls(mean, scale, np.asarray(precision))

    def distance(self, latents: NDArray[Any]) -> Floats:
        """(M,) distances of codes (M, D), at least 0."""
        centred = (np.asarray(latents, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(np.sqrt(np.maximum(np.einsum("md,de,me->m", centred, self.precision, centred), 0.0)))
