"""Which runs are repeats of one experiment, and what tells experiments apart.

Frozen configs decide, whole paths and all: what was typed may be a default, may leave out a config that was edited in
between, and shortened paths of two folders may look alike. What was typed and short paths are but the names.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from vesalius.report.collect import ReportRun
from vesalius.runs.redaction import overrides_without_paths, without_paths
from vesalius.studies.arms import items_of

#: What repeats of one experiment differ in.
REPEATS = ("seed", "data.seed", "data.fold")
# What runs may differ in without being another experiment.
_NOT_TOLD = ("name", "resume", "logger", "hydra")
_ABSENT = "–"


def experiments_of(runs: Sequence[ReportRun]) -> list[int]:
    """A number for each run: runs with equal numbers are repeats of one experiment.

    A job that has no config yet is of the experiment of which the same was typed, else of one of its own.
    """
    follows = _following_seed(runs)
    by_typed: dict[str, str] = {}
    for run in runs:
        if run.config:
            by_typed.setdefault(_typed(run), _frozen(run, follows))
    told = [_frozen(run, follows) if run.config else by_typed.get(_typed(run), _typed(run)) for run in runs]
    numbers = {identity: number for number, identity in enumerate(dict.fromkeys(told))}
    return [numbers[identity] for identity in told]


def varying(runs: Sequence[ReportRun]) -> dict[str, list[str]]:
    """What tells experiments apart: by key, the value of each run, `–` where it was not set.

    Keys are those of the overrides, as typed, and of keys that tell the same runs apart the first alone. Where these do
    not tell all experiments apart, keys of the configs that do are added.
    """
    numbers = experiments_of(runs)
    found: dict[tuple[int, ...], tuple[str, list[str]]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.overrides if _tells(key)):
        # An experiment has one name: a default that only one of its repeats was told is told of all.
        typed: dict[int, str] = {}
        for run, number in zip(runs, numbers, strict=True):
            if key in run.overrides:
                typed.setdefault(number, run.overrides[key])
        values = _labels([typed.get(number) for number in numbers], partial(_typed_label, key))
        if len(set(values)) > 1:
            found.setdefault(_partition(values), (key, values))
    keys = dict(found.values())
    apart = _partition(list(zip(*keys.values(), strict=True)) if keys else [()] * len(runs))
    for key, values in differing(runs).items():
        if apart == _partition(numbers):
            break
        finer = _partition(list(zip(apart, values, strict=True)))
        if _tells(key) and finer != apart:
            keys[key], apart = [value.strip('"') for value in values], finer
    return keys


def differing(runs: Sequence[ReportRun]) -> dict[str, list[str]]:
    """Values of every key in which the frozen configs differ, as JSON, but of those that follow the seed.

    Whole paths are compared and short ones are told; two of which the same is left are numbered.
    """
    leaves, follows = [dict(items_of(run.config)) for run in runs], _following_seed(runs)
    told = {}
    for key in dict.fromkeys(key for one in leaves for key in one):
        values = [_json(one[key]) if key in one else None for one in leaves]
        if len(set(values)) > 1 and key not in follows:
            told[key] = _labels(values, partial(_config_label, key))
    return told


def _labels(values: Sequence[str | None], shorten: Callable[[str], str]) -> list[str]:
    """Short names, of which those of different values differ."""
    shorts = {value: _ABSENT if value is None else shorten(value) for value in values}
    alike: dict[str, list[str | None]] = {}
    for value, short in shorts.items():
        alike.setdefault(short, []).append(value)
    names = {
        value: short if len(alike[short]) == 1 else f"{short} ({alike[short].index(value) + 1})"
        for value, short in shorts.items()
    }
    return [names[value] for value in values]


def _typed_label(key: str, value: str) -> str:
    (told,) = overrides_without_paths([f"{key}={value}"])
    return told.partition("=")[2]


def _config_label(key: str, value: str) -> str:
    return _json(without_paths(json.loads(value), key.split(".")))


def _partition(values: Iterable[Any]) -> tuple[int, ...]:
    """Which of the values are equal, whatever they are."""
    known: dict[Any, int] = {}
    return tuple(known.setdefault(value, len(known)) for value in values)


def _frozen(run: ReportRun, follows: set[str]) -> str:
    told = {key: "seed" if key in follows else value for key, value in items_of(run.config) if _tells(key)}
    return _json(told)


def _typed(run: ReportRun) -> str:
    return _json({key: value for key, value in run.overrides.items() if _tells(key)})


def _following_seed(runs: Sequence[ReportRun]) -> set[str]:
    """Keys that are the seed under another name in every run that has them; what was typed is meant as it is."""
    leaves = [(run, dict(items_of(run.config))) for run in runs if run.config]
    typed = {key for run in runs for key in run.overrides}
    keys = {key for _, one in leaves for key in one} - typed - {"seed"}
    return {
        key for key in keys if all(one[key] == run.seed and type(one[key]) is int for run, one in leaves if key in one)
    }


def _tells(key: str) -> bool:
    return key not in REPEATS and key.split(".")[0] not in _NOT_TOLD


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
