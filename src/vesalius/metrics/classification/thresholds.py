"""The operating point of a binary classifier: chosen on validation data, then applied to test data."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.predictions import Predictions, read_predictions

Floats = NDArray[np.float64]


def choose_threshold(val_predictions: pd.DataFrame, rule: str = "argmax") -> float:
    """Probability of class 1 above which class 1 is predicted.

    Rules that depend on the data put the threshold halfway between two neighbouring validation scores, so that no
    score equals it, or beyond all of them: then everything, or nothing, is predicted as class 1. Beyond a lowest score
    of 0 that is -0.5.

    A level is kept on the samples of validation, and in expectation on those of a new patient (conformal risk control:
    Angelopoulos et al., arXiv:2208.02814, 2022): each of the G patients of the class has the same weight, spread over
    its samples of it, and the new patient counts as one that is wholly missed. With a sample each, at most
    (G + 1)(1 - level) - 1 may be missed on validation. Patients that are too few for that (`level_note`) are all kept.

    Args:
        val_predictions: predictions table of the *validation* split of a binary task (two `prob/` columns).
        rule: `argmax` (0.5); `youden` (largest sensitivity + specificity - 1: Youden, Cancer 3:32, 1950; of equally
            good thresholds the one nearest to 0.5, so that equal scores are decided as by argmax);
            `sensitivity@0.95` (highest threshold that keeps at least this sensitivity for class 1) or
            `specificity@0.95` (lowest threshold that keeps at least this specificity), both also in expectation;
            `cost@20` (lowest cost where a missed sample of class 1 costs 20 times a false alarm; of equally good
            thresholds the one nearest to 0.5).

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
        kept = (sensitivity >= wanted - 1e-12) & _expects(scores[truth], p.groups[truth], thresholds, wanted)
        return float(thresholds[np.flatnonzero(kept)[-1]])
    kept = (specificity >= wanted - 1e-12) & _expects(-scores[~truth], p.groups[~truth], -thresholds, wanted)
    return float(thresholds[np.flatnonzero(kept)[0]])


def _expects(scores: Floats, groups: NDArray[np.int64], thresholds: Floats, wanted: float) -> NDArray[np.bool_]:
    """Above which thresholds (M,) this share of a new patient's scores is expected, from the scores (N,) of others."""
    _, patients, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    missed = np.r_[0, np.cumsum(1 / sizes[patients[order]])][np.searchsorted(scores[order], thresholds)]
    return np.asarray(missed <= max(_spare_patients(len(sizes), wanted), 0) + 1e-9)


def _spare_patients(count: int, wanted: float) -> float:
    """How many of so many patients may be missed for a level to be expected of a new one; below 0: it cannot be."""
    return round((count + 1) * (1 - wanted) - 1, 9)


def level_note(p: Predictions, rule: str) -> str | None:
    """Why the level of a rule cannot be expected on new patients; None where it can, or the rule has none.

    Args:
        p: predictions of the *validation* split of a binary task.
        rule: as for `choose_threshold`.
    """
    kind, wanted = _parse(rule)
    if kind not in ("sensitivity", "specificity"):
        return None
    k = int(kind == "sensitivity")
    count = len(np.unique(p.groups[p.truth[:, k]]))
    if _spare_patients(count, wanted) >= 0:
        return None
    return (
        f"{count} validation patients with {p.classes[k]} are too few to expect a {kind} of {wanted:g} on new ones: the"
        f" threshold keeps all of theirs, from which {count / (count + 1):.3f} can be expected"
    )


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
