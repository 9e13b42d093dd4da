"""Rows of a table that cut several samples out of one file."""

import logging

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.samples import target_columns
from vesalius.data.sources.labelled_files import LabelledFiles
from vesalius.data.sources.tables.csv_table import require_columns
from vesalius.data.sources.tables.path_endings import PathEndings

logger = logging.getLogger("vesalius")


def stretch_rows(files: LabelledFiles, key: str | None, first: str, last: str, *, skip: bool) -> pd.DataFrame:
    """A row for each row of the table: `_path`, `_first`, `_last`, and what `Labels.rows` gives.

    Args:
        files: the files and their table.
        key: the column that names the file; None where all rows are about the only one.
        first: the column with the number of the first volume, from 0.
        last: that of the last volume, which belongs to the sample.
        skip: leave out rows without a file or target, and files without a row, and count them in the log.

    Raises:
        InputError: with every row that names no file, or no stretch of volumes, or has no target.
    """
    labels = files.labels
    assert labels is not None
    table = labels.table
    require_columns(table, {"data.source.first": first, "data.source.last": last}, labels.name)
    rows = labels.rows()
    rows["_path"], problems = _files_of(files, table, key)
    for name, column in (("_first", first), ("_last", last)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        rows[name] = numbers.where((numbers >= 0) & (numbers % 1 == 0))
    unclear = rows[["_first", "_last"]].isna().any(axis=1) | (rows["_first"] > rows["_last"])
    if unclear.any():
        problems.append(
            f"{unclear.sum()} row(s) of {labels.name} name no stretch of volumes in `{first}` and `{last}` (whole "
            f"numbers from 0, first not above last): lines {format_list(rows.index[unclear].tolist())}; correct them."
        )
    unlabelled = rows[target_columns(rows)].isna().any(axis=1)
    without_file = rows["_path"].isna()
    unused = sorted(set(files.paths) - set(rows["_path"].dropna()))
    if not skip:
        findings = (
            (rows.index[unlabelled].tolist(), "row(s) of {} have no target (lines {}): fill it in"),
            (rows.index[without_file].tolist(), "row(s) of {} name no file of the folder (lines {}): correct them"),
            (unused, "file(s) have no row in {}: {}; add rows"),
        )
        problems += [
            f"{len(found)} {text.format(labels.name, format_list(found))}, or say data.source.unmatched=skip."
            for found, text in findings
            if found
        ]
    if problems:
        raise InputError(problems)
    left_out = unlabelled | without_file
    if left_out.any() or unused:
        logger.warning("%d row(s) and %d file(s) of the labels are left out.", left_out.sum(), len(unused))
    whole = {"_first": int, "_last": int}
    if labels.task != "regression":
        whole |= dict.fromkeys(target_columns(rows), int)
    kept = rows[~left_out].astype(whole)
    return kept.sort_values(["_path", "_first"], kind="stable").reset_index(drop=True)


def _files_of(files: LabelledFiles, table: pd.DataFrame, key: str | None) -> tuple[pd.Series, list[str]]:
    """The file of each row, None where there is none; and sentences on what is not clear."""
    if key is None:
        if len(files.paths) == 1:
            return pd.Series(files.paths[0], index=table.index, dtype=object), []
        return pd.Series(None, index=table.index, dtype=object), [
            f"the folder holds {len(files.paths)} files ({format_list(files.paths)}): name the column of the labels "
            "that says which in `data.source.key`, or the one file in `data.source.pattern`."
        ]
    endings = PathEndings(files.paths)
    found = {entry: endings.find(entry) for entry in set(table[key])}
    several = sorted(entry for entry, numbers in found.items() if len(numbers) > 1)
    problems = [
        f"{len(several)} `{key}` of the labels fit several files: {format_list(several)}; write longer paths."
    ] * bool(several)
    paths = [files.paths[found[entry][0]] if found[entry] else None for entry in table[key]]
    return pd.Series(paths, index=table.index, dtype=object), problems
