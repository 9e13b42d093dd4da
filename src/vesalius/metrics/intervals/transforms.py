"""The scale on which the interval of a metric is symmetric, so that it stays within the metric's bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.names import CLASSIFICATION_METRICS

Floats = NDArray[np.float64]
Name = Literal["logit", "log", "log of 1 - value", "square", "plain"]

# Shares of synthetic or real images (`vesalius.metrics.synthesis.manifold`).
_SHARES = ("manifold_precision", "manifold_recall", "coverage")

_FORWARD: dict[Name, Callable[[Floats], Floats]] = {
    "logit": lambda values: np.log(values / (1 - values)),
    "log": np.log,
    "log of 1 - value": lambda values: -np.log(1 - values),
    "square": lambda values: values * np.abs(values),
    "plain": np.array,
}
_INVERSE: dict[Name, Callable[[Floats], Floats]] = {
    "logit": lambda values: 1 / (1 + np.exp(-values)),
    "log": np.exp,
    "log of 1 - value": lambda values: 1 - np.exp(-values),
    "square": lambda values: np.sign(values) * np.sqrt(np.abs(values)),
    "plain": np.array,
}


@dataclass(frozen=True)
class Scale:
    """The transform and the bounds of a metric.

    Attributes:
        name: of the transform.
        low: smallest value of the metric.
        high: its largest.
    """

    name: Name
    low: float = -np.inf
    high: float = np.inf

    def transform(self, values: Floats) -> Floats:
        """Values on this scale, in the same order; not finite at a bound that the scale never reaches."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _FORWARD[self.name](values)

    def inverse(self, values: Floats) -> Floats:
        """Transformed values as values of the metric, within its bounds."""
        return self.bounded(_INVERSE[self.name](values))

    def bounded(self, values: Floats) -> Floats:
        """Values of the metric within its bounds, which an estimate free of bias (of `ece`) leaves by chance."""
        return np.clip(values, self.low, self.high)


def scale_of(metric: str, task: str) -> Scale:
    """The scale of a metric.

    Args:
        metric: its name; `recall/nodule` has the scale of `recall`. An unknown one is taken to have no bounds.
        task: as in `metrics.json`: `brier` goes up to 2 where each sample has one class.
    """
    name = metric.partition("/")[0]
    if name == "ece":
        return Scale("square", 0.0, 1.0)
    if name == "brier":
        return Scale("plain", 0.0, 1.0 if task == "multilabel" else 2.0)
    if name in CLASSIFICATION_METRICS or name in _SHARES:
        return Scale("logit", 0.0, 1.0)
    if name == "r2":
        return Scale("log of 1 - value", high=1.0)
    if name in ("mae", "rmse"):
        return Scale("log", low=0.0)
    if name in ("frechet_distance", "density", "mse"):
        return Scale("plain", low=0.0)
    return Scale("plain", high=1.0) if name == "ssim" else Scale("plain")
