"""The Gaussian of features, and its threshold, of a finished classifier (`vesalius.metrics.out_of_distribution`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.mahalanobis import Mahalanobis
from vesalius.metrics.out_of_distribution import MOST_FEATURES, OutOfDistribution

#: Share of the validation images, each patient counting once, whose distance is above the threshold.
RATE = 0.01


def fit_features(
    train: NDArray[Any], val: NDArray[Any], patients: NDArray[Any], rate: float = RATE
) -> OutOfDistribution:
    """Learn from features.

    Args:
        train: (N, D) of training images.
        val: (M, D) of validation images, at least one.
        patients: (M,) of the validation images.
        rate: share of the validation images that shall be above the threshold, each patient counting once.

    Raises:
        InputError: for features that are not finite, too long or (nearly) all equal, or fewer than 2 training images.
    """
    if not len(val) or not np.isfinite(val).all() or train.shape[1] > MOST_FEATURES:
        raise InputError(
            f"{len(val)} feature vectors of {train.shape[1]} numbers: needs one or more, finite, of at most "
            f"{MOST_FEATURES}."
        )
    gaussian = Mahalanobis.fit(train)
    try:
        factor = np.linalg.cholesky(gaussian.precision) / gaussian.scale[:, None]
    except np.linalg.LinAlgError as error:
        raise InputError("the feature vectors are nearly all equal, so there is no distance among them.") from error
    unscaled = OutOfDistribution(gaussian.mean.astype(np.float32), factor.astype(np.float32), 1.0)
    threshold = np.float32(upper_quantile(unscaled.score(val), patients, rate))
    # Rounded up, so that the validation image at the threshold is not above it.
    return OutOfDistribution(unscaled.mean, unscaled.whitening, float(np.nextafter(threshold, np.float32(np.inf))))


def upper_quantile(scores: NDArray[np.float64], patients: NDArray[Any], rate: float) -> float:
    """The least of the scores above which at most this share lies, each patient counting once."""
    _, patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    weights = 1 / counts[patient]
    order = np.argsort(scores, kind="stable")
    until = np.cumsum(weights[order]) / weights.sum()
    return float(scores[order][np.searchsorted(until, 1 - rate - 1e-9)])
