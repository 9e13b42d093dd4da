"""Rows of a table that cut several samples out of one file over time."""

import logging

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.samples import target_columns
from vesalius.data.sources.tables.csv_table import require_columns
from vesalius.data.sources.tables.labels import Labels, whole_targets
from vesalius.data.sources.tables.path_endings import PathEndings

logger = logging.getLogger("vesalius")


def segment_rows(
    labels: Labels, paths: list[str], key: str | None, first: str, last: str, *, skip: bool
) -> pd.DataFrame:
    """One row per row of the table: `_path`, `_first`, `_last`, and the columns of `Labels.rows`.

    Args:
        labels: the table.
        paths: of all files, relative to the root.
        key: the column that names the file; None where all rows are about the only one.
        first: the column with the number of the first volume, from 0.
        last: that of the last volume, which is part of the sample.
        skip: leave out rows without a file or target, and files without a row, and count them in the log.

    Raises:
        InputError: with every row that names no file or no segment of volumes, or has no target.
    """
    table = labels.table
    require_columns(table, {"data.source.first": first, "data.source.last": last}, labels.name)
    rows = labels.rows()
    rows["_path"], problems = _find_files(paths, table, key)
    for name, column in (("_first", first), ("_last", last)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        rows[name] = numbers.where((numbers >= 0) & (numbers % 1 == 0))
    unclear = rows[["_first", "_last"]].isna().any(axis=1) | (rows["_first"] > rows["_last"])
    if unclear.any():
        problems.append(
            f"{unclear.sum()} row(s) of {labels.name} name no segment of volumes in `{first}` and `{last}` (whole "
            f"numbers from 0, first not above last): lines {format_list(rows.index[unclear].tolist())}; correct them."
        )
    unlabelled = rows[target_columns(rows)].isna().any(axis=1)
    without_file = rows["_path"].isna()
    unused = sorted(set(paths) - set(rows["_path"].dropna()))
    if not skip:
        findings = (
            (rows.index[unlabelled].tolist(), "row(s) of {} have no target (lines {}): fill it in"),
            (rows.index[without_file].tolist(), "row(s) of {} name no file of the folder (lines {}): correct them"),
            (unused, "file(s) have no row in {}: {}; add rows"),
        )
        problems += [
            f"{len(found)} {text.format(labels.name, format_list(found))}, or set data.source.unmatched=skip."
            for found, text in findings
            if found
        ]
    if problems:
        raise InputError(problems)
    left_out = unlabelled | without_file
    if left_out.any() or unused:
        logger.warning("%d row(s) and %d file(s) of the labels are left out.", left_out.sum(), len(unused))
    used = whole_targets(rows[~left_out].astype({"_first": int, "_last": int}), labels.task)
    return used.sort_values(["_path", "_first"], kind="stable").reset_index(drop=True)


def _find_files(paths: list[str], table: pd.DataFrame, key: str | None) -> tuple[pd.Series, list[str]]:
    """The file of each row (None if no file fits), and sentences on problems."""
    if key is None:
        if len(paths) == 1:
            return pd.Series(paths[0], index=table.index, dtype=object), []
        return pd.Series(None, index=table.index, dtype=object), [
            f"the folder holds {len(paths)} files ({format_list(paths)}): name the column of the labels with the "
            "file's path in `data.source.key`, or the one file in `data.source.pattern`."
        ]
    paths_of, ambiguous = PathEndings(paths).resolve(table[key])
    ambiguous += sorted(cell for cell, found in paths_of.items() if len(found) > 1)
    problems = [
        f"{len(ambiguous)} `{key}` of the labels fit several files: {format_list(ambiguous)}; write longer paths."
    ] * bool(ambiguous)
    return table[key].map({cell: found[0] for cell, found in paths_of.items()}.get).astype(object), problems
