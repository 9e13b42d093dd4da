"""The points of a classifier's ROC, precision-recall and reliability curves, for whatever draws them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.metrics.classification.calibration import ECE_BINS, confidence_bins
from vesalius.metrics.predictions import Predictions

#: Points of one curve: more than a screen can resolve.
MAX_POINTS = 200


def reliability_table(p: Predictions) -> pd.DataFrame:
    """Mean `confidence`, share `correct` and number of `predictions`: one row per bin of `ece` that is not empty.

    The index is the number of the bin, below `ECE_BINS`.
    """
    confidence, correct, bins = (values.ravel() for values in confidence_bins(p))
    counts = np.bincount(bins, minlength=ECE_BINS)
    filled = np.flatnonzero(counts)
    means = {
        name: np.bincount(bins, of, ECE_BINS)[filled] / counts[filled]
        for name, of in (("confidence", confidence), ("correct", correct))
    }
    return pd.DataFrame({**means, "predictions": counts[filled]}, index=filled)


def roc_table(p: Predictions, max_points: int = MAX_POINTS) -> pd.DataFrame:
    """`class`, `fpr`, `tpr`, `threshold`: one curve per class against the rest, of a binary task only that of class 1.

    Args:
        p: predictions; classes that all or none of the samples have are left out.
        max_points: points of one curve, evenly picked; both ends are kept.
    """
    from sklearn.metrics import roc_curve

    parts = []
    for k in _drawn_classes(p):
        fpr, tpr, thresholds = roc_curve(p.truth[:, k], p.probabilities[:, k])
        parts.append(_thinned({"class": p.classes[k], "fpr": fpr, "tpr": tpr, "threshold": thresholds}, max_points))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "fpr", "tpr", "threshold"])


def precision_recall_table(p: Predictions, max_points: int = MAX_POINTS) -> pd.DataFrame:
    """`class`, `recall`, `precision`: like `roc_table`."""
    from sklearn.metrics import precision_recall_curve

    parts = []
    for k in _drawn_classes(p):
        precision, recall, _ = precision_recall_curve(p.truth[:, k], p.probabilities[:, k])
        parts.append(_thinned({"class": p.classes[k], "recall": recall, "precision": precision}, max_points))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "recall", "precision"])


def _drawn_classes(p: Predictions) -> list[int]:
    candidates = [1] if p.task == "binary" else range(len(p.classes))
    return [k for k in candidates if p.truth[:, k].any() and not p.truth[:, k].all()]


def _thinned(columns: dict[str, NDArray[np.float64] | str], max_points: int) -> pd.DataFrame:
    curve = pd.DataFrame(columns)
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), max_points)).astype(np.int64))]
