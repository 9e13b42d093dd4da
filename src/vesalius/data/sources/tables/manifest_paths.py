"""The files that a manifest's rows point to."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list

_SUGGESTIONS = 3
_NAMES_COMPARED = 5_000


def resolve_paths(cells: pd.Series, root: Path) -> pd.Series:
    """The absolute path of each cell, without `.` and `..`; empty where there is no such file.

    Backslashes separate folders too, unless a name really has one.
    """
    base = os.path.abspath(root)
    known: dict[str, str] = {}
    for cell in cells.unique():
        path = os.path.normpath(os.path.join(base, cell))
        if "\\" in cell and not os.path.exists(path):
            path = os.path.normpath(os.path.join(base, cell.replace("\\", "/")))
        known[cell] = path if cell and os.path.exists(path) else ""
    return cells.map(known).astype(object)


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
