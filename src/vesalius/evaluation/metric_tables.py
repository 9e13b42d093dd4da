"""The table printed at the end of a run: no number without its interval and its no-skill value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vesalius.config.direction import mode_of
from vesalius.metrics.decision.summary import summarize_decision
from vesalius.metrics.formatting import (
    ALL_CLASSES,
    describe_extractor,
    format_metric,
    format_number,
    summarize_synthetic_images,
)
from vesalius.metrics.names import CLASSIFICATION_METRICS
from vesalius.metrics.subgroups import describe_suppressed, patient_count

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Entries of `metrics.json` by name.
Metrics = Mapping[str, Mapping[str, Any]]

#: Of single classes only these, or the table would not fit a screen.
PER_CLASS = ("recall", "precision")
#: More baselines than these are the rows of a table of their own.
BASELINE_COLUMNS = 3
#: Columns of a table by subgroup, as far as the task has the metric.
SUBGROUP_METRICS = ("auroc", "balanced_accuracy", "ece", "mae", "rmse", "r2")
#: Columns of that table, as far as an arm has the metric.
ARM_METRICS = ("auroc", "auroc_difference", "accuracy", "mae", "mae_difference", "rmse", "r2")


def print_metrics(metrics: Mapping[str, Any], console: Console, split: str = "test") -> None:
    """Print a run's final numbers next to those of its baselines.

    Args:
        metrics: the content of `metrics.json`.
        console: to print to; 100 columns hold three baselines.
        split: `test` or `val`. Baselines, ablations, probes and the like are printed for `test` only.
    """
    from rich.text import Text

    model: Metrics = metrics.get(split) or {}
    if not model:
        console.print(Text(f"No {split} metrics."))
        return
    baselines: Mapping[str, Metrics] = metrics.get("baselines") or {} if split == "test" else {}
    largest = max(model.values(), key=lambda entry: entry["n"])
    console.print(Text(f"{split}: {largest['n']} samples of {largest['groups']} patients", style="bold"))
    _print_model(model, baselines, console)
    if split == "test":
        _print_ablations(metrics.get("evidence") or {}, metrics.get("evidence_classes"), console)
        _print_differences(baselines, console)
        _print_probes(metrics.get("probes") or {}, console)
        for column, values in (metrics.get("subgroups") or {}).items():
            _print_subgroups(column, values, console)
        if metrics.get("anomaly"):
            console.print(_table("anomaly score", metrics["anomaly"]))
        for line in [*summarize_decision(metrics), *summarize_synthetic_images(metrics)]:
            console.print(Text(line))
    for line in _footnotes(metrics, model):
        console.print(Text(line, style="dim"))


def _print_model(model: Metrics, baselines: Mapping[str, Metrics], console: Console) -> None:
    """Metrics as rows; the model, and a few baselines, as columns."""
    from rich.text import Text

    overall = [name for name in CLASSIFICATION_METRICS if name in model]
    overall += [name for name in model if "/" not in name and name not in overall]
    per_class = [name for kind in PER_CLASS for name in model if name.startswith(f"{kind}/")]
    columns = baselines if len(baselines) <= BASELINE_COLUMNS else {}
    table = _empty_table()
    table.add_column("metric", overflow="fold")
    table.add_column("model", style="bold")
    table.add_column(Text("no\nskill"), justify="right")
    for arm in columns:
        table.add_column(Text(arm.replace("_", "\n", 1)), overflow="fold")
    for names in (overall, per_class):
        for name in names:
            row = [format_metric(model[name]), format_number(model[name]["no_skill"])]
            row += [_cell(entries, name) for entries in columns.values()]
            table.add_row(*(Text(cell) for cell in [name, *row]))
        table.add_section()
    console.print(table)
    if baselines and not columns:
        console.print(_arm_table("baseline", baselines))


def _print_ablations(ablations: Mapping[str, Metrics], classes: Sequence[str] | None, console: Console) -> None:
    """Test numbers with information taken away; arms of image series may be narrowed to some classes."""
    from rich.text import Text

    all_classes = {arm: entries for arm, entries in ablations.items() if arm in ALL_CLASSES or not classes}
    narrowed = {arm: entries for arm, entries in ablations.items() if arm not in all_classes}
    if all_classes:
        console.print(_arm_table("ablation", all_classes))
    if narrowed and classes:
        console.print(Text(f"ablations, only samples of {', '.join(classes)}:", style="bold"))
        console.print(_arm_table("ablation", narrowed))
    for arm, entries in ablations.items():
        if note := next((str(entry["note"]) for entry in entries.values() if "note" in entry), None):
            console.print(Text(f"{arm}: {note}.", style="dim"))


def _print_differences(baselines: Mapping[str, Metrics], console: Console) -> None:
    from rich.text import Text

    for arm, entries in baselines.items():
        differences = {
            name.removesuffix("_difference"): e for name, e in entries.items() if name.endswith("_difference")
        }
        if differences:
            line = ", ".join(f"{name} {format_metric(entry)}" for name, entry in differences.items())
            console.print(Text(f"model minus {arm}: {line}"))


def _print_probes(probes: Mapping[str, Mapping[str, Metrics]], console: Console) -> None:
    """AUROC of each probe with each share of the labels, and what it is better by on latent features."""
    arms = dict.fromkeys(arm for entries in probes.values() for arm in entries)
    for title, metric in (("probe: auroc", "auroc"), ("latent minus probe: auroc", "auroc_difference")):
        rows = {
            arm: {
                f"{share} of labels": entries[arm][metric]
                for share, entries in probes.items()
                if metric in entries[arm]
            }
            for arm in arms
        }
        rows = {arm: row for arm, row in rows.items() if row}
        if rows:
            console.print(_table(title, rows))


def _print_subgroups(column: str, values: Mapping[str, Metrics], console: Console) -> None:
    """One row per value of a column, with its patients; then which numbers are suppressed, and why."""
    from rich.text import Text

    names = [name for name in SUBGROUP_METRICS if any(name in entries for entries in values.values())]
    table = _empty_table()
    table.add_column(f"by {column}")
    for name in names:
        table.add_column(Text(name))
        table.add_column(Text("no\nskill"), justify="right")
    for value, entries in values.items():
        cells = [f"{value} ({patient_count(entries)} patients)"]
        for name in names:
            known = name in entries
            cells += [_cell(entries, name), format_number(entries[name]["no_skill"]) if known else "–"]
        table.add_row(*map(Text, cells))
    console.print(table)
    for line in describe_suppressed(values):
        console.print(Text(line, style="dim"))


def _arm_table(title: str, arms: Mapping[str, Metrics]) -> Table:
    """One row per arm, with its main metrics only."""
    names = [name for name in ARM_METRICS if any(name in entries for entries in arms.values())]
    return _table(title, arms, {name: "model minus arm" if name.endswith("_difference") else name for name in names})


def _table(title: str, rows: Mapping[str, Metrics], columns: Mapping[str, str] | None = None) -> Table:
    """One row per arm; `columns`: titles by metric, None for all metrics under their names."""
    from rich.text import Text

    table = _empty_table()
    table.add_column(title)
    columns = {name: name for row in rows.values() for name in row} if columns is None else columns
    for name in columns.values():
        table.add_column(Text(name))
    for arm, row in rows.items():
        table.add_row(*(Text(cell) for cell in (arm, *(_cell(row, name) for name in columns))))
    return table


def _empty_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def _cell(entries: Metrics, name: str) -> str:
    return format_metric(entries[name]) if name in entries else "–"


def _footnotes(metrics: Mapping[str, Any], model: Metrics) -> Iterable[str]:
    """How to read the numbers, and why some are missing, each reason once."""
    yield from metrics.get("contamination") or []
    if extractor := describe_extractor(metrics):
        yield extractor
    lower = [name for name in model if "/" not in name and mode_of(name) == "min"]
    direction = f" {' and '.join(lower)}: lower is better." if lower else ""
    yield f"Brackets: 95 % interval over patients.{direction}"
    by_reason: dict[str, list[str]] = {}
    for name, entry in model.items():
        if entry["value"] is None:
            by_reason.setdefault(str(entry.get("reason", "not computed")), []).append(name)
    yield from (f"– {', '.join(names)}: {reason}." for reason, names in by_reason.items())
