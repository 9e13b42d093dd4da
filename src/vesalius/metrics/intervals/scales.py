"""On which scale an interval of a metric is symmetric, so that it keeps the metric's bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.statistics import CALIBRATION, FAMILIES

Floats = NDArray[np.float64]
Name = Literal["logit", "log", "log of 1 - value", "plain"]

# Shares of made or real images (`vesalius.metrics.synthesis`).
_SHARES = ("manifold_precision", "manifold_recall", "coverage")

_THERE: dict[Name, Callable[[Floats], Floats]] = {
    "logit": lambda values: np.log(values / (1 - values)),
    "log": np.log,
    "log of 1 - value": lambda values: -np.log(1 - values),
    "plain": np.array,
}
_BACK: dict[Name, Callable[[Floats], Floats]] = {
    "logit": lambda values: 1 / (1 + np.exp(-values)),
    "log": np.exp,
    "log of 1 - value": lambda values: 1 - np.exp(-values),
    "plain": np.array,
}


@dataclass(frozen=True)
class Scale:
    """Where a metric lies.

    Attributes:
        name: of what is done to its values.
        low: its smallest value.
        high: its largest.
    """

    name: Name
    low: float = -np.inf
    high: float = np.inf

    def there(self, values: Floats) -> Floats:
        """Values on this scale; rising where they rise; not finite at a bound that the scale never reaches."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _THERE[self.name](values)

    def back(self, values: Floats) -> Floats:
        """The metric's values again, within its bounds."""
        return np.clip(_BACK[self.name](values), self.low, self.high)


def scale_of(metric: str, task: str) -> Scale:
    """The scale of a metric.

    Args:
        metric: its name; `recall/nodule` goes with `recall`. One that is not known is taken to have no bounds.
        task: as in `metrics.json`: `brier` goes up to 2 where each sample has one class.
    """
    family = metric.partition("/")[0]
    if family in CALIBRATION:
        return Scale("plain", 0.0, 2.0 if family == "brier" and task != "multilabel" else 1.0)
    if family in FAMILIES or family in _SHARES:
        return Scale("logit", 0.0, 1.0)
    if family == "r2":
        return Scale("log of 1 - value", high=1.0)
    if family in ("mae", "rmse"):
        return Scale("log", low=0.0)
    if family in ("frechet_distance", "density", "mse"):
        return Scale("plain", low=0.0)
    return Scale("plain", high=1.0) if family == "ssim" else Scale("plain")
