"""The times of the frames of a series, from the cells of a table."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, time

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError

_COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")


def read_times(cells: pd.Series, *, option: str) -> pd.Series:
    """Times in seconds, from a start that is the same for the whole column.

    A column holds numbers (seconds), dates with or without a time, or times of one day. Dates and times are in ISO
    8601, such as 2020-01-31, 2020-01-31 10:00:05.5 or 10:00:05; a column whose cells are all eight digits that form a
    date, such as 20200131, holds dates.

    Args:
        cells: texts; the index numbers the lines of the file.
        option: the config key with the name of the column.

    Returns:
        Float seconds, with the index of `cells`.

    Raises:
        InputError: with the lines that hold no such time, or a time in another form than the others.
    """
    dates = all(_COMPACT_DATE.fullmatch(cell) for cell in cells)
    readers: list[Callable[[str], float]] = [_read_date, _read_clock]
    readers = readers if dates else [_read_number, *readers]
    results = [_read(cells, reader) for reader in readers]
    values, bad = min(results, key=lambda result: len(result[1]))  # of equals, the first
    if bad:
        found = [f"{cells[line] or '(empty)'} (line {line})" for line in bad]
        raise InputError(
            f"`{option}={cells.name}` holds {len(bad)} cell(s) that are no time like the others: {format_list(found)}; "
            "write seconds, dates such as 2020-01-31T10:00:05, or times such as 10:00:05 throughout."
        )
    return pd.Series(values, index=cells.index, dtype=float)


def _read(cells: pd.Series, reader: Callable[[str], float]) -> tuple[list[float], list[int]]:
    """The seconds of each cell by one reader, and the lines that it cannot read."""
    values, bad = [], []
    for line, cell in cells.items():
        try:
            values.append(reader(cell))
        except ValueError:
            values.append(math.nan)
            bad.append(int(str(line)))
    return values, bad


def _read_number(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(cell)
    return number


def _read_date(cell: str) -> float:
    moment = datetime.fromisoformat(cell)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_clock(cell: str) -> float:
    moment = time.fromisoformat(cell)
    if not re.search(r"[:T]", cell):  # bare digits may mean anything
        raise ValueError(cell)
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6
