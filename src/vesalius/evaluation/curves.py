"""The points of a classifier's curves and the counts of its answers, as tables: what a dashboard draws itself."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from vesalius.evaluation.predictions import Predictions

#: Points of one curve: more than a screen can tell apart.
MOST = 200


def roc_table(p: Predictions, most: int = MOST) -> pd.DataFrame:
    """`class`, `fpr`, `tpr`: a curve for each class against the rest, of a binary task for class 1 alone.

    Args:
        p: predictions; classes that all or none of the samples have are left out.
        most: points of a curve, evenly picked; both ends are kept.
    """
    parts = []
    for k in _shown(p):
        alarms, hits, _ = roc_curve(p.truth[:, k], p.probabilities[:, k])
        parts.append(_thinned({"class": p.classes[k], "fpr": alarms, "tpr": hits}, most))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "fpr", "tpr"])


def precision_recall_table(p: Predictions, most: int = MOST) -> pd.DataFrame:
    """`class`, `recall`, `precision`: like `roc_table`."""
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


def _shown(p: Predictions) -> list[int]:
    shown = [1] if p.task == "binary" else range(len(p.classes))
    return [k for k in shown if p.truth[:, k].any() and not p.truth[:, k].all()]


def _thinned(columns: dict[str, NDArray[np.float64] | str], most: int) -> pd.DataFrame:
    curve = pd.DataFrame(columns)
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(np.int64))]
