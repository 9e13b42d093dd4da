"""The one reader of tables written by users: CSV or TSV, from any program."""

import csv
import io
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError

logger = logging.getLogger("vesalius")

_SEPARATORS = ",;\t"
_NO_TEXT = (  # first bytes of files that are often mistaken for a CSV
    (b"PK\x03\x04", "an Excel or OpenDocument file: save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file: save it as CSV"),
    (b"\x1f\x8b", "a compressed file: unpack it"),
    (b"PAR1", "a Parquet file: save it as CSV"),
)
_COLUMNS_SHOWN = 30
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read_table(path: Path, *, option: str) -> pd.DataFrame:
    """Read a table with a header; every cell is a text.

    The separator is a comma, a semicolon or a tab: the one that cuts the header into most columns. UTF-8 and UTF-16 are
    recognised; all else is read as Windows-1252 (Western European, which has all of Latin-1), with a warning. Cells are
    trimmed, empty lines and columns without a name are left out, and a line that ends early gets empty cells.

    It is not read with `pandas.read_csv`, which knows no line numbers (every message about a cell has them), renames
    repeated columns, shifts the columns if the first line is too long, and accepts stray quotes.

    Args:
        path: the file.
        option: the config key with its path, for messages.

    Returns:
        A frame of `str`, whose index is the number of each row's line in the file (`line`).

    Raises:
        InputError: if there is no such file, it is no text, it has no row, or header or lines are malformed.
    """
    if not path.is_file():
        raise InputError(f"the table {path} does not exist: correct `{option}`.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the table {path} cannot be opened ({error.strerror}): see its permissions.") from error
    text = _decode(content, path.name)
    start = 1
    stated = re.match(r"sep=([,;\t|])\r?\n", text)  # a line that Excel writes above the header
    if stated:
        text, start = text[stated.end() :], 2
    separator = stated.group(1) if stated else _separator(text)
    header, lines, rows = _parse(text, separator, path.name, start)
    return _frame(header, lines, rows, path.name)


def require_columns(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> None:
    """Refuse a table that lacks a column.

    Args:
        table: from `read_table`.
        columns: config keys, and the column that each names.
        name: what messages call the table.

    Raises:
        InputError: with all columns that are missing.
    """
    present = [str(column) for column in table.columns]
    missing = {option: column for option, column in columns.items() if column not in present}
    if missing:
        nearest = did_you_mean(next(iter(missing.values())), present) if len(present) > _COLUMNS_SHOWN else ""
        raise InputError(
            f"the table {name} has no column {_quoted(missing.values())}, only {_quoted(present)}: "
            f"correct {_quoted(missing)}.{nearest}"
        )


def _quoted(names: Iterable[str]) -> str:
    return format_list([f"`{name}`" for name in names], most=_COLUMNS_SHOWN)


def _decode(content: bytes, name: str) -> str:
    for magic, what in _NO_TEXT:
        if content.startswith(magic):
            raise InputError(f"{name} is {what}.")
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise InputError(f"{name} is in an unknown encoding: save it as UTF-8.") from None
        logger.warning("a table is not UTF-8 and was read as Windows-1252; if letters come out wrong, save it as UTF-8")
    if _CONTROL.search(text):
        raise InputError(f"{name} is no text: save the table as CSV.")
    return text


def _separator(text: str) -> str:
    """The separator that gives the header most columns; a comma if all give one."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        return max(_SEPARATORS, key=lambda candidate: len(next(csv.reader([first], delimiter=candidate), [])))
    except csv.Error:  # reading all of it will raise the reason
        return _SEPARATORS[0]


def _parse(text: str, separator: str, name: str, start: int) -> tuple[list[str], list[int], list[list[str]]]:
    """Header, line numbers and cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        for cells in reader:
            trimmed = [cell.strip() for cell in cells]
            if any(trimmed):
                lines.append(reader.line_num + start - 1)
                rows.append(trimmed)
    except csv.Error as error:
        raise InputError(
            f"{name}, line {reader.line_num + start - 1}, is malformed ({error}): correct its quotes."
        ) from error
    if not rows:
        raise InputError(f"{name} is empty: it needs a header and a row for each sample.")
    if len(rows) == 1:
        raise InputError(f"{name} has a header but no row: add one for each sample.")
    return rows[0], lines[1:], rows[1:]


def _frame(header: list[str], lines: list[int], rows: list[list[str]], name: str) -> pd.DataFrame:
    problems = []
    named = [column for column in header if column]
    twice = sorted({column for column in named if named.count(column) > 1})
    if twice:
        problems.append(f"{name} has the column(s) {format_list(twice)} more than once: rename or delete the others.")
    width = len(header)
    long = [line for line, cells in zip(lines, rows, strict=True) if any(cells[width:])]
    if long:
        problems.append(
            f"{len(long)} line(s) of {name} have more cells than the header: {format_list(long)}; "
            "put quotes around cells that hold the separator."
        )
    if problems:
        raise InputError(problems)
    columns = {
        column: [cells[position] if position < len(cells) else "" for cells in rows]
        for position, column in enumerate(header)
        if column
    }
    return pd.DataFrame(columns, index=pd.Index(lines, name="line"), dtype=object)
