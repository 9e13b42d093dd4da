"""The errors for samples that cannot go into a store: damaged files, or images of another type, channels or size."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.sources.base import Source

Kind = tuple[tuple[int, ...], str]  # shape of an image, or of each frame of a series; name of its type
Files = Mapping[str, str]  # `sample_id` -> file, where the id does not name it

_REASONS_SHOWN, _NAMES_SHOWN = 100, 20


class RefusedSamples(InputError):
    """Samples that cannot go into a store; names their files where it is printed, but not where it is recorded.

    A source that hides identities calls a sample by a pseudonym, from which nobody finds the file; the file's name may
    be the patient's. So `problems`, which are printed, name it; the text of the exception, which goes into the state
    of a run, does not.

    Args:
        problems_with: the problems, given the files to name.
        files: `sample_id` -> file.
    """

    def __init__(self, problems_with: Callable[[Files], list[str]], files: Files) -> None:
        super().__init__(problems_with(files))
        self.args = ("\n".join(problems_with({})),)


def refuse(
    source: Source,
    table: pd.DataFrame,
    skipped: Sequence[tuple[str, str]],
    kinds: Mapping[Kind, Sequence[str]] | None = None,
) -> RefusedSamples:
    """The error for samples that cannot be decoded, and for those that do not fit the others.

    Args:
        source: knows the files.
        table: holds the rows of the samples.
        skipped: `sample_id` and reason of each that cannot be decoded.
        kinds: the ids of the other samples, by kind; more than one kind is an error.
    """
    kinds = kinds or {}
    usual = max(kinds.values(), key=len, default=[])
    odd = [name for names in kinds.values() if names is not usual for name in names]
    files = _files(source, table, [*[name for name, _ in skipped[:_REASONS_SHOWN]], *odd[:_REASONS_SHOWN]])
    return RefusedSamples(lambda named: _undecodable(skipped, named) + _misfits(kinds, named), files)


def refuse_all(source: Source, table: pd.DataFrame, skipped: Sequence[tuple[str, str]]) -> RefusedSamples:
    """The error for a table without any sample that can be decoded; arguments as in `refuse`."""
    files = _files(source, table, [skipped[0][0]])
    what = f"none of the {len(table)} samples can be decoded; the first: "
    return RefusedSamples(lambda named: [what + _with_file(*skipped[0], named)], files)


def _undecodable(skipped: Sequence[tuple[str, str]], files: Files) -> list[str]:
    """A sentence for each kind of fault, with the samples that have it, and the option that leaves all out."""
    of_kind: dict[str, list[tuple[str, str]]] = {}
    for name, reason in skipped:
        of_kind.setdefault(reason.replace(name, "", 1), []).append((name, reason))
    lines = []
    for found in sorted(of_kind.values(), key=len, reverse=True):
        others = [files.get(name, name) for name, _ in found[1:]]
        more = f" The same holds for {len(others)} more: {format_list(others, _NAMES_SHOWN)}." if others else ""
        lines.append(_with_file(*found[0], files) + more)
    rest = len(lines) - _REASONS_SHOWN
    more = f"{rest} more samples cannot be decoded. " if rest > 0 else ""
    cure = [f"{more}To leave out all that cannot be decoded: data.on_bad_file=skip."]
    return lines[:_REASONS_SHOWN] + (cure if skipped else [])


def _with_file(name: str, reason: str, files: Files) -> str:
    return f"{files[name]}: {reason}" if name in files else reason


def _misfits(kinds: Mapping[Kind, Sequence[str]], files: Files) -> list[str]:
    """A sentence for each property in which the images differ: type, channels, size."""
    total = sum(map(len, kinds.values()))
    properties = (
        (
            "type",
            lambda kind: kind[1],
            "set `data.bits=8` or `data.bits=16` (a window, for floats), or convert the files to one type",
        ),
        ("number of channels", lambda kind: kind[0][0], "set `data.channels=1` or `data.channels=3`"),
        ("size", lambda kind: "×".join(map(str, kind[0][1:])), "set `data.image_size`, such as `data.image_size=64`"),
    )
    problems = []
    for what, value_of, cure in properties:
        names: dict[Any, list[str]] = {}
        for kind, found in kinds.items():
            names.setdefault(value_of(kind), []).extend(found)
        if len(names) < 2:
            continue
        usual = max(names, key=lambda value: len(names[value]))
        odd = [
            f"{name} ({value}, {files[name]})" if name in files else f"{name} ({value})"
            for value, found in names.items()
            if value != usual
            for name in found
        ]
        problems.append(
            f"the images differ in {what}: {len(names[usual])} of {total} have {usual}, but not {format_list(odd)}; "
            f"{cure}."
        )
    return problems


def _files(source: Source, table: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """The first file of each sample that has one, unless the sample is named after it already."""
    rows: list[Any] = table[table["sample_id"].astype(str).isin(names)].to_dict("records")
    files = {str(row["sample_id"]): source.files(row)[:1] for row in rows}
    return {
        name: _short(found[0])
        for name, found in files.items()
        if found and not f"/{found[0].as_posix()}".endswith(f"/{name}")
    }


def _short(path: Path) -> str:
    """A path as a user would type it in this folder."""
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
