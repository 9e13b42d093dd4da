"""Test metrics of parts of the patients: by site, scanner, sex, or whatever the data name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.entry import MetricEntry, missing_entry
from vesalius.metrics.names import OVERALL_ONLY

#: Begins the names of columns of a predictions table that hold subgroups.
PREFIX = "subgroup/"
#: Fewest patients of each class that a metric counts over: with less, an interval is wider than any difference that
#: could be shown, and single patients can be recognised.
FEWEST_PATIENTS = 5
#: What an empty cell is called.
UNKNOWN = "(unknown)"

Entries = dict[str, MetricEntry]


def subgroup_metrics(
    table: pd.DataFrame, task: Task, classes: Sequence[str], score: Callable[[pd.DataFrame], Entries]
) -> dict[str, dict[str, Entries]]:
    """Metrics by column and value, in the order of the values' names.

    A metric over fewer than `FEWEST_PATIENTS` patients of any class that it counts is suppressed: its entry is there,
    without value and interval, and with the reason.

    Args:
        table: a predictions table; its columns `subgroup/<name>` hold the values.
        task: as in `Facts`.
        classes: names of the classes or continuous targets.
        score: metrics of some rows of the table.

    Returns:
        Overall metrics and, of classes, `recall/<class>`; empty where the table names no subgroups.
    """
    columns = [name for name in map(str, table.columns) if name.startswith(PREFIX)]
    found: dict[str, dict[str, Entries]] = {}
    for column in columns:
        values = table[column].fillna("").astype(str).replace("", UNKNOWN)
        found[column.removeprefix(PREFIX)] = {
            value: _of_value(table[values == value].reset_index(drop=True), task, classes, score)
            for value in sorted(values.unique())
        }
    return found


def _of_value(
    part: pd.DataFrame, task: Task, classes: Sequence[str], score: Callable[[pd.DataFrame], Entries]
) -> Entries:
    patients = patients_by_class(part, task, classes)
    entries = {
        name: entry for name, entry in score(part).items() if "/" not in name or name.split("/")[0] in ("recall", "mae")
    }
    return {name: _suppressed(name, entry, part, patients) or entry for name, entry in entries.items()}


def patients_by_class(table: pd.DataFrame, task: Task, classes: Sequence[str]) -> dict[str, int]:
    """Number of patients with samples of each class; empty for continuous targets.

    Args:
        table: a predictions table.
        task: as in `Facts`.
        classes: names of the classes.
    """
    if task == "regression":
        return {}
    if task == "multilabel":
        members = {name: (table[f"target/{name}"] > 0.5).to_numpy() for name in classes}
    else:
        members = {name: (table["target"] == number).to_numpy() for number, name in enumerate(classes)}
    return {name: int(table["group_id"][rows].nunique()) for name, rows in members.items()}


def _suppressed(name: str, entry: MetricEntry, part: pd.DataFrame, patients: Mapping[str, int]) -> MetricEntry | None:
    """The entry without its numbers where they rest on too few patients; None where they do not."""
    everyone = int(part["group_id"].nunique())
    metric, _, label = name.partition("/")
    counted = [label] if label in patients else [] if metric in OVERALL_ONLY else list(patients)
    if everyone < FEWEST_PATIENTS:  # one reason for all
        counted = []
    counts = {"": everyone, **{f" of class {one}": patients[one] for one in counted}}
    which, fewest = min(counts.items(), key=lambda pair: pair[1])
    if fewest >= FEWEST_PATIENTS:
        return None
    reason = f"suppressed: {fewest} patients{which}, fewer than {FEWEST_PATIENTS}"
    return missing_entry(reason, n=entry["n"], groups=entry["groups"], no_skill=None)


def patient_count(entries: Mapping[str, Mapping[str, Any]]) -> int:
    """Number of patients that a value's metrics rest on."""
    return max((int(entry["groups"]) for entry in entries.values()), default=0)


def describe_suppressed(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """One sentence for each value of a column of which numbers are missing: which, and why.

    Args:
        values: metrics by value.
    """
    lines = []
    for value, entries in values.items():
        by_reason: dict[str, list[str]] = {}
        for name, entry in entries.items():
            if entry["value"] is None:
                by_reason.setdefault(str(entry.get("reason", "not computed")), []).append(name)
        every = len(by_reason) == 1 and all(entry["value"] is None for entry in entries.values())
        parts = [f"{'all numbers' if every else ', '.join(names)} {reason}" for reason, names in by_reason.items()]
        lines += [f"{value}: {'; '.join(parts)}."] if parts else []
    return lines


def subgroup_values(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns of a sample table to report on, as a predictions table holds them.

    Args:
        rows: of a sample table.
        columns: their names.
    """
    return pd.DataFrame({f"{PREFIX}{name}": rows[name].to_numpy(dtype=object) for name in columns}, index=rows.index)
