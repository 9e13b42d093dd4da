"""The table at the end of a run: no number without its interval and its no-skill value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vesalius.config.direction import mode_of
from vesalius.metrics.formatting import (
    ALL_CLASSES,
    describe_extractor,
    format_metric,
    format_number,
    summarize_synthetic_images,
)
from vesalius.metrics.names import CLASSIFICATION_METRICS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Metrics = Mapping[str, Mapping[str, Any]]

#: In the order of reading; per class only recall and precision, or the page would not fit a screen.
OVERALL = CLASSIFICATION_METRICS
PER_CLASS = ("recall", "precision")
#: Baselines beyond this number are rows of a table of their own.
BASELINE_COLUMNS = 3
#: What that table shows of each arm, as far as there is such a metric.
ARM_METRICS = ("auroc", "auroc_difference", "accuracy", "mae", "mae_difference", "rmse", "r2")


def print_metrics(metrics: Mapping[str, Any], console: Console, split: str = "test") -> None:
    """Print a run's final numbers beside those of its baselines.

    Args:
        metrics: the content of `metrics.json`.
        console: where to print; 100 columns hold three baselines.
        split: `test` or `val`. Baselines are those of the test split and are left out beside another.
    """
    from rich.text import Text

    model: Metrics = metrics.get(split) or {}
    arms: Mapping[str, Metrics] = metrics.get("baselines") or {} if split == "test" else {}
    if not model:
        console.print(Text(f"No {split} metrics."))
        return
    overall = [name for name in OVERALL if name in model]
    per_class = [name for kind in PER_CLASS for name in model if name.startswith(f"{kind}/")]
    others = [name for name in model if "/" not in name and name not in overall]
    largest = max(model.values(), key=lambda metric: metric["n"])
    console.print(Text(f"{split}: {largest['n']} samples of {largest['groups']} patients", style="bold"))
    beside = arms if len(arms) <= BASELINE_COLUMNS else {}
    console.print(_table(model, beside, [overall + others, per_class]))
    evidence: Mapping[str, Metrics] = metrics.get("evidence") or {} if split == "test" else {}
    if arms and not beside:
        console.print(_arm_table("baselines", arms))
    if evidence:
        _print_evidence(evidence, metrics.get("evidence_classes"), console)
    for arm, entries in arms.items():
        pairs = {name.removesuffix("_difference"): m for name, m in entries.items() if name.endswith("_difference")}
        if pairs:
            told = ", ".join(f"{name} {format_metric(metric)}" for name, metric in pairs.items())
            console.print(Text(f"model minus {arm}: {told}"))
    if split == "test":
        _print_probes(metrics.get("probes") or {}, console)
        if metrics.get("anomaly"):
            console.print(_entries_table("anomaly score", metrics["anomaly"]))
        for line in summarize_synthetic_images(metrics):
            console.print(Text(line))
    if where := describe_extractor(metrics):
        console.print(Text(where, style="dim"))
    lower = [name for name in model if "/" not in name and mode_of(name) == "min"]
    said = f" {' and '.join(lower)}: lower is better." if lower else ""
    lines = [f"Brackets: 95 % interval, which counts patients.{said}", *_reasons(model)]
    for line in lines:
        console.print(Text(line, style="dim"))


def _print_probes(probes: Mapping[str, Mapping[str, Metrics]], console: Console) -> None:
    """AUROC of each arm with each part of the labels, and what the latent features are better by."""
    if not probes:
        return
    arms = dict.fromkeys(arm for entries in probes.values() for arm in entries)
    for title, metric in (("probes: auroc", "auroc"), ("latent minus arm", "auroc_difference")):
        rows = {
            arm: {
                f"{part} of labels": entries[arm][metric] for part, entries in probes.items() if metric in entries[arm]
            }
            for arm in arms
        }
        console.print(_entries_table(title, {arm: row for arm, row in rows.items() if row}))


def _entries_table(title: str, rows: Mapping[str, Metrics]) -> Table:
    """A row an arm, a column for whatever was measured."""
    from rich.text import Text

    table = _plain_table(title)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    for name in columns:
        table.add_column(Text(name))
    for arm, row in rows.items():
        table.add_row(arm, *(Text(format_metric(row[name]) if name in row else "–") for name in columns))
    return table


def _plain_table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(title)
    return table


def _print_evidence(evidence: Mapping[str, Metrics], classes: Sequence[str] | None, console: Console) -> None:
    """Arms of image series count some classes alone, where the run says so; the others always count all."""
    from rich.text import Text

    whole = {arm: rows for arm, rows in evidence.items() if arm in ALL_CLASSES or not classes}
    narrowed = {arm: rows for arm, rows in evidence.items() if arm not in whole}
    if whole:
        console.print(_arm_table("evidence", whole))
    if narrowed and classes:
        console.print(Text(f"evidence: only samples of {', '.join(classes)}", style="bold"))
        console.print(_arm_table("evidence", narrowed))
    notes = {
        arm: next((str(entry["note"]) for entry in rows.values() if "note" in entry), "")
        for arm, rows in evidence.items()
    }
    for line in [f"{arm}: {note}." for arm, note in notes.items() if note]:
        console.print(Text(line, style="dim"))


def _table(model: Metrics, arms: Mapping[str, Metrics], sections: list[list[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("metric", overflow="fold")
    table.add_column("model", style="bold")
    table.add_column(Text("no\nskill"), justify="right")
    for arm in arms:
        table.add_column(Text(arm.replace("_", "\n", 1)), overflow="fold")
    for names in sections:
        for name in names:
            row = [format_metric(model[name]), format_number(model[name]["no_skill"])]
            row += [format_metric(arm[name]) if name in arm else "–" for arm in arms.values()]
            table.add_row(*(Text(cell) for cell in [name, *row]))
        table.add_section()
    return table


def _arm_table(title: str, arms: Mapping[str, Metrics]) -> Table:
    """A row an arm, for its main metrics alone."""
    from rich.text import Text

    shown = [name for name in ARM_METRICS if any(name in arm for arm in arms.values())]
    table = _plain_table(title)
    for name in shown:
        table.add_column(Text("model minus arm" if name.endswith("_difference") else name))
    for arm, metrics in arms.items():
        table.add_row(arm, *(Text(format_metric(metrics[name]) if name in metrics else "–") for name in shown))
    return table


def _reasons(model: Metrics) -> list[str]:
    """Why numbers are absent, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, metric in model.items():
        if metric["value"] is None:
            by_reason.setdefault(str(metric.get("reason", "not computed")), []).append(name)
    return [f"– {', '.join(names)}: {reason}." for reason, names in by_reason.items()]
