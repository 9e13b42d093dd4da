"""Decision curves: what acting on a model is worth to patients, over how many false alarms one missed case is worth.

Whoever treats from a probability of t on holds a missed case to be worth (1 - t) / t false alarms. The net benefit at t
is the share of true positives minus that of false positives times t / (1 - t) (Vickers and Elkin, Medical Decision
Making 26:565, 2006), to be compared with treating all and treating none, which is 0.

N samples, G patients, T thresholds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.groups import effective_groups, sum_by_group
from vesalius.metrics.intervals.clustered import t_quantile

Floats = NDArray[np.float64]

#: Finer where acting is cheap, as it is for most findings.
THRESHOLDS = (0.01, 0.02, 0.03, *(step / 20 for step in range(1, 20)))


def decision_curve(
    truth: NDArray[np.bool_],
    probabilities: Floats,
    groups: NDArray[np.int64],
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> dict[str, Any]:
    """The net benefit of a model and of treating all, with 95 % intervals over patients.

    Args:
        truth: (N,) which samples have the class.
        probabilities: (N,) calibrated, of the class.
        groups: (N,) number of the sample's patient.
        thresholds: from which probabilities on one would act.

    Returns:
        `thresholds`; `model` and `treat_all`, each with `value`, `low` and `high` of each threshold (cluster-robust t
        intervals); `useful`: the thresholds where the model is better than treating all, and than treating none, by
        more than the interval of each difference; `n` and `groups`.
    """
    at = np.array(thresholds)
    cost = at / (1 - at)
    treated = probabilities[:, None] >= at
    of_all = np.where(truth[:, None], 1.0, -cost)
    of_model = np.where(treated, of_all, 0.0)
    model, everyone, difference = (_means(values, groups) for values in (of_model, of_all, of_model - of_all))
    useful = at[(model["low"] > 0) & (difference["low"] > 0)]
    curves = {"model": model, "treat_all": everyone}
    lists = {name: {end: values.tolist() for end, values in curve.items()} for name, curve in curves.items()}
    count = int(groups.max()) + 1
    return {"thresholds": list(thresholds), **lists, "useful": useful.tolist(), "n": len(groups), "groups": count}


def _means(values: Floats, groups: NDArray[np.int64]) -> dict[str, Floats]:
    """Means (T,) of values (N, T) over samples, and the ends of their intervals over patients."""
    count = int(groups.max()) + 1
    mean = values.mean(axis=0)
    moved = sum_by_group(values - mean, groups, count) / len(values)
    error = np.sqrt(count / max(count - 1, 1) * (moved**2).sum(axis=0))
    half = t_quantile(effective_groups(np.ones(len(groups), dtype=np.bool_), groups) - 1) * error
    return {"value": mean, "low": mean - half, "high": mean + half}
