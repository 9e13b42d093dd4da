"""How accurate a model is on the samples of which it is surest, when the others are left to a person.

(Selective classification: El-Yaniv and Wiener, JMLR 11:1605, 2010.)

N samples, K classes.
"""

from typing import Any

import numpy as np

from vesalius.metrics.decision.confidence import confidence
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.entry import MetricEntry, metric_entry, missing_entry
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
    sure = confidence(p.probabilities, p.task, calibration, decision).round(_DIGITS)
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


def fit_abstention(p: Predictions, calibration: Calibration, decision: Decision, share: float) -> float:
    """The least confidence that is kept, where at most a share of the samples is left to a person.

    Args:
        p: validation predictions with the net's probabilities, at least one; of a task with one class per sample.
        calibration: of the run.
        decision: its threshold, or `argmax`.
        share: of the samples, above 0 and below 1.
    """
    sure = np.sort(confidence(p.probabilities, p.task, calibration, decision)[:, 0])
    return float(sure[int(share * len(sure))])


def score_abstention(
    p: Predictions, calibration: Calibration, decision: Decision, cut: float
) -> dict[str, MetricEntry]:
    """What a cut comes to on other samples; parameters as of `fit_abstention`.

    Returns:
        `coverage`, the share of the samples that is kept, and `accuracy` of these, whose no-skill value is that of all.
    """
    kept = confidence(p.probabilities, p.task, calibration, decision) >= cut
    correct = (p.truth == p.decided).all(axis=1, keepdims=True)
    size = {"n": len(kept), "groups": p.group_count}
    interval = proportion_interval(kept, np.ones_like(kept), p.groups)
    found = {"coverage": metric_entry(kept.mean(), interval, **size, no_skill=None)}
    right, groups, all_right = correct[kept[:, 0]], p.groups[kept[:, 0]], float(correct.mean())
    if not len(right):
        return {**found, "accuracy": missing_entry("no sample is sure enough", no_skill=all_right)}
    interval = proportion_interval(right, np.ones_like(right), groups)
    size = {"n": len(right), "groups": len(np.unique(groups))}
    return {**found, "accuracy": metric_entry(right.mean(), interval, **size, no_skill=all_right)}
