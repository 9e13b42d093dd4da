"""The files that a manifest's rows point to."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.data.formats.endings import has_ending, kind_of_name
from vesalius.data.formats.folders import is_leftover

_SUGGESTIONS = 3
_NAMES_COMPARED = 5_000


def resolve_paths(cells: pd.Series, root: Path) -> pd.Series:
    """The absolute path of each cell, without `.` and `..`; empty where there is no such file.

    Backslashes separate folders too, unless a name really has one. A name may be written without its ending, if a
    single file fits, or with its letters composed otherwise than on disk. Of an absolute path of another machine the
    longest end counts that exists below `root`.
    """
    base = os.path.abspath(root)
    folders: dict[str, _Folder] = {}
    known = {cell: _resolve(cell, base, folders) for cell in cells.unique()}
    return cells.map(known).astype(object)


@dataclass(frozen=True)
class _Folder:
    """The content of a folder: its names by how they are composed, and by what they are without their ending."""

    names: dict[str, str]
    without_ending: dict[str, list[str]]


def _resolve(cell: str, base: str, folders: dict[str, _Folder]) -> str:
    slashed = cell.replace("\\", "/")
    for written in dict.fromkeys((cell, slashed)):
        path = os.path.normpath(os.path.join(base, written))
        if cell and os.path.exists(path):
            return path
    parts = [part for part in os.path.normpath(slashed).split("/") if part]
    is_absolute = slashed.startswith("/") or re.match("[A-Za-z]:/", slashed) is not None
    starts = range(1, len(parts)) if is_absolute else range(1)
    return next((path for start in starts if cell and (path := _search(base, parts[start:], folders))), "")


def _search(folder: str, parts: Sequence[str], folders: dict[str, _Folder]) -> str:
    """The path of these parts below a folder; empty where there is none."""
    for number, part in enumerate(parts):
        if part == "..":
            folder = os.path.dirname(folder)
            continue
        if folder not in folders:
            folders[folder] = _list_folder(folder)
        content, plain = folders[folder], normalize("NFC", part)
        name = content.names.get(plain)
        fitting = content.without_ending.get(plain, [])
        if name is None and number == len(parts) - 1 and len(fitting) == 1:
            name = fitting[0]
        if name is None:
            return ""
        folder = os.path.join(folder, name)
    return folder


def _list_folder(folder: str) -> _Folder:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    without: dict[str, list[str]] = {}
    for name in names:
        if not is_leftover(name) and kind_of_name(name) is not None:
            stem = name[: -len(".nii.gz")] if has_ending(name, (".nii.gz",)) else os.path.splitext(name)[0]
            without.setdefault(normalize("NFC", stem), []).append(name)
    return _Folder({normalize("NFC", name): name for name in names}, without)


def path_problems(cells: pd.Series, paths: pd.Series, root: Path, *, name: str, skip: bool) -> list[str]:
    """Sentences on rows whose file does not exist (unless these are skipped) and on files in several rows.

    Args:
        cells: the column of the manifest; the index numbers the lines.
        paths: from `resolve_paths`.
        root: the folder of relative paths.
        name: the file name of the manifest.
        skip: rows whose file does not exist are no problem, as long as some files do.
    """
    problems = []
    lost = cells[paths == ""]
    if len(lost) and (not skip or len(lost) == len(cells)):
        named = [f"{cell or '(empty)'} (line {line})" for line, cell in lost.items()]
        cure = (
            f"correct `data.source.root` ({root})"
            if len(lost) == len(cells)
            else "correct the paths, or set data.source.unmatched=skip"
        )
        problems.append(
            f"{len(lost)} of {len(cells)} rows of {name} name a file that does not exist: {format_list(named)}; {cure}."
            + "".join(_suggestion(cell, root) for cell in lost[lost != ""].tolist()[:_SUGGESTIONS])
        )
    found = paths[paths != ""]
    doubled = found[found.duplicated(keep=False)]
    if len(doubled):
        lines: dict[str, list[int]] = {}
        for line, path in zip(doubled.index.tolist(), doubled, strict=True):
            lines.setdefault(path, []).append(line)
        named = [f"{cells[several[0]]} (lines {format_list(several)})" for several in lines.values()]
        problems.append(
            f"{len(lines)} file(s) are in several rows of {name}: {format_list(named)}; keep one row for each."
        )
    return problems


def _suggestion(cell: str, root: Path) -> str:
    """The nearest name in the deepest folder of the path that exists."""
    folder = os.path.abspath(root)
    for part in cell.replace("\\", "/").split("/"):
        if os.path.isdir(os.path.join(folder, part)):
            folder = os.path.join(folder, part)
            continue
        try:
            names: Sequence[str] = os.listdir(folder)
        except OSError:
            return ""
        same = [known for known in names if known.casefold() == part.casefold()]
        if same:
            return f" Did you mean '{same[0]}' for '{part}'?"
        hint = did_you_mean(part, names) if len(names) <= _NAMES_COMPARED else ""
        return f"{hint[:-1]} for '{part}'?" if hint.endswith("'?") else ""
    return ""
