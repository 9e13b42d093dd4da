"""Targets from the cells of a table: class indices, 0/1 columns, or continuous targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.sources.tables.cell_values import NO_CLASS, check_stand_ins, is_missing, plain_cell, replace_cells
from vesalius.data.sources.vocabulary import spelt_alike

TaskOption = Literal["auto", "binary", "multiclass", "multilabel", "ordinal", "regression"]

_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})
_MANY_CLASSES = 20  # a column with more numbers, or with few rows per word, is probably not one of classes
_ROWS_PER_CLASS = 5


@dataclass(frozen=True)
class Targets:
    """The targets of a table.

    Attributes:
        task: the meaning of the targets.
        classes: names of the classes, or of the continuous targets.
        columns: `target`, or `target/<class>` for each class, as floats; NaN where the cell is empty. The index is that
            of the table.
    """

    task: Task
    classes: tuple[str, ...]
    columns: pd.DataFrame


def read_targets(
    table: pd.DataFrame,
    target: Sequence[str],
    *,
    classes: Sequence[object] | None,
    task: TaskOption,
    separator: str | None,
    replace: Mapping[str, str | None],
    option: str,
) -> Targets:
    """Read the targets; see `Labels` for the options.

    Args:
        table: cells as texts; the index numbers the lines of the file.
        target: names of target columns of the table; empty for data without labels.
        classes: names in the order wanted.
        task: the meaning of the targets; `auto` infers it.
        separator: between the names in a cell.
        replace: what cells (or names between separators) are read as; None for no value.
        option: prefix of config keys in messages.

    Raises:
        InputError: with every cell that cannot be a target, by its line.
    """
    if not target:
        set_anyway = {"classes": classes is not None, "task": task != "auto", "separator": separator is not None}
        set_anyway["replace"] = bool(replace)
        named = [f"`{option}.{name}`" for name, is_set in set_anyway.items() if is_set]
        if named:
            raise InputError(f"{', '.join(named)} need(s) a target: name its column in `{option}.target`.")
        return Targets("unlabelled", (), pd.DataFrame(index=table.index))
    names = None if classes is None else _class_names(classes, option)
    table, meant = replace_cells(table[list(target)], replace, separator, option)
    if names is None and (len(target) == 1 or task == "regression"):
        check_stand_ins(table, meant, separator, option, continuous=task == "regression")
    if task == "regression":
        return _continuous_targets(table[list(target)], names, separator, option)
    if separator is not None:
        return _several_names(table, target, names, task, separator, option)
    if len(target) > 1:
        return _yes_no_columns(table[list(target)], names, task, option)
    if task == "multilabel":
        raise InputError(
            f"`{option}.task=multilabel` needs several columns in `{option}.target`, or a `{option}.separator` "
            "between the names in its cells."
        )
    return _one_class(table[target[0]], names, task, option)


def _class_names(classes: Sequence[object], option: str) -> list[str]:
    truths = [name for name in classes if isinstance(name, bool)]
    if truths:
        raise InputError(
            f"`{option}.classes` has the truth value {truths[0]}, since YAML takes bare yes, no, true and false "
            "for that: put the names in quotes."
        )
    names = [plain_cell(str(name).strip()) for name in classes]
    problems = []
    if len(set(names)) < len(names):
        problems.append(f"`{option}.classes` names a class twice: name each once.")
    if len(names) < 2:
        problems.append(f"`{option}.classes={names}`: a classifier needs at least two.")
    if problems:
        raise InputError(problems)
    return names


def _numbers(cells: Sequence[str]) -> np.ndarray:
    """The cells as finite floats; NaN where a cell is no finite number."""
    values = np.asarray(pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce"), dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _one_class(cells: pd.Series, names: list[str] | None, task: TaskOption, option: str) -> Targets:
    column = cells.name
    cells = cells.map(plain_cell)
    missing = is_missing(cells, names)
    found = cells[~missing]
    if names is None:
        names = _sorted_classes(found, str(column), task, option)
    unknown = found[~found.isin(names)]
    if len(unknown):
        raise InputError(_describe_unknown(unknown, names, str(column), option))
    if task == "binary" and len(names) != 2:
        raise InputError(
            f"`{option}.task=binary`, but there are {len(names)} classes ({format_list(names)}): leave it out."
        )
    number_of = {name: number for number, name in enumerate(names)}
    values = np.array([np.nan if gap else number_of[cell] for cell, gap in zip(cells, missing, strict=True)], float)
    meant: Task = task if task != "auto" else "binary" if len(names) == 2 else "multiclass"
    return Targets(meant, tuple(names), pd.DataFrame({"target": values}, index=cells.index))


def _sorted_classes(found: pd.Series, column: str, task: TaskOption, option: str) -> list[str]:
    """The classes that a column holds, in order: numbers by value, words by letter."""
    names = sorted(found.unique().tolist())
    if len(names) < 2:
        only = f" is `{names[0]}` throughout" if names else " is empty throughout"
        raise InputError(f"`{option}.target={column}`{only}: a classifier needs samples of at least two classes.")
    values = _numbers(names)
    numeric = not np.isnan(values).any()
    many = len(names) > _MANY_CLASSES
    if task == "auto" and numeric and (many or (values % 1 != 0).any()):
        raise InputError(
            f"`{option}.target={column}` holds {len(names)} different numbers: for a continuous target, set "
            f"{option}.task=regression; if they are names of classes, {option}.task=multiclass."
        )
    if task == "auto" and many and len(names) * _ROWS_PER_CLASS > len(found):
        raise InputError(
            f"`{option}.target={column}` holds {len(names)} different names in {len(found)} rows: name the column of "
            f"the classes, or set {option}.task=multiclass if this is it."
        )
    if task == "ordinal" and not numeric:
        raise InputError(
            f"`{option}.task=ordinal` needs the order of {format_list(names)}: give it as `{option}.classes=[lowest, "
            "...]`."
        )
    _check_spellings(names, column, option)
    return [names[position] for position in np.argsort(values, kind="stable")] if numeric else names


def _check_spellings(names: Sequence[str], column: str, option: str) -> None:
    """Refuse names that look like one class spelt in several ways."""
    alike = spelt_alike(names)
    if alike:
        found = format_list([" and ".join(group) for group in alike])
        raise InputError(
            f"`{option}.target={column}` spells classes in several ways ({found}): read each as one, by "
            f"'{option}.replace={{{alike[0][0]}: {alike[0][1]}}}' or in the table, or list all in `{option}.classes` "
            "if they are different classes."
        )


def _describe_unknown(unknown: pd.Series, names: Sequence[str], column: str, option: str) -> str:
    odd = sorted(unknown.unique().tolist())
    lines = [f"{cell} (line {unknown.index[unknown == cell][0]})" for cell in odd]
    return (
        f"`{option}.classes` lacks {len(odd)} name(s) that `{column}` holds: {format_list(lines)}; add or correct them."
        f"{did_you_mean(odd[0], names)}"
    )


def _several_names(
    table: pd.DataFrame,
    target: Sequence[str],
    names: list[str] | None,
    task: TaskOption,
    separator: str,
    option: str,
) -> Targets:
    if len(target) > 1 or task not in ("auto", "multilabel") or not separator:
        raise InputError(
            f"`{option}.separator={separator}` means several class names in each cell of one column: "
            f"leave it out, or give one `{option}.target` and no `{option}.task`."
        )
    cells = table[target[0]]
    missing = is_missing(cells, names)
    parts = [[plain_cell(part.strip()) for part in cell.split(separator)] for cell in cells]
    labels = [{part for part in row if part and part.lower() != NO_CLASS} for row in parts]
    rows = [
        (line, label) for line, row, gap in zip(cells.index, labels, missing, strict=True) if not gap for label in row
    ]
    found = pd.Series([label for _, label in rows], index=[line for line, _ in rows], dtype=object)
    if names is None:
        names = sorted(found.unique().tolist())
        _check_spellings(names, target[0], option)
    if len(names) < 2:
        raise InputError(
            f"`{option}.target={target[0]}` holds fewer than two names between `{separator}`: correct the separator."
        )
    unknown = found[~found.isin(names)]
    if len(unknown):
        advice = f" Write `{NO_CLASS}` in a cell without any of the classes."
        raise InputError(_describe_unknown(unknown, names, target[0], option) + advice)
    columns = {f"target/{name}": np.where(missing, np.nan, [float(name in row) for row in labels]) for name in names}
    return Targets("multilabel", tuple(names), pd.DataFrame(columns, index=table.index))


def _yes_no_columns(cells: pd.DataFrame, names: list[str] | None, task: TaskOption, option: str) -> Targets:
    if task not in ("auto", "multilabel"):
        raise InputError(f"`{option}.task={task}` takes one target column, not {len(cells.columns)}.")
    if names is not None and names != list(cells.columns):
        raise InputError(f"`{option}.classes`: the names of several target columns are the classes: leave it out.")
    columns, problems = {}, []
    for name in cells.columns:
        plain = cells[name].map(plain_cell).str.lower()
        values = np.where(plain.isin(_YES), 1.0, np.where(plain.isin(_NO), 0.0, np.nan))
        odd = np.isnan(values) & ~is_missing(plain, None)
        if odd.any():
            found = sorted(cells[name][odd].unique().tolist())
            problems.append(
                f"`{name}` must be 0 or 1 but holds {format_list(found)} (lines "
                f"{format_list(cells.index[odd].tolist())}): write 0 or 1, or give the meaning as "
                f"'{option}.replace={{{found[0]}: 0}}' (null for no value)."
            )
        columns[f"target/{name}"] = values
    if problems:
        raise InputError(problems)
    return Targets("multilabel", tuple(map(str, cells.columns)), pd.DataFrame(columns, index=cells.index))


def _continuous_targets(cells: pd.DataFrame, names: list[str] | None, separator: str | None, option: str) -> Targets:
    if names is not None or separator is not None:
        raise InputError(f"`{option}.task=regression` takes no `classes` and no `separator`: leave them out.")
    columns, problems = {}, []
    for name in cells.columns:
        values = _numbers(cells[name].tolist())
        odd = np.isnan(values) & ~is_missing(cells[name], None)
        if odd.any():
            found = sorted(cells[name][odd].unique().tolist())
            cure = "write a decimal point" if all("," in cell for cell in found) else "correct or empty these cells"
            problems.append(
                f"`{name}` must be a finite number but holds {format_list(found)} "
                f"(lines {format_list(cells.index[odd].tolist())}): {cure}."
            )
        columns[f"target/{name}"] = values
    if problems:
        raise InputError(problems)
    return Targets("regression", tuple(map(str, cells.columns)), pd.DataFrame(columns, index=cells.index))
