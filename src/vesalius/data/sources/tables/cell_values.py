"""Cells of targets: how they are written, what they are to be read as, and which probably hold no value."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.data.sources.vocabulary import MISSING_WORDS, stand_ins

#: What a cell of several classes holds where it has none of them.
NO_CLASS = "none"
_WHOLE = re.compile(r"([+-]?\d+)\.0+")  # 1.0: a 1 as programs write it once a column has gaps


def plain_cell(cell: str) -> str:
    """A cell as all programs would write it: 1.0 is 1."""
    whole = _WHOLE.fullmatch(cell)
    return whole.group(1) if whole else cell


def is_missing(cells: pd.Series, names: Sequence[str] | None) -> np.ndarray:
    """Which cells hold a word for no value, or nothing; names of classes are none."""
    missing: np.ndarray = cells.str.lower().isin(MISSING_WORDS).to_numpy()
    return missing if names is None else missing & ~cells.isin(list(names)).to_numpy()


def replace_cells(
    table: pd.DataFrame, replace: Mapping[str, str | None], separator: str | None, option: str
) -> tuple[pd.DataFrame, set[str]]:
    """Read cells, or the names between separators, as others.

    Args:
        table: the columns of the target.
        replace: what each is read as; None for no value. Cells that it does not name stay.
        separator: between the names in a cell; None where a cell is one.
        option: prefix of config keys in messages.

    Returns:
        The table, and the values that the user has meant.

    Raises:
        InputError: for a cell that does not occur, or a truth value.
    """
    truths = [value for pair in replace.items() for value in pair if isinstance(value, bool)]
    if truths:
        raise InputError(
            f"`{option}.replace` has the truth value {truths[0]}, since YAML takes bare yes, no, true and false for "
            "that: put the names in quotes."
        )
    read_as = {
        plain_cell(str(cell).strip()): "" if value is None else plain_cell(str(value).strip())
        for cell, value in replace.items()
    }
    if not read_as:
        return table, set()
    used: set[str] = set()

    def read(cell: str) -> str:
        parts = [plain_cell(part.strip()) for part in (cell.split(separator) if separator else [cell])]
        used.update(parts)
        return (separator or "").join(part for part in (read_as.get(part, part) for part in parts) if part)

    table = table.apply(lambda cells: cells.map(read))
    absent = [cell for cell in read_as if cell not in used]
    if absent:
        raise InputError(
            f"`{option}.replace` names {format_list(absent)}, which no cell of {format_list(table.columns)} holds: "
            f"correct it.{did_you_mean(absent[0], used)}"
        )
    return table, {value for value in read_as.values() if value}


def check_stand_ins(
    table: pd.DataFrame, meant: set[str], separator: str | None, option: str, *, continuous: bool
) -> None:
    """Refuse values that probably stand for none.

    Args:
        table: the columns of the target.
        meant: values that the user has given as such.
        separator: between the names in a cell; None where a cell is one.
        option: prefix of config keys in messages.
        continuous: the values are numbers to be predicted.

    Raises:
        InputError: with the values, how many rows hold them, and what to write.
    """
    problems = []
    for name in table:
        cells = table[name].map(plain_cell)
        if separator:
            cells = cells.str.split(separator).explode().str.strip()
            cells = cells[cells.str.lower() != NO_CLASS]
        cells = cells[~is_missing(cells, None)]
        found = [cell for cell in stand_ins(cells.unique(), continuous=continuous) if cell not in meant]
        if found:
            first, counts = found[0], [f"{cell} ({int((cells == cell).sum())} rows)" for cell in found]
            listing = "" if continuous else f", or list all classes in `{option}.classes`"
            problems.append(
                f"`{option}.target={name}` holds {format_list(counts)}, which may stand for no value or for an "
                f"uncertain one: to leave these rows out, set '{option}.replace={{{first}: null}}' and "
                f"{option}.unmatched=skip; to read them as a value, which may be {first} itself, "
                f"'{option}.replace={{{first}: VALUE}}'{listing}."
            )
    if problems:
        raise InputError(problems)
