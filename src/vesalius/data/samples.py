"""The sample table: its splits and target columns, and the checks it must pass before anything is trained on it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
#: The `split` of samples that a run has, and leaves out of training.
UNUSED = "unused"


#: Columns that every table has, or may have, for Vesalius itself.
_RESERVED = ("sample_id", "group_id", "split", "target")
#: More values than these are no subgroups but numbers.
MOST_SUBGROUPS = 40


def in_use(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are not `unused`, numbered from 0."""
    return table[table["split"] != UNUSED].reset_index(drop=True)


def target_columns(table: pd.DataFrame) -> list[str]:
    """Names of the target columns that a table has: `target`, or one `target/<class>` for each class."""
    return [name for name in table.columns if name == "target" or str(name).startswith("target/")]


def subgroup_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns to report on: all but ids, split, targets, and those that only the source itself reads."""
    known = {*_RESERVED, *target_columns(table)}
    return [name for name in map(str, table.columns) if name not in known and not name.startswith("_")]


def subgroup_problems(names: Sequence[str], option: str = "data.source") -> list[str]:
    """Sentences on `data.source.subgroups` that no table could have: a name twice, or one that Vesalius uses itself."""
    problems = []
    if len(set(names)) < len(names):
        problems.append(f"`{option}.subgroups` names a column twice: name each once.")
    taken = [name for name in names if name in _RESERVED or name.startswith(("target/", "_"))]
    if taken:
        problems.append(
            f"`{option}.subgroups` may not be called {format_list(taken)}, which Vesalius uses itself: rename the "
            "column(s)."
        )
    return problems


def class_matrix(table: pd.DataFrame, task: Task, classes: Sequence[str]) -> np.ndarray:
    """Which sample is of which class: (n, K), bool; K is 0 without classes. The targets must have been checked."""
    if task in ("regression", "unlabelled"):
        return np.zeros((len(table), 0), dtype=bool)
    if task == "multilabel":
        return table[_expected_columns(task, classes)].to_numpy(dtype=float) > 0.5
    matrix: np.ndarray = table["target"].to_numpy(dtype=int)[:, None] == np.arange(len(classes))
    return matrix


def check_samples(
    table: pd.DataFrame,
    task: Task,
    classes: Sequence[str],
    *,
    before_split: bool = False,
    splits: Sequence[str] = SPLITS,
    learned: bool = True,
) -> None:
    """Refuse a table that no honest result can come from.

    Args:
        table: the sample table.
        task: what the targets mean.
        classes: names of the classes.
        before_split: `split` may still be missing or incomplete, so only contradictions in it are refused.
        splits: the splits that are needed, each with every class.
        learned: the targets are learned and tested; else they need not vary, and splits need not hold each class.

    Raises:
        InputError: with every problem found.
    """
    problems = _identity_problems(table)
    if learned:
        problems += _subgroup_value_problems(table)
    target_problems = _target_problems(table, task, classes)
    split_problems, complete = _split_problems(table, before_split=before_split)
    problems += target_problems + split_problems
    if not target_problems and len(table):
        present = class_matrix(table, task, classes)
        labels = tuple(classes) if learned and task != "regression" else ()
        if learned:
            problems += _constant_problems(table, classes) if task == "regression" else []
            problems += _variety_problems(present, task, classes)
        if complete and not before_split:
            needed = present[:, : len(labels)]
            patients = int(table["group_id"].nunique())
            problems += _coverage_problems(table["split"].to_numpy(), needed, task, labels, splits, patients)
    if problems:
        raise InputError(problems)


def _expected_columns(task: Task, classes: Sequence[str]) -> list[str]:
    if task == "unlabelled":
        return []
    return [f"target/{name}" for name in classes] if task in ("multilabel", "regression") else ["target"]


def _identity_problems(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return ["the data set holds no sample: correct `data.source`."]
    missing = [column for column in ("sample_id", "group_id") if column not in table]
    if missing:
        return [
            f"the sample table has no column {', '.join(f'`{name}`' for name in missing)}: the source must give it."
        ]
    problems = []
    twice = table["sample_id"][table["sample_id"].duplicated()].unique().tolist()
    if twice:
        problems.append(f"{len(twice)} `sample_id`(s) occur more than once: {format_list(twice)}; make each unique.")
    for column in ("sample_id", "group_id"):
        empty = table[column].isna() | (table[column].astype(str) == "")
        if empty.any():
            rows = np.flatnonzero(empty).tolist()
            problems.append(f"{len(rows)} sample(s) have no `{column}` (rows {format_list(rows)}): fill it in.")
    return problems


def _subgroup_value_problems(table: pd.DataFrame) -> list[str]:
    counts = {name: table[name].astype(str).nunique() for name in subgroup_columns(table)}
    return [
        f"`data.source.subgroups`: `{name}` has {count} values, more than the {MOST_SUBGROUPS} that a table can show: "
        "put them into ranges in a column of its own, such as age_group, or leave it out."
        for name, count in counts.items()
        if count > MOST_SUBGROUPS
    ]


def _target_problems(table: pd.DataFrame, task: Task, classes: Sequence[str]) -> list[str]:
    columns = _expected_columns(task, classes)
    missing = [column for column in columns if column not in table]
    if missing:
        return [
            f"the sample table has no column {', '.join(f'`{name}`' for name in missing)}: the source must give it."
        ]
    allowed = np.arange(2 if task == "multilabel" else len(classes))
    problems = []
    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        unlabelled = table[column].isna().to_numpy()
        known = np.isfinite(values) if task == "regression" else np.isin(values, allowed)
        wrong = ~known & ~unlabelled
        ids = table.get("sample_id", pd.Series(range(len(table)), index=table.index))
        if unlabelled.any():
            problems.append(
                f"{unlabelled.sum()} sample(s) have no `{column}`: {format_list(ids[unlabelled].tolist())}; "
                "label them or leave them out."
            )
        if wrong.any():
            found = sorted({str(value) for value in table[column][wrong]})
            wanted = "not a finite number" if task == "regression" else f"not one of 0 to {allowed[-1]}"
            problems.append(
                f"{wrong.sum()} sample(s) have a `{column}` that is {wanted} ({format_list(found)}): "
                f"{format_list(ids[wrong].tolist())}; correct them."
            )
    return problems


def _constant_problems(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    constant = [name for name in names if table[f"target/{name}"].nunique() < 2]
    problem = f"every sample has the same {format_list(constant)}: there is nothing to predict; leave it out."
    return [problem] if constant else []


def _variety_problems(present: np.ndarray, task: Task, classes: Sequence[str]) -> list[str]:
    counts = present.sum(axis=0)
    if task in ("regression", "unlabelled"):
        return []
    if task == "multilabel":
        always = [name for name, count in zip(classes, counts, strict=True) if count == len(present)]
        return [f"every sample is positive for {format_list(always)}: leave that class out."] if always else []
    found = [name for name, count in zip(classes, counts, strict=True) if count]
    if len(found) < 2:
        return [f"every sample is of the class `{found[0]}`: a classifier needs samples of at least two."]
    return []


def _split_problems(table: pd.DataFrame, *, before_split: bool) -> tuple[list[str], bool]:
    """Problems of the split column, and whether it is complete enough to be checked class by class."""
    if "split" not in table or "group_id" not in table:
        return ([] if before_split else ["the sample table has no column `split`."]), False
    problems = []
    split = table["split"]
    unset = split.isna()
    if unset.any() and not before_split:
        problems.append(f"{unset.sum()} sample(s) are in no split: give each one in the split file.")
    unknown = sorted(set(map(str, split[~unset])) - set(SPLITS))
    if unknown:
        problems.append(f"`split` may be {', '.join(SPLITS)}, not {format_list(unknown)}: correct it.")
    pairs = table.loc[~unset, ["group_id", "split"]].astype(str).drop_duplicates()
    pairs = pairs[pairs["group_id"].duplicated(keep=False)]
    straddling = {group: sorted(names) for group, names in pairs.groupby("group_id")["split"]}
    if straddling:
        named = format_list([f"{group!s} ({' and '.join(names)})" for group, names in straddling.items()])
        affected = table["group_id"].astype(str).isin(list(straddling)).sum()
        problems.append(
            f"{len(straddling)} group(s) with {affected} samples are in two splits: {named}; all samples of a group "
            "belong in one."
        )
    return problems, not unset.any() and not unknown


def _coverage_problems(
    split: np.ndarray,
    present: np.ndarray,
    task: Task,
    classes: Sequence[str],
    required: Sequence[str],
    patients: int,
) -> list[str]:
    empty = [name for name in required if not (split == name).any()]
    if empty and patients < len(required):
        who = "a single patient" if patients == 1 else f"{patients} patients"
        return [
            f"all {len(split)} samples are of {who} (`group_id`), and each of the splits {', '.join(required)} needs "
            "patients of its own: name the right column or pattern of the patient in `data.source`."
        ]
    problems = []
    for name in required:
        rows = present[split == name]
        if not len(rows):
            problems.append(f"the split `{name}` is empty: change `data.fractions` so that it gets samples.")
            continue
        absent = [label for label, found in zip(classes, rows.any(axis=0), strict=True) if not found]
        if absent:
            what = "positive sample of" if task == "multilabel" else "sample of"
            named = format_list([f"`{label}`" for label in absent])
            problems.append(
                f"the split `{name}` ({len(rows)} samples) has no {what} {named}: "
                "it takes at least one group of each class in every split; change `data.fractions` or the seed, or "
                "leave the class out."
            )
    return problems
