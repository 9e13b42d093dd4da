"""A table beside an image folder that says which patient each file is of."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.samples import listed


def groups_from_index(table_path: Path, files: Sequence[str], *, file_column: str, group_column: str) -> list[str]:
    """The group of each file.

    An entry names a file if one path ends with the other, compared part by part from the right; so
    `crops/train/a/1.png`, `a/1.png` and `1.png` may all mean `train/a/1.png`, as long as nothing else fits.

    Args:
        table_path: a CSV or TSV file with a header.
        files: paths relative to the image folder, with forward slashes.
        file_column: the column that names the file.
        group_column: the column that names its group.

    Raises:
        InputError: with every problem: a missing table or column, an entry without a file or with several, a file
            without an entry, a file with two different groups, an empty group.
    """
    table = _read(table_path, file_column, group_column)
    by_suffix: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, file in enumerate(files):
        parts = PurePosixPath(file).parts
        for start in range(len(parts)):
            by_suffix[parts[start:]].append(number)

    groups: list[str | None] = [None] * len(files)
    without_file, ambiguous, conflicting, without_group = [], [], [], []
    for entry, group in zip(table[file_column], table[group_column], strict=True):
        numbers = _find(entry, files, by_suffix)
        if not numbers:
            without_file.append(entry)
        elif len(numbers) > 1:
            ambiguous.append(entry)
        elif not group:
            without_group.append(entry)
            groups[numbers[0]] = groups[numbers[0]] or ""
        elif groups[numbers[0]] not in (None, "", group):
            conflicting.append(files[numbers[0]])
        else:
            groups[numbers[0]] = group
    without_entry = [file for file, group in zip(files, groups, strict=True) if group is None]
    name = table_path.name
    findings = (
        (without_file, f"row(s) of {name} name no file of the image folder", "add the files or delete the rows"),
        (ambiguous, f"row(s) of {name} fit several files", "write longer paths"),
        (without_group, f"row(s) of {name} have no `{group_column}`", "fill it in"),
        (conflicting, f"file(s) have two different groups in {name}", "keep one row for each"),
        (without_entry, f"image(s) have no row in {name}", "add the rows or delete the images"),
    )
    problems = [f"{len(found)} {what}: {listed(found)}; {cure}." for found, what, cure in findings if found]
    if problems:
        raise InputError(problems)
    return [str(group) for group in groups]


def _read(path: Path, *columns: str) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"the index table {path} does not exist: correct `data.source.index`.")
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max("\t,;", key=header.count)
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"the index table {path} cannot be read ({error}): save it as a CSV or TSV.") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"the index table {path.name} has no column {', '.join(f'`{column}`' for column in missing)}, only "
            f"{', '.join(f'`{column}`' for column in table.columns)}: correct `data.source.index_file_column` "
            "or `data.source.index_group_column`."
        )
    return table


def _parts(entry: str) -> tuple[str, ...]:
    return tuple(part for part in entry.strip().replace("\\", "/").split("/") if part not in ("", "."))


def _find(entry: str, files: Sequence[str], by_suffix: dict[tuple[str, ...], list[int]]) -> list[int]:
    """Numbers of the files that an entry may mean; the longest common ending wins."""
    parts = _parts(entry)
    for start in range(len(parts)):
        numbers = by_suffix.get(parts[start:], [])
        if start > 0:  # leading parts are left over, so the file's whole path must be used up
            numbers = [number for number in numbers if len(PurePosixPath(files[number]).parts) == len(parts) - start]
        if numbers:
            return numbers
    return []
