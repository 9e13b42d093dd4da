"""A table of targets, and how it is joined to samples by a key."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.samples import subgroup_problems, target_columns
from vesalius.data.sources.patients import unify_patients
from vesalius.data.sources.tables.csv_table import read_table, require_columns
from vesalius.data.sources.tables.path_endings import PathEndings
from vesalius.data.sources.tables.target_cells import TaskOption, read_targets
from vesalius.data.sources.vocabulary import SPLIT_WORDS, missing_patients, plain_spelling

logger = logging.getLogger("vesalius")


class Labels:
    """A CSV or TSV table of targets, joined to samples by a key.

    Class names are the trimmed texts of the cells. Without `classes` they are sorted, numbers by value; of two classes
    the second is the positive one. A row whose target is empty or NA has no label.

    Args:
        path: the table.
        key: its column with the key of the samples; several rows of one key must agree. None: the rows are not joined.
        target: its column with the class or continuous target; or several columns, of 0 and 1 (a class each,
            `multilabel`) or of numbers (with `task="regression"`). None: the table has no targets, and the task is
            `unlabelled`.
        classes: the classes in the order wanted (lowest grade first, for `ordinal`).
        task: the meaning of the targets. `auto` takes two classes as `binary`, more as `multiclass`, several columns or
            a separator as `multilabel`, and never infers `regression`.
        group: the column with the patient.
        split: the column with train, val or test (see `SPLIT_WORDS` for other words; empty for no split).
        subgroups: columns to report on.
        separator: between the names in a cell of several classes; such a cell without any class holds `none`.
        replace: what cells of the target are read as, such as `{-1: null, Benign: benign}`; null for no value.
        option: prefix of config keys in messages.
        table_option: the config key of the table, after the prefix.
        key_option: the config key of the key's column, after the prefix.

    Attributes:
        task: the meaning of the targets.
        classes: names of the classes, or of the continuous targets.
        name: the file name of the table, for messages.
        table: every cell as text; the index numbers the lines of the file.
        left_out: after `join`, the number of samples without a row and of rows without a sample, by kind.

    Raises:
        InputError: with every problem of the table.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key: str | None,
        target: str | Sequence[str] | None,
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        group: str | None = None,
        split: str | None = None,
        subgroups: Sequence[str] = (),
        separator: str | None = None,
        replace: Mapping[str, str | None] | None = None,
        option: str = "data.source",
        table_option: str = "labels",
        key_option: str = "key",
    ) -> None:
        path = Path(path).expanduser()
        self.table = read_table(path, option=f"{option}.{table_option}")
        self.name, self._key, self._option = path.name, key, option
        self._key_option = f"{option}.{key_option}"
        self.left_out: dict[str, int] = {}
        wanted = [target] if isinstance(target, str) else list(target or ())
        _check_names(None if target is None else wanted, subgroups, option)
        columns = {self._key_option: key, f"{option}.group": group, f"{option}.split": split}
        columns |= {
            f"{option}.target[{number}]" if len(wanted) > 1 else f"{option}.target": name
            for number, name in enumerate(wanted)
        }
        columns |= {f"{option}.subgroups[{number}]": name for number, name in enumerate(subgroups)}
        require_columns(self.table, {name: column for name, column in columns.items() if column is not None}, self.name)

        notes, problems = self._notes(group, split, subgroups)
        try:
            targets = read_targets(
                self.table,
                wanted,
                classes=classes,
                task=task,
                separator=separator,
                replace=replace or {},
                option=option,
            )
        except InputError as error:
            raise InputError([*problems, *error.problems]) from None
        if problems:
            raise InputError(problems)
        self.task, self.classes = targets.task, targets.classes
        self._values = pd.concat([targets.columns, notes], axis=1)
        if self.task == "binary" and classes is None:
            logger.info("binary: `%s` is the positive class; %s.classes turns it round.", self.classes[1], option)

    def rows(self) -> pd.DataFrame:
        """Every row by itself: the columns that `join` returns, NaN where a target is empty; index as in `table`."""
        return self._values.copy()

    def join(
        self,
        keys: Sequence[str],
        *,
        what: str = "series",
        unmatched: Literal["error", "skip"] = "error",
        endings: bool = False,
    ) -> pd.DataFrame:
        """The labels of samples.

        Args:
            keys: the key of each sample; several samples may share one.
            what: what the samples are, in the plural, for messages.
            unmatched: `skip` leaves NaN targets to samples without a label, for the caller to drop, and skips rows
                without a sample and rows without a target; both are counted in the log.
            endings: the keys are relative paths, and the table may hold ends of them, or folders (see `PathEndings`).

        Returns:
            A frame whose row i belongs to `keys[i]`: `target` or `target/<class>` (whole numbers, except for
            `regression` or where any is NaN), and `group_id`, `split` (None where the cell is empty) and the subgroups,
            as far as the options name their columns.

        Raises:
            InputError: with keys without a row, rows without a key, rows without a target, and rows of one key that
                contradict each other.
        """
        keys = [str(key).strip() for key in keys]
        values = self._values
        columns = target_columns(values)
        unlabelled = values[columns].isna().any(axis=1).to_numpy()
        problems = []
        if unlabelled.any() and unmatched == "error":
            lines = values.index[unlabelled].tolist()
            problems.append(
                f"{len(lines)} row(s) of {self.name} have no target (lines {format_list(lines)}): fill it in, delete "
                f"them, or say {self._option}.unmatched=skip."
            )
        places, row_keys, ambiguous = self._row_keys(keys, endings=endings)
        if ambiguous:
            problems.append(
                f"{len(ambiguous)} row(s) of {self.name} fit several {what}: {format_list(ambiguous)}; write longer "
                "paths."
            )
        labelled = values.iloc[places].assign(_key=row_keys)[~unlabelled[places]]
        labelled = labelled.drop_duplicates()
        problems += self._contradictions(labelled, columns)
        problems += self._unmatched(keys, labelled["_key"], set(row_keys), what, skip=unmatched == "skip")
        if problems:
            raise InputError(problems)
        joined = labelled.set_index("_key").reindex(keys).reset_index(drop=True)
        return joined if joined[columns].isna().any(axis=None) else whole_targets(joined, self.task)

    def _row_keys(self, keys: Sequence[str], *, endings: bool) -> tuple[list[int], list[str], list[str]]:
        """The rows by number and the key of each, as the samples write it, and cells that may mean several samples.

        A row that is about a folder comes once for each sample in it.
        """
        cells = self.table[self._key].tolist()
        if not endings:
            return list(range(len(cells))), cells, []
        paths_of, ambiguous = PathEndings(sorted(set(keys))).resolve(cells)
        pairs = [(row, path) for row, cell in enumerate(cells) for path in paths_of.get(cell, [cell])]
        return [row for row, _ in pairs], [path for _, path in pairs], ambiguous

    def _notes(self, group: str | None, split: str | None, subgroups: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
        """The columns next to the targets, and the problems of these and of the key."""
        notes = pd.DataFrame(index=self.table.index)
        problems = []
        for column in dict.fromkeys(name for name in (self._key, group) if name is not None):
            cells = self.table[column]
            missing = missing_patients(cells.tolist()) if column == group else (cells == "").tolist()
            empty = self.table.index[missing].tolist()
            if empty:
                problems.append(
                    f"{len(empty)} row(s) of {self.name} have no `{column}` (lines {format_list(empty)}): fill it in."
                )
        if group is not None:
            patients = unify_patients(self.table[group].tolist(), self.table.index.tolist(), where="lines")
            notes["group_id"] = pd.Series(patients, index=self.table.index, dtype=object)
        if split is not None:
            notes["split"] = self._splits(self.table[split], problems)
        for name in subgroups:
            notes[name] = self.table[name]
        return notes, problems

    def _splits(self, cells: pd.Series, problems: list[str]) -> pd.Series:
        splits = cells.str.lower().map(SPLIT_WORDS).astype(object)
        odd = splits.isna() & (cells != "")
        if odd.any():
            found = sorted(cells[odd].unique().tolist())
            problems.append(
                f"`{cells.name}` of {self.name} may be train, val, test or empty, not {format_list(found)}: correct it."
            )
        return splits.where(splits.notna(), None)

    def _contradictions(self, labelled: pd.DataFrame, targets: Sequence[str]) -> list[str]:
        """Sentences on keys whose rows differ."""
        doubled = labelled[labelled["_key"].duplicated(keep=False)]
        if doubled.empty:
            return []
        differing = doubled.groupby("_key", sort=True).nunique(dropna=False) > 1
        problems = []
        for what, columns in {
            "target": list(targets),
            **{name: [name] for name in labelled.columns if name not in (*targets, "_key")},
        }.items():
            found = differing.index[differing[columns].any(axis=1)].tolist()
            if found:
                problems.append(
                    f"{self.name} contradicts itself on the {what} of {len(found)} `{self._key}`: "
                    f"{format_list(found)}; keep what is right."
                )
        return problems

    def _unmatched(
        self, keys: Sequence[str], labelled: pd.Series, all_rows: set[str], what: str, *, skip: bool
    ) -> list[str]:
        """Sentences on keys without a row and rows without a key; counts in the log where they are skipped."""
        present = set(keys)
        without_row = sorted(present - (set(labelled) if skip else all_rows))
        without_key = sorted(all_rows - present)
        samples = int(np.isin(keys, without_row).sum()) if without_row else 0
        if skip:
            counts = {f"{what} without a label": samples, f"`{self._key}` that match nothing": len(without_key)}
            self.left_out = {kind: count for kind, count in counts.items() if count}
            if without_row or without_key:
                logger.warning(
                    "%d %s have no label and are left out; %d key(s) of the labels match nothing.",
                    samples,
                    what,
                    len(without_key),
                )
            if len(without_row) < len(present):
                return []
        problems = []
        cure = f"correct `{self._key_option}={self._key}` or the table, or set {self._option}.unmatched=skip"
        if without_row:
            problems.append(
                f"{self.name} has no row for {samples} {what}, by `{self._key}`: {format_list(without_row)}; {cure}."
            )
        if without_key:
            problems.append(
                f"{len(without_key)} `{self._key}` of {self.name} match none of the {what}: "
                f"{format_list(without_key)}; {cure}."
            )
        return self._near_matches(without_row, without_key) + problems

    def _near_matches(self, keys: Sequence[str], cells: Sequence[str]) -> list[str]:
        """Sentences on keys and cells that are spelt alike: the likeliest cause, so they come first."""
        plain = {plain_spelling(cell): cell for cell in cells}
        of_kind: dict[str, list[str]] = {}
        for key in keys:
            cell = plain.get(plain_spelling(key))
            if cell is not None:
                of_kind.setdefault(_difference(cell, key), []).append(f"{cell} and {key}")
        return [
            f"{len(pairs)} `{self._key}` of {self.name} differ in {kind} from those of the data: {format_list(pairs)}; "
            "write them alike."
            for kind, pairs in of_kind.items()
        ]


def _difference(cell: str, key: str) -> str:
    """In what two spellings of a key differ."""
    if cell.casefold() == key.casefold():
        return "upper and lower case"
    if cell.lstrip("0") == key.lstrip("0"):
        return "zeros in front, which Excel removes"
    if re.sub(r"\.0+$", "", cell) == re.sub(r"\.0+$", "", key):
        return "a `.0` at the end, which pandas adds to a column with gaps"
    return "spaces, hyphens, zeros or the like"


def whole_targets(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The table with its targets as whole numbers, except for `regression`; no target may be missing."""
    return table if task == "regression" else table.astype(dict.fromkeys(target_columns(table), int))


def columns_without_table(options: Mapping[str, object]) -> list[str]:
    """A sentence on options that name columns although there is no table.

    Args:
        options: by their names below `data.source`; None, empty, `auto` and `none` count as not set.
    """
    set_anyway = [name for name, value in options.items() if value not in (None, "auto", "none") and value]
    if not set_anyway:
        return []
    named = ", ".join(f"`data.source.{name}`" for name in set_anyway)
    return [f"{named} name(s) columns of a table: set `data.source.labels` too, or leave it out."]


def _check_names(target: Sequence[str] | None, subgroups: Sequence[str], option: str) -> None:
    problems = []
    if target is not None and not target:
        problems.append(
            f"`{option}.target` names no column: name the one with the class or continuous target, or set it to "
            "null for data without labels."
        )
    if len(set(target or ())) < len(target or ()):
        problems.append(f"`{option}.target` names a column twice: name each once.")
    problems += subgroup_problems(subgroups, option)
    if problems:
        raise InputError(problems)
