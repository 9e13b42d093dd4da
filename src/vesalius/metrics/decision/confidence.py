"""How sure a decision is: what samples are kept or left to a person by."""

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.metrics.decision.scaling import Calibration, log_odds
from vesalius.metrics.predictions import Decision


def confidence(
    probabilities: NDArray[np.float64], task: Task, calibration: Calibration, decision: Decision
) -> NDArray[np.float64]:
    """How sure each decision is.

    Args:
        probabilities: (N, K), as the net gives them.
        task: as in `Facts`.
        calibration: of the run.
        decision: its threshold, or `argmax`.

    Returns:
        (N, 1), or (N, K) of labels: with a threshold the distance from it in log-odds, else the calibrated probability
        of the predicted class.
    """
    calibrated = calibration.apply(probabilities)
    if task == "multilabel" or (task == "binary" and decision != "argmax"):
        threshold = min(max(0.5 if isinstance(decision, str) else decision, 0.0), 1.0)
        at = np.full((1, probabilities.shape[1]), threshold)
        if task == "binary":
            at[0, 0] = 1 - threshold
        distance = np.abs(log_odds(calibrated) - log_odds(calibration.apply(at)))
        return np.asarray(distance[:, 1:] if task == "binary" else distance)
    return np.asarray(calibrated.max(axis=1, keepdims=True))
