"""How often each class is predicted as each other: the counts behind a confusion matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.metrics.predictions import Predictions


@dataclass(frozen=True)
class ConfusionCounts:
    """A confusion matrix to draw, of R rows and C columns.

    Attributes:
        rows: true classes, or labels.
        columns: predicted classes; of labels, the four outcomes.
        counts: (R, C) samples.
        shares: (R, C) share of the row; of a label, of the samples that have it, and of those that do not.
        title: of the matrix.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    title: str


def confusion_counts(p: Predictions) -> ConfusionCounts:
    """The confusion matrix; for multilabel, true and false positives and negatives per label."""
    if p.single_label:
        counts = _counts(p.truth, p.decided)
        return ConfusionCounts(p.classes, p.classes, counts, _shares(counts), "Confusion matrix")
    present, absent = (
        [(truth & decided).sum(axis=0) for decided in (p.decided, ~p.decided)] for truth in (p.truth, ~p.truth)
    )
    counts = np.stack([*present, *absent], axis=1)
    shares = np.hstack([_shares(counts[:, :2]), _shares(counts[:, 2:])])
    columns = ("present, found", "present, missed", "absent, false alarm", "absent, correct")
    return ConfusionCounts(p.classes, columns, counts, shares, "Predictions by label")


def confusion_table(p: Predictions) -> pd.DataFrame:
    """`true`, `predicted`, `count`: one row per pair of classes; for multilabel, each label against its absence."""
    if p.single_label:
        return _pairs(list(p.classes), p.truth, p.decided)
    parts = []
    for k, name in enumerate(p.classes):
        truth, decided = (np.stack([~side[:, k], side[:, k]], axis=1) for side in (p.truth, p.decided))
        parts.append(_pairs([f"no {name}", name], truth, decided))
    return pd.concat(parts)


def _pairs(names: list[str], truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> pd.DataFrame:
    counts = _counts(truth, decided).ravel()
    return pd.DataFrame({"true": np.repeat(names, len(names)), "predicted": names * len(names), "count": counts})


def _counts(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> NDArray[np.int64]:
    return truth.astype(np.int64).T @ decided.astype(np.int64)


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
