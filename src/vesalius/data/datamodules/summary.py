"""What was understood of a data set, in a few lines: classes, patients, splits, units, and what was passed over."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from vesalius.data.samples import SPLITS, UNUSED, class_matrix, target_columns
from vesalius.data.sources.base import Source
from vesalius.terminal import command_console

_MOST_ROWS = 20
_UNITS = {None: "images", "slice": "images", "volume": "volumes", "time_series": "time series"}


def print_data(source: Source) -> Callable[[pd.DataFrame], None]:
    """A function that prints `describe_data` of a split table."""

    def show(table: pd.DataFrame) -> None:
        text = "\n".join(describe_data(table, source))
        command_console().print(text, soft_wrap=True, highlight=False, markup=False)

    return show


def describe_data(table: pd.DataFrame, source: Source) -> list[str]:
    """The samples of a source as it understood them.

    Args:
        table: the split sample table.
        source: where it comes from.

    Returns:
        Lines: samples and patients in all, in each split, and of each class (of `multilabel`, positive ones); the range
        of each continuous target; then the number of files and rows that no sample comes from, by kind.
    """
    split = table["split"].astype(object).where(table["split"].notna(), "").to_numpy()
    names = [name for name in (*SPLITS, UNUSED) if (split == name).any()]
    what = "time series" if source.unit is None and source.series else _UNITS[source.unit]
    patients = table["group_id"].astype(str).to_numpy()
    lines = [f"Data: {source.task}, {len(table)} {what}" + _patients_line(patients)]
    rows = [
        ("", ["in all", *names]),
        ("samples (patients)", _cells(np.ones(len(table), dtype=bool), split, patients, names)),
    ]
    if table[target_columns(table)].notna().all(axis=None):
        classes = class_matrix(table, source.task, source.classes)
        order = range(min(classes.shape[1], _MOST_ROWS))
        rows += [(f"  {source.classes[k]}", _cells(classes[:, k], split, patients, names)) for k in order]
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(names) + 1)]
    margin = max(len(title) for title, _ in rows)
    lines += [
        f"{title:{margin}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for title, cells in rows
    ]
    if len(source.classes) > _MOST_ROWS:
        lines.append(f"  and {len(source.classes) - _MOST_ROWS} more classes")
    if source.task == "regression":
        lines += [
            f"  {name}: {values.min():g} to {values.max():g}, median {values.median():g}"
            for name in source.classes
            for values in [table[f"target/{name}"]]
        ]
    if source.passed_over:
        counts = ", ".join(f"{kind} ({count})" for kind, count in source.passed_over.items())
        lines.append(f"Passed over: {counts}.")
    return lines


def _patients_line(patients: np.ndarray) -> str:
    count = len(set(patients))
    return ", each taken for a patient of its own." if count == len(patients) else f" of {count} patients."


def _cells(wanted: np.ndarray, split: np.ndarray, patients: np.ndarray, names: Sequence[str]) -> list[str]:
    """Samples and patients of some rows, in all and in each split."""
    parts = [wanted, *(wanted & (split == name) for name in names)]
    return [f"{int(part.sum())} ({len(set(patients[part]))})" for part in parts]
