"""Patients that are found in file names and paths by a regular expression."""

import re
from collections.abc import Sequence

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError


def pattern_problems(pattern: str | None) -> list[str]:
    """A sentence if `data.source.group_pattern` cannot be used."""
    if pattern is None:
        return []
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return [f"`data.source.group_pattern={pattern}` is no regular expression: {error}."]
    if groups == 0:
        return [f"`data.source.group_pattern={pattern}` has no group: put (...) around the patient's part."]
    return []


def find_patients(pattern: str, paths: Sequence[str], *, names_only: bool = False) -> list[str]:
    """The patient of each file: what the first group of the pattern matches.

    Args:
        pattern: a regular expression that has passed `pattern_problems`.
        paths: of the files, relative to the root, with forward slashes.
        names_only: search the file names, not the paths.

    Raises:
        InputError: with the files in which the pattern finds nothing.
    """
    matches = [re.search(pattern, path.rpartition("/")[2] if names_only else path) for path in paths]
    unmatched = [path for path, match in zip(paths, matches, strict=True) if not (match and match.group(1))]
    if unmatched:
        what = "file name(s)" if names_only else "path(s)"
        raise InputError(
            f"`data.source.group_pattern={pattern}` finds no group in {len(unmatched)} {what}: "
            f"{format_list(unmatched)}; correct the pattern or rename the files."
        )
    return [str(match.group(1)) for match in matches if match]
