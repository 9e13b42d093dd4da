"""Calibrated probabilities: one temperature, or a slope and an intercept per label, fitted on validation.

Temperature scaling (Guo et al., ICML 2017) divides the logits of all classes by one number, so the order of classes
and of samples stays. Labels of multilabel data have Platt's line each (Platt, Advances in Large Margin Classifiers,
1999), with a slope above 0 for the same reason. Both maximise the likelihood of the validation labels together with a
weak prior, worth one unit of information, on a slope of 1 (and an intercept of 0): where validation is separable the
likelihood by itself has no maximum, and would ask for certainty after a hundred samples.

N samples, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.predictions import Predictions

Floats = NDArray[np.float64]

#: Slopes, and temperatures, that are fitted at most and at least.
MAX_SLOPE, MIN_SLOPE = 100.0, 0.01

# What 32 bits hold next to 0, and next to 1: the logarithm of less is not finite.
_TINY, _NEXT_TO_ONE = 2.0**-126, 2.0**-25
_STEPS = 100
_NO_GUIDE = (
    "on validation the net is not right more often where it is surer, so that its probabilities are drawn nearly "
    "together: it learned too little, or from classes of other frequencies"
)


@dataclass(frozen=True)
class Calibration:
    """How probabilities of a net become calibrated ones.

    Attributes:
        method: `temperature` where each sample has one class, `platt` for labels.
        slopes: factors of the logits, above 0: one (1 / temperature), or one per label.
        intercepts: added to the logits of labels; empty for a temperature.
    """

    method: Literal["temperature", "platt"]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...] = ()

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities (N, K) of those of the net (N, K); rows that are NaN stay so."""
        if self.method == "platt":
            return _expit(log_odds(probabilities) * np.array(self.slopes) + np.array(self.intercepts))
        return _softmax(_logarithms(probabilities) * self.slopes[0])

    def to_dict(self) -> dict[str, Any]:
        """As in `metrics.json`, with a `note` where the net's confidence is no guide."""
        if self.method == "temperature":
            entry: dict[str, Any] = {"method": self.method, "temperature": 1 / self.slopes[0]}
        else:
            entry = {"method": self.method, "slope": list(self.slopes), "intercept": list(self.intercepts)}
        return entry | ({"note": _NO_GUIDE} if min(self.slopes) <= MIN_SLOPE * (1 + 1e-6) else {})

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], labels: int) -> "Calibration | None":
        """That of a run; None of a run without one.

        Args:
            metrics: the content of its `metrics.json`.
            labels: number of its classes.

        Raises:
            InputError: for an entry that is not what a run writes.
        """
        entry = metrics.get("calibration")
        if entry is None:
            return None
        try:
            if entry["method"] == "temperature":
                calibration = cls("temperature", (1 / float(entry["temperature"]),))
            else:
                slopes, intercepts = (tuple(map(float, entry[name])) for name in ("slope", "intercept"))
                calibration = cls("platt", slopes, intercepts)
            whole = calibration._is_whole(labels)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            whole = False
        if not whole:
            raise InputError("metrics.json: calibration is not what a run writes: evaluate the run again.")
        return calibration

    def _is_whole(self, labels: int) -> bool:
        """Whether it has finite numbers for each label, and keeps the order of samples."""
        numbers = (1, 0) if self.method == "temperature" else (labels, labels)
        finite = bool(np.isfinite([*self.slopes, *self.intercepts]).all())
        return (len(self.slopes), len(self.intercepts)) == numbers and finite and min(self.slopes) > 0


def fit_calibration(p: Predictions) -> Calibration:
    """The calibration of a net on the predictions of the *validation* split."""
    if p.single_label:
        return Calibration("temperature", (_fit_slope(_logarithms(p.probabilities), p.truth),))
    odds = log_odds(p.probabilities)
    lines = [_fit_line(odds[:, k], p.truth[:, k]) for k in range(len(p.classes))]
    return Calibration("platt", tuple(slope for slope, _ in lines), tuple(intercept for _, intercept in lines))


def _fit_slope(logits: Floats, truth: NDArray[np.bool_]) -> float:
    """The slope in 0.01..100 of highest likelihood and prior: Newton's method inside a bracket (a convex problem)."""
    low, high, slope = MIN_SLOPE, MAX_SLOPE, 1.0
    of_truth = float(logits[truth].sum())
    for _ in range(_STEPS):
        q = _softmax(logits * slope)
        means = (q * logits).sum(axis=1)
        gradient = float(means.sum()) - of_truth + slope - 1
        curvature = float((q * (logits - means[:, None]) ** 2).sum()) + 1
        low, high = (low, slope) if gradient > 0 else (slope, high)
        step = slope - gradient / curvature
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - slope) <= 1e-12 * slope:
            break
        slope = following
    return float(slope)


def _fit_line(odds: Floats, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope, of at least 0.01, and intercept of highest likelihood and prior."""
    line = _newton(odds, truth, np.array([1.0, 0.0]), free=np.array([True, True]))
    if not MIN_SLOPE <= line[0] <= MAX_SLOPE:
        start = np.array([np.clip(line[0], MIN_SLOPE, MAX_SLOPE), 0.0])
        line = _newton(odds, truth, start, free=np.array([False, True]))
    return float(line[0]), float(line[1])


def _newton(odds: Floats, truth: NDArray[np.bool_], line: Floats, *, free: NDArray[np.bool_]) -> Floats:
    """Newton's method with halved steps on a convex loss; only the `free` ones of slope and intercept move."""
    inputs, prior = np.stack([odds, np.ones_like(odds)], axis=1), np.array([1.0, 0.0])

    def loss(at: Floats) -> float:
        logits = inputs @ at
        return float((np.logaddexp(0, logits) - truth * logits).sum() + ((at - prior) ** 2).sum() / 2)

    for _ in range(_STEPS):
        q = _expit(inputs @ line)
        gradient = inputs.T @ (q - truth) + line - prior
        hessian = (inputs.T * (q * (1 - q))) @ inputs + np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        now, size = loss(line), 1.0
        while size > 1e-10 and loss(line - size * step) > now + 1e-12 * (1 + now):  # less is rounding
            size /= 2
        line = line - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return line


def _logarithms(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _TINY))


def log_odds(probabilities: Floats) -> Floats:
    """Logits of probabilities in 0..1, finite also at both ends: what 32 bits hold next to them."""
    return np.log(np.maximum(probabilities, _TINY)) - np.log(np.maximum(1 - probabilities, _NEXT_TO_ONE))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _expit(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
