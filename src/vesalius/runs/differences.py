"""In which keys the frozen configs of runs differ, and short names for the values.

Values are compared whole, full paths included: shortened paths of two folders may be equal.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vesalius.runs.redaction import without_paths
from vesalius.runs.run import Run

#: Name of a value that a run does not have.
ABSENT = "–"


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of nested mappings, after the dotted key that it stands under."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def seed_keys(runs: Sequence[Run]) -> set[str]:
    """Keys, other than `seed`, that equal the seed in every run that has them, such as `data.seed`.

    A key that was typed is not one of them, nor is any where all runs have one seed.
    """
    leaves = [(run, dict(flatten(run.config))) for run in runs if run.config]
    if len({run.seed for run, _ in leaves}) < 2:
        return set()
    typed = {key for run in runs for key in run.overrides}
    keys = {key for _, values in leaves for key in values} - typed - {"seed"}
    return {
        key
        for key in keys
        if all(values[key] == run.seed and type(values[key]) is int for run, values in leaves if key in values)
    }


def differing(runs: Sequence[Run]) -> dict[str, list[str | None]]:
    """The keys in which the configs differ, without those of `seed_keys`.

    Returns:
        By key, the value of each run as JSON; None where the run does not have the key.
    """
    leaves, ignored = [dict(flatten(run.config)) for run in runs], seed_keys(runs)
    found = {}
    for key in dict.fromkeys(key for values in leaves for key in values):
        values = [to_json(one[key]) if key in one else None for one in leaves]
        if len(set(values)) > 1 and key not in ignored:
            found[key] = values
    return found


def label_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """`differing`, with a short name per value that shows no folder of the user's."""
    return {key: distinct_labels(values, partial(_redacted_spelling, key)) for key, values in differing(runs).items()}


def distinct_labels(
    values: Sequence[str | None], spellings: Callable[[str], Sequence[str]], absent: str = ABSENT
) -> list[str]:
    """Short names of values, different for different values.

    Args:
        values: equal ones get equal names.
        spellings: names of one value, from the shortest to the longest. The shortest that tell all values apart are
            taken; the longest are numbered where they do not.
        absent: name of None.
    """
    options = {value: [absent] if value is None else spellings(value) for value in values}
    names: dict[str | None, str] = {}
    for length in range(max(map(len, options.values()), default=0)):
        names = {value: spelt[min(length, len(spelt) - 1)] for value, spelt in options.items()}
        if len(set(names.values())) == len(names):
            break
    equal: dict[str, list[str | None]] = {}
    for value, name in names.items():
        equal.setdefault(name, []).append(value)
    labels = {
        value: name if len(equal[name]) == 1 else f"{name} ({equal[name].index(value) + 1})"
        for value, name in names.items()
    }
    return [labels[value] for value in values]


def to_json(value: Any) -> str:
    """A config value as text, equal for equal values."""
    return json.dumps(value, sort_keys=True, default=str)


def _redacted_spelling(key: str, value: str) -> list[str]:
    return [to_json(without_paths(json.loads(value), key.split(".")))]
