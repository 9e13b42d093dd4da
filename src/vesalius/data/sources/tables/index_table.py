"""A table next to an image folder with the patient of each file."""

from collections.abc import Sequence
from pathlib import Path

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.sources.patients import unify_patients
from vesalius.data.sources.tables.csv_table import read_table, require_columns
from vesalius.data.sources.tables.path_endings import PathEndings
from vesalius.data.sources.vocabulary import missing_patients


def groups_from_index(table_path: Path, files: Sequence[str], *, file_column: str, group_column: str) -> list[str]:
    """The group of each file.

    Args:
        table_path: a CSV or TSV file with a header.
        files: paths relative to the image folder, with forward slashes.
        file_column: the column with the path of the file, an end of it, or a folder (see `PathEndings`).
        group_column: the column with its group.

    Raises:
        InputError: with every problem: a missing table or column, an entry without a file or with several, a file
            without an entry, a file with two different groups, an empty group.
    """
    table = read_table(table_path, option="data.source.index")
    columns = {"data.source.index_file_column": file_column, "data.source.index_group_column": group_column}
    require_columns(table, columns, table_path.name)
    endings = PathEndings(files)

    groups: list[str | None] = [None] * len(files)
    without_file, ambiguous, conflicting, without_group = [], [], [], []
    missing = missing_patients(table[group_column].tolist())
    for entry, group, is_missing in zip(table[file_column], table[group_column], missing, strict=True):
        named = endings.find(entry)
        numbers = named or endings.find_in_folder(entry)
        if not numbers:
            without_file.append(entry)
        elif len(named) > 1:
            ambiguous.append(entry)
        elif is_missing:
            without_group.append(entry)
        for number in numbers if len(named) < 2 else ():
            if is_missing:
                groups[number] = groups[number] or ""
            elif groups[number] not in (None, "", group):
                conflicting.append(files[number])
            else:
                groups[number] = group
    without_entry = [file for file, group in zip(files, groups, strict=True) if group is None]
    name = table_path.name
    findings = (
        (without_file, f"row(s) of {name} name no file of the image folder", "add the files or delete the rows"),
        (ambiguous, f"row(s) of {name} fit several files", "write longer paths"),
        (without_group, f"row(s) of {name} have no `{group_column}`", "fill it in"),
        (conflicting, f"file(s) have two different groups in {name}", "keep one row for each"),
        (without_entry, f"image(s) have no row in {name}", "add the rows or delete the images"),
    )
    problems = [f"{len(found)} {what}: {format_list(found)}; {cure}." for found, what, cure in findings if found]
    if problems:
        raise InputError(problems)
    return unify_patients([str(group) for group in groups], files, where="files")


def subgroups_from_index(
    table_path: Path, files: Sequence[str], *, file_column: str, subgroups: Sequence[str]
) -> dict[str, list[str]]:
    """The values of each file in the columns to report on.

    Args:
        table_path: a table that `groups_from_index` accepts.
        files: paths relative to the image folder, with forward slashes.
        file_column: the column with the path of the file.
        subgroups: the columns.

    Raises:
        InputError: for a missing column, and for files whose rows differ.
    """
    table = read_table(table_path, option="data.source.index")
    wanted = {f"data.source.subgroups[{number}]": name for number, name in enumerate(subgroups)}
    require_columns(table, wanted, table_path.name)
    endings = PathEndings(files)
    columns: dict[str, list[str]] = {name: [""] * len(files) for name in subgroups}
    conflicting: set[str] = set()
    for row in table.to_dict("records"):
        for number in endings.find(row[file_column]) or endings.find_in_folder(row[file_column]):
            for name in subgroups:
                if columns[name][number] not in ("", row[name]):
                    conflicting.add(files[number])
                columns[name][number] = row[name]
    if conflicting:
        raise InputError(
            f"{len(conflicting)} file(s) have two different {' or '.join(subgroups)} in {table_path.name}: "
            f"{format_list(sorted(conflicting))}; keep one row for each."
        )
    return columns
