"""The points of a classifier's curves and the counts of its answers, for whatever draws them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.metrics.predictions import Predictions
from vesalius.metrics.statistics import ECE_BINS, confidence_bins

#: Points of one curve: more than a screen can tell apart.
MOST = 200


@dataclass(frozen=True)
class AnswerCounts:
    """Counts of answers, R rows and C columns.

    Attributes:
        rows: the classes, or the labels.
        columns: what was answered.
        counts: (R, C).
        shares: (R, C) of the row; of a label, of those who have it, and of those who have it not.
        title: above it.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    title: str


def count_answers(p: Predictions) -> AnswerCounts:
    """The confusion matrix; of several labels, how often each was found, missed, a false alarm, or clear."""
    if p.single_label:
        counts = p.truth.astype(np.int64).T @ p.decided.astype(np.int64)
        return AnswerCounts(p.classes, p.classes, counts, _shares(counts), "Confusion matrix")
    has, has_not = ([(truth & said).sum(axis=0) for said in (p.decided, ~p.decided)] for truth in (p.truth, ~p.truth))
    counts = np.stack([*has, *has_not], axis=1)
    shares = np.hstack([_shares(counts[:, :2]), _shares(counts[:, 2:])])
    columns = ("has it, found", "has it, missed", "has it not, alarm", "has it not, clear")
    return AnswerCounts(p.classes, columns, counts, shares, "Answers by label")


def reliability_table(p: Predictions) -> pd.DataFrame:
    """`confidence` and `right`, both means, and the number of `answers`: a row for each bin of `ece` that has any.

    The index says which bin of `ECE_BINS` it is.
    """
    confidence, right, bins = (values.ravel() for values in confidence_bins(p))
    answers = np.bincount(bins, minlength=ECE_BINS)
    filled = np.flatnonzero(answers)
    means = {
        name: np.bincount(bins, of, ECE_BINS)[filled] / answers[filled]
        for name, of in (("confidence", confidence), ("right", right))
    }
    return pd.DataFrame({**means, "answers": answers[filled]}, index=filled)


def roc_table(p: Predictions, most: int = MOST) -> pd.DataFrame:
    """`class`, `fpr`, `tpr`, `threshold`: a curve a class against the rest, of a binary task for class 1 alone.

    Args:
        p: predictions; classes that all or none of the samples have are left out.
        most: points of a curve, evenly picked; both ends are kept.
    """
    from sklearn.metrics import roc_curve

    parts = []
    for k in _shown(p):
        alarms, hits, thresholds = roc_curve(p.truth[:, k], p.probabilities[:, k])
        parts.append(_thinned({"class": p.classes[k], "fpr": alarms, "tpr": hits, "threshold": thresholds}, most))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "fpr", "tpr", "threshold"])


def precision_recall_table(p: Predictions, most: int = MOST) -> pd.DataFrame:
    """`class`, `recall`, `precision`: like `roc_table`."""
    from sklearn.metrics import precision_recall_curve

    parts = []
    for k in _shown(p):
        precision, recall, _ = precision_recall_curve(p.truth[:, k], p.probabilities[:, k])
        parts.append(_thinned({"class": p.classes[k], "recall": recall, "precision": precision}, most))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "recall", "precision"])


def confusion_table(p: Predictions) -> pd.DataFrame:
    """`true`, `predicted`, `count`: a row for each pair of classes; of several labels, each against its absence."""
    if p.single_label:
        return _counts(list(p.classes), p.truth, p.decided)
    parts = []
    for k, name in enumerate(p.classes):
        truth, decided = (np.stack([~side[:, k], side[:, k]], axis=1) for side in (p.truth, p.decided))
        parts.append(_counts([f"no {name}", name], truth, decided))
    return pd.concat(parts)


def _counts(names: list[str], truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> pd.DataFrame:
    counts = truth.astype(np.int64).T @ decided.astype(np.int64)
    return pd.DataFrame(
        {"true": np.repeat(names, len(names)), "predicted": names * len(names), "count": counts.ravel()}
    )


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _shown(p: Predictions) -> list[int]:
    shown = [1] if p.task == "binary" else range(len(p.classes))
    return [k for k in shown if p.truth[:, k].any() and not p.truth[:, k].all()]


def _thinned(columns: dict[str, NDArray[np.float64] | str], most: int) -> pd.DataFrame:
    curve = pd.DataFrame(columns)
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(np.int64))]
