"""The operating point of a binary classifier: chosen on validation data, then applied to test data."""

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.predictions import read_predictions


def choose_threshold(val_predictions: pd.DataFrame, rule: str = "argmax") -> float:
    """Probability of class 1 above which class 1 is predicted.

    Rules that depend on the data put the threshold halfway between two neighbouring validation scores, so that no
    score equals it, or beyond all of them: then everything, or nothing, is predicted as class 1. Beyond a lowest score
    of 0 that is -0.5.

    Args:
        val_predictions: predictions table of the *validation* split of a binary task (two `prob/` columns).
        rule: `argmax` (0.5); `youden` (largest sensitivity + specificity - 1: Youden, Cancer 3:32, 1950; of equally
            good thresholds the one nearest to 0.5, so that equal scores are decided as by argmax);
            `sensitivity@0.95` (highest threshold that keeps at least this sensitivity for class 1) or
            `specificity@0.95` (lowest threshold that keeps at least this specificity); `cost@20` (lowest cost where a
            missed sample of class 1 costs 20 times a false alarm; of equally good thresholds the one nearest to 0.5).

    Raises:
        InputError: for an unknown rule, a table that is not one of a binary task, or a class absent from it.
    """
    kind, wanted = _parse(rule)
    classes = [str(c).removeprefix("prob/") for c in val_predictions.columns if str(c).startswith("prob/")]
    if len(classes) != 2:
        raise InputError(f"threshold rule {rule}: needs a binary task, but the table has {len(classes)} prob/ columns.")
    p = read_predictions(val_predictions, task="binary", classes=classes, name="validation predictions")
    if kind == "argmax":
        return 0.5
    truth, scores = p.truth[:, 1], p.probabilities[:, 1]
    for label, count in zip(classes, p.truth.sum(axis=0), strict=True):
        if not count:
            raise InputError(
                f"threshold rule {rule}: class {label} is absent from the validation split; use rule argmax."
            )
    levels = np.unique(scores)
    thresholds = np.r_[levels[0] / 2 or -0.5, (levels[1:] + levels[:-1]) / 2, (1 + levels[-1]) / 2]
    # Counts of scores at or below each threshold, from the sorted scores of each class.
    sensitivity = 1 - np.searchsorted(np.sort(scores[truth]), thresholds, side="right") / truth.sum()
    specificity = np.searchsorted(np.sort(scores[~truth]), thresholds, side="right") / (~truth).sum()
    if kind in ("youden", "cost"):
        weight = wanted * truth.sum() / (~truth).sum() if kind == "cost" else 1.0
        index = np.round((weight * sensitivity + specificity) / (weight + 1), 12)
        best = thresholds[index == index.max()]
        return float(best[np.abs(best - 0.5).argmin()])
    if kind == "sensitivity":
        return float(thresholds[np.flatnonzero(sensitivity >= wanted - 1e-12)[-1]])
    return float(thresholds[np.flatnonzero(specificity >= wanted - 1e-12)[0]])


def check_rule(rule: str, task: Task) -> None:
    """Refuse a rule before anything is trained for it.

    Raises:
        InputError: for an unknown rule, or one that needs two classes where there are not two.
    """
    kind, _ = _parse(rule)
    if kind != "argmax" and task != "binary":
        raise InputError(f"evaluation.decision={rule}: needs two classes, but the task is {task}: use argmax.")


def _parse(rule: str) -> tuple[str, float]:
    """Kind of a rule, and its level: in 0..1, or the ratio of costs."""
    kind, _, level = rule.partition("@")
    if rule in ("argmax", "youden"):
        return rule, 0.0
    try:
        wanted = float(level)
    except ValueError:
        wanted = -1.0
    highest = {"sensitivity": 1.0, "specificity": 1.0, "cost": 1e6}.get(kind, 0.0)
    if not 0 < wanted <= highest:
        raise InputError(
            f"threshold rule {rule}: use argmax, youden, sensitivity@0.95 or specificity@0.95 (a level in 0..1), or "
            "cost@20 (how many false alarms a miss costs)."
        )
    return kind, wanted
