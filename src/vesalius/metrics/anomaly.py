"""How unusual an image is to a model that learned only from normal images, and where.

Two scores, higher for what is more unusual: the distance of the latent code from those of normal images (Mahalanobis),
and the largest value of a map of the reconstruction error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.entry import MetricEntry, metric_entry, missing_entry
from vesalius.metrics.groups import number_groups
from vesalius.metrics.intervals.clustered import proportion_interval
from vesalius.metrics.names import RANKING

Floats = NDArray[np.float64]

#: Part of the spread over the whole image that is added to that of each pixel, so that where the error hardly varies,
#: noise raises no alarm.
LEAST_SPREAD = 0.5


class ErrorMaps:
    """Where reconstructions go wrong more than they do there in normal images.

    The absolute error, mean over channels, is smoothed by a Gaussian and standardised pixel by pixel: edges and texture
    that are never reconstructed well do not count. Mean and spread come from normal training images, batch by batch.

    Args:
        sigma: standard deviation of the Gaussian in pixels; 0 smooths nothing.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        if not (np.isfinite(sigma) and sigma >= 0):
            raise InputError(f"sigma={sigma}: the width of the smoothing must be a number of pixels, 0 or more.")
        self.sigma = sigma
        self.count = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0

    def update(self, originals: NDArray[Any], reconstructions: NDArray[Any]) -> None:
        """Learn from a batch of normal images and their reconstructions, (B, C, H, W) each."""
        errors = self._smoothed(originals, reconstructions)
        if not len(errors):
            return
        # Parallel sums of Chan, Golub and LeVeque (1979): squares of the mean are never subtracted.
        count, mean = self.count + len(errors), errors.mean(axis=0)
        step = mean - self._mean
        self._squares = self._squares + ((errors - mean) ** 2).sum(axis=0) + step**2 * self.count * len(errors) / count
        self._mean = self._mean + step * len(errors) / count
        self.count = count

    def maps(self, originals: NDArray[Any], reconstructions: NDArray[Any]) -> Floats:
        """(B, H, W) errors in standard deviations above the mean error of normal images at that pixel."""
        if self.count < 2:
            raise InputError(f"{self.count} normal training images are too few for a usual error; give 2 or more.")
        variance = self._squares / (self.count - 1)
        spread = np.sqrt(variance + LEAST_SPREAD**2 * variance.mean() + 1e-12)
        return np.asarray((self._smoothed(originals, reconstructions) - self._mean) / spread)

    @staticmethod
    def score(maps: Floats) -> Floats:
        """(B,) the largest value of each map: one small finding is enough."""
        return np.asarray(maps.reshape(len(maps), -1).max(axis=1))

    def _smoothed(self, originals: NDArray[Any], reconstructions: NDArray[Any]) -> Floats:
        from scipy.ndimage import gaussian_filter

        if np.shape(originals) != np.shape(reconstructions) or np.ndim(originals) != 4:
            shapes = f"Images {np.shape(originals)} and reconstructions {np.shape(reconstructions)}"
            raise InputError(f"{shapes} must have one shape, (B, C, H, W); give the reconstructions of these images.")
        error = np.abs(np.asarray(originals, dtype=np.float64) - reconstructions).mean(axis=1)
        return np.asarray(gaussian_filter(error, self.sigma, axes=(1, 2), mode="nearest"))


def anomaly_metrics(
    table: pd.DataFrame, *, scores: Sequence[str], normal: NDArray[np.bool_], classes: Sequence[str]
) -> dict[str, dict[str, MetricEntry]]:
    """How well each score separates unusual images from normal ones.

    Args:
        table: `sample_id`, `group_id`, `target` (class index) and the scores, higher for what is more unusual.
        scores: names of their columns.
        normal: (N,) whether the sample is of a class that the model learned from.
        classes: class names.

    Returns:
        Entries by score and metric: `auroc` and `average_precision` of unusual against normal, and `auroc/<class>` of
        each unusual class against the normal ones.

    Raises:
        InputError: for scores that are absent or not finite.
    """
    missing = [column for column in ("sample_id", "group_id", "target", *scores) if column not in table.columns]
    if missing:
        raise InputError(f"predictions: no column {', '.join(missing)}; anomaly metrics need it.")
    normal = np.asarray(normal, dtype=np.bool_)
    target = table["target"].to_numpy()
    unusual = [k for k in range(len(classes)) if (target == k).any() and not normal[target == k].any()]
    entries: dict[str, dict[str, MetricEntry]] = {}
    for score in scores:
        values = table[score].to_numpy(np.float64)
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(
                f"predictions: {bad} values of {score} are NaN or infinite; the model has diverged or its input is"
                " broken: lower the learning rate or inspect the images."
            )
        overall = _binary_metrics(table, values, normal)
        entries[score] = {name: overall[name] for name in RANKING}
        for k in unusual:
            rows = normal | (target == k)
            entries[score][f"auroc/{classes[k]}"] = _binary_metrics(table[rows], values[rows], normal[rows])["auroc"]
    return entries


def _binary_metrics(table: pd.DataFrame, values: Floats, normal: NDArray[np.bool_]) -> dict[str, MetricEntry]:
    """Metrics of normal against unusual; ranks stand for probabilities, as only the order of scores has a meaning."""
    from scipy.stats import rankdata

    rank = rankdata(values) / max(len(values), 1)
    binary = table[["sample_id", "group_id"]].assign(
        **{"target": (~normal).astype(np.int64), "prob/normal": 1 - rank, "prob/unusual": rank}
    )
    return classification_metrics(binary, task="binary", classes=("normal", "unusual"))


def peak_in_mask(maps: NDArray[Any], masks: NDArray[np.bool_], groups: Any) -> MetricEntry:
    """Share of the images with a finding whose map is highest inside it.

    Args:
        maps: (B, H, W). Where several pixels share the largest value, all of them must lie inside.
        masks: (B, H, W) where the finding is; images with an empty mask do not count.
        groups: (B,) patient of each image.

    Returns:
        An entry; `no_skill` is the mean share of the image that the finding covers, which a peak put at random would
        hit.
    """
    masks = np.asarray(masks, dtype=np.bool_)
    shown = masks.any(axis=(1, 2))
    maps, masks, groups = np.asarray(maps)[shown], masks[shown], np.asarray(groups)[shown]
    if not len(maps):
        return missing_entry("no image has a mask of its finding")
    peaks = maps == maps.max(axis=(1, 2), keepdims=True)
    hit = ~(peaks & ~masks).any(axis=(1, 2))
    numbers = number_groups(groups)
    interval = proportion_interval(hit[:, None], np.ones((len(hit), 1), dtype=np.bool_), numbers)
    no_skill = float(masks.mean(axis=(1, 2)).mean())
    return metric_entry(hit.mean(), interval, n=len(hit), groups=int(numbers.max()) + 1, no_skill=no_skill)
