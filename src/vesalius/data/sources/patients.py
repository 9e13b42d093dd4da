"""Patients: found in paths by a regular expression, and one name for each that is spelt in several ways."""

import logging
import re
from collections.abc import Sequence

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.sources.vocabulary import spelt_alike

logger = logging.getLogger("vesalius")


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


def find_patients(pattern: str, paths: Sequence[str]) -> list[str]:
    """The patient of each file: what the first group of the pattern matches.

    Args:
        pattern: a regular expression that has passed `pattern_problems`.
        paths: of the files, with forward slashes, relative to the root or, where there are folders of splits and
            classes, to these: no patient is called after a class.

    Raises:
        InputError: with the paths in which the pattern finds nothing.
    """
    matches = [re.search(pattern, path) for path in paths]
    unmatched = [path for path, match in zip(paths, matches, strict=True) if not (match and match.group(1))]
    if unmatched:
        raise InputError(
            f"`data.source.group_pattern={pattern}` finds no patient in {len(unmatched)} of {len(paths)} paths: "
            f"{format_list(unmatched)}; it is searched in the path below the folder of data.source.root (and below "
            "folders of splits and classes): correct the pattern or rename the files."
        )
    return [str(match.group(1)) for match in matches if match]


def unify_patients(names: Sequence[str], places: Sequence[object], *, where: str) -> list[str]:
    """One name for each patient that is spelt in several ways, such as 7 and 7.0 or pat3 and PAT3; with a warning.

    Two patients taken for one cost a little width of the intervals; one taken for two would be learned from and
    tested on.

    Args:
        names: the patient of each file or row.
        places: what the log calls each of them; it is kept with the run, and must name nobody.
        where: what the places are, in the plural.
    """
    spellings = spelt_alike(names)
    if not spellings:
        return list(names)
    first = {name: place for name, place in reversed(list(zip(names, places, strict=True)))}
    pairs = [" and ".join(str(first[name]) for name in group) for group in spellings]
    logger.warning(
        "%d patient(s) are spelt in several ways, as 7 and 7.0 or pat3 and PAT3 are (%s %s), and count as one each: "
        "write each in one way, or give different patients names that differ in more.",
        len(pairs),
        where,
        format_list(pairs),
    )
    one = {name: group[0] for group in spellings for name in group}
    return [one.get(name, name) for name in names]
