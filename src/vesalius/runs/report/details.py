"""What the page shows of one run: confusion matrix, ROC, calibration or scatter, and the worst errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.evaluation.predictions import Decision, Predictions, read_predictions
from vesalius.evaluation.statistics import ECE_BINS
from vesalius.evaluation.tables import format_metric, format_number
from vesalius.runs.report.charts import Chart, Series
from vesalius.runs.report.collect import ReportRun
from vesalius.runs.report.repeats import class_names, test_table

_WORST = 12
_CURVE_POINTS, _SCATTER_POINTS = 200, 400
_RIGHT = ("has it, found", "has it, missed", "has it not, alarm", "has it not, clear")


@dataclass(frozen=True)
class Matrix:
    """Counts of answers.

    Attributes:
        rows: names of the classes or labels.
        columns: what was answered.
        counts: (rows, columns).
        shares: of the row, between 0 and 1; of a label, of those who have it, and of those who have it not.
        title: above it.
    """

    rows: list[str]
    columns: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    title: str = "Confusion matrix"


@dataclass(frozen=True)
class Details:
    """What a run's test predictions tell.

    Attributes:
        charts: ROC and calibration of classes, scatter of quantities.
        matrix: of classes; None of anything else.
        worst: the worst answers, worst first: `sample_id` and what to say of it.
        worst_title: what makes them the worst.
        classes: names of the classes or quantities.
    """

    charts: list[Chart] = field(default_factory=list)
    matrix: Matrix | None = None
    worst: list[dict[str, str]] = field(default_factory=list)
    worst_title: str = ""
    classes: list[str] = field(default_factory=list)


def details_of(run: ReportRun, number: int) -> Details:
    """Everything that is told of a finished run's test predictions.

    Args:
        run: with results.
        number: of the run in the report, for the names of the charts.

    Raises:
        InputError: for a predictions table that is not what the run wrote.
    """
    results = run.results or {}
    task, table = str(results["task"]), test_table(run)
    classes = class_names(table)
    if task == "reconstruction":
        return Details(worst=_worst_images(table), worst_title="Worst reconstructions")
    if task == "regression":
        return _of_quantities(table, classes, number)
    if task not in ("binary", "multiclass", "multilabel"):
        return Details()
    decision: Decision = (results.get("decision") or {}).get("threshold", "argmax")
    p = read_predictions(table, task=cast(Task, task), classes=classes, decision=decision, name=run.name)
    charts = [chart for chart in (_roc(p, results["test"], number), _calibration(p, results["test"], number)) if chart]
    worst = _worst_answers(p, table)
    return Details(charts, _matrix(p), worst, "Worst errors: surest of what is wrong", classes)


def _matrix(p: Predictions) -> Matrix:
    if p.single_label:
        counts = p.truth.astype(np.int64).T @ p.decided.astype(np.int64)
        return Matrix(list(p.classes), list(p.classes), counts.tolist(), _shares(counts).tolist())
    hits, misses = (p.truth & p.decided).sum(axis=0), (p.truth & ~p.decided).sum(axis=0)
    alarms, clear = (~p.truth & p.decided).sum(axis=0), (~p.truth & ~p.decided).sum(axis=0)
    counts = np.stack([hits, misses, alarms, clear], axis=1)
    shares = np.hstack([_shares(counts[:, :2]), _shares(counts[:, 2:])])
    return Matrix(list(p.classes), list(_RIGHT), counts.tolist(), shares.tolist(), "Answers by label")


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _roc(p: Predictions, metrics: Mapping[str, Mapping[str, Any]], number: int) -> Chart | None:
    from sklearn.metrics import roc_curve

    shown = [1] if p.task == "binary" else range(len(p.classes))
    series = []
    for k in shown:
        truth = p.truth[:, k]
        if not truth.any() or truth.all():
            continue
        alarms, hits, thresholds = roc_curve(truth, p.probabilities[:, k])
        keep = _thinned(len(alarms), _CURVE_POINTS)
        entry = metrics.get("auroc" if p.task == "binary" else f"auroc/{p.classes[k]}")
        name = f"{p.classes[k]}  {format_metric(entry)}" if entry else p.classes[k]
        notes = [f"threshold {format_number(float(value))}" if np.isfinite(value) else "" for value in thresholds[keep]]
        series.append(Series(name, alarms[keep].tolist(), hits[keep].tolist(), notes=notes))
    if not series:
        return None
    title = "ROC curve" if p.task == "binary" else "ROC curves, each class against the rest"
    unit: Any = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "square": True, "diagonal": True}
    note = "AUROC [95 % interval over patients]; dashed: no skill"
    return Chart(f"roc-{number}", title, "1 − specificity", "sensitivity", series, note=note, **unit)


def _calibration(p: Predictions, metrics: Mapping[str, Mapping[str, Any]], number: int) -> Chart:
    """How often answers of a confidence are right, over the bins of `ece`, as `figures.reliability_figure` has it."""
    if p.single_label:
        confidence = p.probabilities.max(axis=1)
        right = p.truth[np.arange(len(p.truth)), p.probabilities.argmax(axis=1)]
    else:
        confidence = np.maximum(p.probabilities, 1 - p.probabilities).ravel()
        right = ((p.probabilities > 0.5) == p.truth).ravel()
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    filled = count > 0
    mean = np.bincount(bins, confidence, ECE_BINS)[filled] / count[filled]
    share = np.bincount(bins, right, ECE_BINS)[filled] / count[filled]
    notes = [f"{n} answers" for n in count[filled]]
    size = (count[filled] / count.max()).tolist()
    points = Series("answers", mean.tolist(), share.tolist(), points=True, notes=notes, size=size)
    low = float(np.floor(min(mean.min(), 0.5) * 10) / 10)
    entry = metrics.get("ece")
    title = f"Calibration, ECE {format_metric(entry)}" if entry else "Calibration"
    unit: Any = {"x_range": (low, 1.0), "y_range": (0.0, 1.0), "square": True, "diagonal": True}
    note = "area of a point: number of answers; dashed: as sure as right"
    return Chart(f"calibration-{number}", title, "confidence", "share that is right", [points], note=note, **unit)


def _of_quantities(table: pd.DataFrame, names: Sequence[str], number: int) -> Details:
    charts, keep = [], _thinned(len(table), _SCATTER_POINTS)
    for at, name in enumerate(names):
        true, said = (table[f"{kind}/{name}"].to_numpy(np.float64)[keep] for kind in ("target", "pred"))
        low, high = float(min(true.min(), said.min())), float(max(true.max(), said.max()))
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        points = Series(name, true.tolist(), said.tolist(), points=True, notes=table["sample_id"].iloc[keep].tolist())
        unit: Any = {"x_range": (low, high), "y_range": (low, high), "square": True, "diagonal": True}
        charts.append(Chart(f"scatter-{number}-{at}", name, "true", "predicted", [points], **unit))
    error = (table[f"pred/{names[0]}"] - table[f"target/{names[0]}"]).abs().to_numpy(np.float64)
    rows = table.iloc[np.argsort(-error, kind="stable")[:_WORST]]
    worst = [
        {"sample_id": str(row["sample_id"]), "true": f"{row[f'target/{names[0]}']:.4g}"}
        | {"said": f"{row[f'pred/{names[0]}']:.4g}"}
        for _, row in rows.iterrows()
    ]
    return Details(charts, None, worst, f"Largest errors of {names[0]}", list(names))


def _worst_answers(p: Predictions, table: pd.DataFrame) -> list[dict[str, str]]:
    """Wrong answers, those with the least chance for the truth first."""
    names = np.array(p.classes)
    chance = np.where(p.truth, p.probabilities, 1 - p.probabilities)
    for_truth = chance[p.truth] if p.single_label else chance.min(axis=1)
    wrong = np.flatnonzero((p.truth != p.decided).any(axis=1))
    told = []
    for row in wrong[np.argsort(for_truth[wrong], kind="stable")][:_WORST]:
        true, said = (", ".join(names[which[row]]) or "none" for which in (p.truth, p.decided))
        of_it = f"truth: {for_truth[row]:.2g} of 1"
        told.append({"sample_id": str(table["sample_id"].iloc[row]), "true": true, "said": said, "how": of_it})
    return told


def _worst_images(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = table.sort_values("mse", ascending=False, kind="stable").head(_WORST)
    return [
        {"sample_id": str(row["sample_id"]), "how": f"psnr {row['psnr']:.1f} dB, ssim {row['ssim']:.3f}"}
        for _, row in rows.iterrows()
    ]


def _thinned(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
