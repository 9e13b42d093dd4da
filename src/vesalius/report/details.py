"""What the page shows of one run: confusion matrix, ROC, calibration or scatter, and the worst errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.classification.confusion import ConfusionCounts, confusion_counts
from vesalius.metrics.classification.curves import reliability_table, roc_table
from vesalius.metrics.comparison.arms import output_names
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.metrics.predictions import Predictions, read_predictions
from vesalius.metrics.worst_errors import find_worst_errors
from vesalius.report.charts import Chart, Series
from vesalius.report.decision_charts import decision_charts
from vesalius.runs.outcome import Outcome
from vesalius.runs.run import Run

_WORST = 12
_WORST_CLASSES = "Worst errors: most confident of a wrong class"
_WORST_TITLES = {
    "regression": "Largest errors, in standard deviations of the truth",
    "reconstruction": "Worst reconstructions",
}
_CURVE_POINTS, _SCATTER_POINTS = 200, 400


@dataclass(frozen=True)
class Details:
    """Charts and tables of a run's test predictions.

    Attributes:
        charts: ROC and calibration of classes, scatter plots of continuous targets.
        matrix: confusion matrix of classes; None for anything else.
        worst: the worst predictions, worst first: `row` in `predictions/test.csv` from 0, and texts. `sample_id` serves
            to find the image; the page shows no ids, as they often contain names.
        worst_title: by what they are the worst.
        classes: names of the classes or continuous targets.
    """

    charts: list[Chart] = field(default_factory=list)
    matrix: ConfusionCounts | None = None
    worst: list[dict[str, str]] = field(default_factory=list)
    worst_title: str = ""
    classes: list[str] = field(default_factory=list)


def details_of(run: Run, number: int) -> Details:
    """Compute the details of a finished run.

    Args:
        run: with results.
        number: of the run in the report, part of the names of the charts.

    Raises:
        InputError: for a predictions table that is not what the run wrote.
    """
    results = run.results or {}
    task, table = str(results["task"]), Outcome(run).table
    classes = output_names(table)
    if task in ("synthesis", "anomaly"):
        return Details()
    kind: dict[str, Any] = {"task": cast(Task, task), "classes": classes, "decision": run.decision, "name": run.name}
    worst: dict[str, Any] = {
        "worst": _worst(table, find_worst_errors(table, **kind, most=_WORST)),
        "worst_title": _WORST_TITLES.get(task, _WORST_CLASSES),
    }
    if task == "reconstruction":
        return Details(**worst)
    if task == "regression":
        return Details(_scatters(table, classes, number), classes=classes, **worst)
    p = read_predictions(table, **kind)
    charts = [chart for chart in (_roc(p, results["test"], number), _calibration(p, results, number)) if chart]
    charts += decision_charts(results, number)
    return Details(charts, confusion_counts(p), classes=classes, **worst)


def _roc(p: Predictions, metrics: Mapping[str, MetricEntry], number: int) -> Chart | None:
    series = []
    for name, curve in roc_table(p, max_points=_CURVE_POINTS).groupby("class", sort=False):
        entry = metrics.get("auroc" if p.task == "binary" else f"auroc/{name}")
        title = f"{name}  {format_metric(entry)}" if entry else str(name)
        notes = [f"threshold {format_number(value)}" if np.isfinite(value) else "" for value in curve["threshold"]]
        series.append(Series(title, curve["fpr"].tolist(), curve["tpr"].tolist(), notes=notes))
    if not series:
        return None
    title = "ROC curve" if p.task == "binary" else "ROC curves, each class against the rest"
    unit: Any = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "square": True, "diagonal": True}
    note = "AUROC [95 % interval over patients]; dashed: no skill"
    return Chart(f"roc-{number}", title, "1 − specificity", "sensitivity", series, note=note, **unit)


def _calibration(p: Predictions, results: Mapping[str, Any], number: int) -> Chart:
    """Share of correct predictions by confidence, over the bins of `ece`; before and after calibration."""
    shown = [("predictions", p, results["test"])]
    calibration = Calibration.of_metrics(results, len(p.classes))
    if calibration is not None:
        calibrated = replace(p, probabilities=calibration.apply(p.probabilities))
        shown = [("before calibration", p, results["test"])]
        shown += [("after", calibrated, results["calibration"].get("test", {}))]
    series, lowest = [], 0.5
    for name, predictions, metrics in shown:
        table = reliability_table(predictions)
        confidence, correct, counts = (table[column] for column in ("confidence", "correct", "predictions"))
        notes = [f"{n} predictions" for n in counts]
        size = (counts / counts.max()).tolist()
        title = f"{name}  {format_metric(metrics['ece'])}" if "ece" in metrics else name
        series.append(Series(title, confidence.tolist(), correct.tolist(), points=True, notes=notes, size=size))
        lowest = min(lowest, float(confidence.min()))
    low = float(np.floor(lowest * 10) / 10)
    unit: Any = {"x_range": (low, 1.0), "y_range": (0.0, 1.0), "square": True, "diagonal": True}
    note = "ECE (root mean square); area of a point: number of predictions; dashed: perfect calibration"
    return Chart(f"calibration-{number}", "Calibration", "confidence", "share correct", series, note=note, **unit)


def _scatters(table: pd.DataFrame, names: Sequence[str], number: int) -> list[Chart]:
    charts, keep = [], np.unique(np.linspace(0, len(table) - 1, min(len(table), _SCATTER_POINTS)).astype(np.int64))
    for at, name in enumerate(names):
        true, predicted = (table[f"{kind}/{name}"].to_numpy(np.float64)[keep] for kind in ("target", "pred"))
        low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        points = Series(name, true.tolist(), predicted.tolist(), points=True, notes=[f"row {row}" for row in keep])
        unit: Any = {"x_range": (low, high), "y_range": (low, high), "square": True, "diagonal": True}
        charts.append(Chart(f"scatter-{number}-{at}", name, "true", "predicted", [points], **unit))
    return charts


def _worst(table: pd.DataFrame, worst: pd.DataFrame) -> list[dict[str, str]]:
    """The worst predictions as texts."""
    entries = []
    for at, row in zip(worst.index, worst.to_dict("records"), strict=True):
        entry = {"sample_id": str(table["sample_id"].iloc[at]), "row": str(at)}
        if "probability" in row:
            entry |= {"true": row["true"], "predicted": row["predicted"], "how": f"p(true): {row['probability']:.2g}"}
        elif "psnr" in row:
            entry["how"] = f"psnr {row['psnr']:.1f} dB, ssim {row['ssim']:.3f}"
        else:
            true, predicted = ([f"{value:.4g}" for value in list(row.values())[part::2]] for part in (0, 1))
            entry |= {"true": ", ".join(true), "predicted": ", ".join(predicted)}
        entries.append(entry)
    return entries
