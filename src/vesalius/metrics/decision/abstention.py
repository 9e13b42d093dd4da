"""How accurate a model is on the samples of which it is surest, when the others are left to a person.

(Selective classification: El-Yaniv and Wiener, JMLR 11:1605, 2010.)

N samples, K classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.decision.scaling import Calibration, log_odds
from vesalius.metrics.intervals.clustered import proportion_interval
from vesalius.metrics.predictions import Decision, Predictions

#: Of the samples (of multilabel data: of the labels' decisions), the shares that are kept.
SHARES = tuple(step / 20 for step in range(20, 1, -1))

# Of samples that differ by less, none is surer.
_DIGITS = 12


def abstention_curve(p: Predictions, calibration: Calibration, decision: Decision) -> dict[str, Any]:
    """Accuracy over the share of the samples that is kept, the surest ones first.

    Args:
        p: predictions with the net's probabilities and the run's decisions.
        calibration: of the run.
        decision: its threshold, or `argmax`.

    Returns:
        `kept` (falling; samples that are equally sure are kept or left together), and of each share `accuracy` with
        `value`, `low` and `high` (cluster-adjusted Wilson), `n` (of multilabel data: labels' decisions) and `groups`.
    """
    correct = p.truth == p.decided
    sure = confidence(p, calibration, decision).round(_DIGITS)
    if p.single_label:
        correct = correct.all(axis=1, keepdims=True)
    flat, of_flat, groups = correct.reshape(-1, 1), sure.ravel(), np.repeat(p.groups, correct.shape[1])
    ranked = np.sort(of_flat)[::-1]
    # How sure the last one of each share is; a share that adds no sample is left out.
    cuts = np.unique(ranked[[max(round(share * len(ranked)), 1) - 1 for share in SHARES]])
    curve: dict[str, list[Any]] = {name: [] for name in ("kept", "n", "groups")}
    accuracy: dict[str, list[float]] = {name: [] for name in ("value", "low", "high")}
    for cut in cuts:
        kept = of_flat >= cut
        interval = proportion_interval(flat[kept], np.ones_like(flat[kept]), groups[kept])
        for name, number in zip(accuracy, (flat[kept].mean(), interval.low, interval.high), strict=True):
            accuracy[name].append(float(number))
        curve["kept"].append(float(kept.mean()))
        curve["n"].append(int(kept.sum()))
        curve["groups"].append(len(np.unique(groups[kept])))
    return {**curve, "accuracy": accuracy}


def confidence(p: Predictions, calibration: Calibration, decision: Decision) -> NDArray[np.float64]:
    """How sure each decision is; parameters as in `abstention_curve`.

    Returns:
        (N, 1), or (N, K) of labels: with a threshold the distance from it in log-odds, else the calibrated probability
        of the predicted class.
    """
    calibrated = calibration.apply(p.probabilities)
    if p.task == "multilabel" or (p.task == "binary" and decision != "argmax"):
        threshold = min(max(0.5 if isinstance(decision, str) else decision, 0.0), 1.0)
        at = np.full((1, len(p.classes)), threshold)
        if p.task == "binary":
            at[0, 0] = 1 - threshold
        distance = np.abs(log_odds(calibrated) - log_odds(calibration.apply(at)))
        return np.asarray(distance[:, 1:] if p.task == "binary" else distance)
    return np.asarray(calibrated.max(axis=1, keepdims=True))
