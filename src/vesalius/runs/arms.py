"""Arms: runs that differ in nothing but seed and split, or that share the value of a key.

`arms_of` reads the arms off the frozen configs, full paths included: what was typed may be a default, or may leave out
a config that was edited in between. What was typed serves only to name them. `arms_by` takes the key that tells arms
apart from the user, and refuses runs that could not be compared seed by seed and fold by fold.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.runs.differences import ABSENT, differing, distinct_labels, flatten, label_differences, seed_keys, to_json
from vesalius.runs.redaction import overrides_without_paths
from vesalius.runs.run import Run

#: Keys in which repeats of one arm differ.
REPEATS = ("seed", "data.seed", "data.fold")
# Keys, with all below them, in which runs may differ without being of another arm.
_IGNORED = ("name", "resume", "logger", "hydra")
_RUN_ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}|\d+")
_MISSING = object()


@dataclass(frozen=True)
class Arm:
    """Runs that are repeats of one another.

    Attributes:
        name: built from the values that set it apart.
        values: the same by key.
        runs: finished or not.
    """

    name: str
    values: Mapping[str, str]
    runs: list[Run]

    @property
    def finished(self) -> list[Run]:
        """Those with results."""
        return [run for run in self.runs if run.results is not None]


def arms_of(runs: Sequence[Run]) -> list[Arm]:
    """Group runs that differ only in seed and split, in order of appearance.

    Args:
        runs: finished or not.
    """
    members: dict[int, list[int]] = {}
    for at, number in enumerate(arm_numbers(runs)):
        members.setdefault(number, []).append(at)
    keys = varying_keys(runs)
    of_arm = [{key: values[places[0]] for key, values in keys.items()} for places in members.values()]
    return [
        Arm(_name(values), values, [runs[at] for at in places])
        for values, places in zip(of_arm, members.values(), strict=True)
    ]


def arm_numbers(runs: Sequence[Run]) -> list[int]:
    """The number of each run's arm: runs with equal numbers are repeats of one another.

    A job without a config yet belongs to the arm for which the same was typed, else to one of its own.
    """
    ignored = seed_keys(runs)
    by_typed: dict[str, str] = {}
    for run in runs:
        if run.config:
            by_typed.setdefault(_typed(run), _frozen(run, ignored))
    arms = [_frozen(run, ignored) if run.config else by_typed.get(_typed(run), _typed(run)) for run in runs]
    numbers = {arm: number for number, arm in enumerate(dict.fromkeys(arms))}
    return [numbers[arm] for arm in arms]


def varying_keys(runs: Sequence[Run]) -> dict[str, list[str]]:
    """What tells arms apart: by key, the value of each run, `–` where it was not set.

    Keys are those of the overrides, values as typed; of keys that tell the same runs apart, the first only. Where these
    do not tell all arms apart, keys of the configs that do are added.
    """
    numbers = arm_numbers(runs)
    found: dict[tuple[int, ...], tuple[str, list[str]]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.overrides if _defines_arm(key)):
        # An arm has one name: a default that was typed for one of its runs only is shown for all.
        typed: dict[int, str] = {}
        for run, number in zip(runs, numbers, strict=True):
            if key in run.overrides:
                typed.setdefault(number, run.overrides[key])
        values = distinct_labels([typed.get(number) for number in numbers], partial(_redacted_override, key))
        if len(set(values)) > 1:
            found.setdefault(_partition(values), (key, values))
    keys = dict(found.values())
    apart = _partition(list(zip(*keys.values(), strict=True)) if keys else [()] * len(runs))
    for key, values in label_differences(runs).items():
        if apart == _partition(numbers):
            break
        finer = _partition(list(zip(apart, values, strict=True)))
        if _defines_arm(key) and finer != apart:
            keys[key], apart = [value.strip('"') for value in values], finer
    return keys


def arms_by(runs: Sequence[Run], by: str | None, *, single: bool = False) -> list[Arm]:
    """Group runs by the value of a key; arms in the order in which they appear, each sorted by seed and fold.

    Args:
        runs: finished runs.
        by: a dotted key of their configs, or a group of configs of which commands chose an option, such as `model`;
            runs whose command chose none of it count as `default`. Runs that do not have the key count as `none`.
            None: all runs are one arm, named `model`.
        single: whether one arm is enough.

    Returns:
        Arms that are named `none` for null, by the distinctive part of a path or of a `_target_`, else by the value as
        written.

    Raises:
        InputError: for a key that no run has, a group of which no option was chosen, one value only, a seed and
            fold twice in an arm, or arms of different seeds or folds.
    """
    if by in ("seed", "data.fold"):
        word = by.rpartition(".")[2]
        raise InputError(
            f"by={by}: runs of one arm differ by their {word}, and arms by something else: name another key."
        )
    members = {"model": list(runs)} if by is None else _members(runs, by)
    arms = [
        Arm(name, {} if by is None else {by: name}, sorted(of_arm, key=_repeat_of)) for name, of_arm in members.items()
    ]
    problems = [*_repeated_runs(arms, by), *_unpaired_runs(arms)]
    if len(arms) == 1 and not problems and not single:
        same = "there is one arm only" if by is None else f"all runs have the value {arms[0].name}"
        cure = "name a key in which they differ, or baselines=[BASELINE]."
        problems = [f"by={by or 'null'}: {same}, and nothing to compare: {cure}"]
    if problems:
        raise InputError(problems)
    return arms


def _members(runs: Sequence[Run], by: str) -> dict[str, list[Run]]:
    """Runs of each arm, by its name."""
    values = [_value(run.config, by) for run in runs]
    if all(value is _MISSING for value in values):
        known = {key for run in runs for key, _ in flatten(run.config)}
        raise InputError(f"by={by}: no run's config has this key.{did_you_mean(by, known)}")
    groups = {key for value in values if isinstance(value, Mapping) for key in value}
    if groups and any(by in run.overrides for run in runs):
        values = [run.overrides.get(by, "default") for run in runs]  # the options chosen from a group of configs
    elif groups:
        raise InputError(
            f"by={by}: this is a group of keys; name one of them, such as {by}.{min(groups)} (of {len(groups)})."
        )
    texts = [None if value is None or value is _MISSING else to_json(value) for value in values]
    members: dict[str, list[Run]] = {}
    for run, name in zip(runs, distinct_labels(texts, partial(_spellings, by=by), "none"), strict=True):
        members.setdefault(name, []).append(run)
    return members


def other_differences(runs: Sequence[Run], by: str | None = None) -> list[str]:
    """Keys in which runs differ besides `by` and all below it, the seed and what follows from it, and what names a run.

    Of a group of keys that some runs lack, the group.
    """

    def counts(key: str) -> bool:
        own = by is not None and (f"{by}.".startswith(f"{key}.") or key.startswith(f"{by}."))
        return not own and key.split(".")[0] not in ("seed", *_IGNORED)

    keys = [key for key in differing(runs) if counts(key)]
    return [key for key in keys if not any(key.startswith(f"{group}.") for group in keys)]


def _name(values: Mapping[str, str]) -> str:
    """`gru` where one word is enough, else `model=gru lr=0.1`, without what was not set."""
    if not values:
        return "all runs"
    if len(values) == 1 and (word := next(iter(values.values())))[:1].isalpha():
        return word
    last_parts = [key.rpartition(".")[2] for key in values]
    short = {key: last if last_parts.count(last) == 1 else key for key, last in zip(values, last_parts, strict=True)}
    return " ".join(f"{short[key]}={value}" for key, value in values.items() if value != ABSENT) or "as it is"


def _partition(values: Iterable[Any]) -> tuple[int, ...]:
    """Which of the values are equal, whatever they are."""
    known: dict[Any, int] = {}
    return tuple(known.setdefault(value, len(known)) for value in values)


def _frozen(run: Run, ignored: set[str]) -> str:
    return to_json(
        {key: "seed" if key in ignored else value for key, value in flatten(run.config) if _defines_arm(key)}
    )


def _typed(run: Run) -> str:
    return to_json({key: value for key, value in run.overrides.items() if _defines_arm(key)})


def _defines_arm(key: str) -> bool:
    return key not in REPEATS and key.split(".")[0] not in _IGNORED


def _redacted_override(key: str, value: str) -> list[str]:
    (override,) = overrides_without_paths([f"{key}={value}"])
    return [override.partition("=")[2]]


def _repeat_of(run: Run) -> tuple[int, int]:
    """Seed and fold, -1 where there is none."""
    return -1 if run.seed is None else run.seed, -1 if run.fold is None else run.fold


def _in_words(repeat: tuple[int, int]) -> str:
    seed, fold = repeat
    return f"seed {seed}" if fold < 0 else f"seed {seed}, fold {fold}"


def _repeated_runs(arms: Sequence[Arm], by: str | None) -> Iterator[str]:
    for arm in arms:
        for repeat in sorted({_repeat_of(run) for run in arm.runs}):
            same = [run for run in arm.runs if _repeat_of(run) == repeat]
            if len(same) > 1:
                keys = other_differences(same)
                cure = f"they differ in {format_list(keys)}" if keys else "they do not differ"
                names = ", ".join(run.name for run in same)
                yield (
                    f"by={by or 'null'}: arm {arm.name} has {len(same)} runs of {_in_words(repeat)} ({names}), and "
                    f"{cure}: leave some out, or choose another key."
                )


def _unpaired_runs(arms: Sequence[Arm]) -> Iterator[str]:
    everyone = {_repeat_of(run) for arm in arms for run in arm.runs}
    for arm in arms:
        missing = sorted(everyone - {_repeat_of(run) for run in arm.runs})
        if missing:
            yield (
                f"Arms are paired by seed and fold, but {arm.name} has no run of {'; '.join(map(_in_words, missing))}: "
                "train it, or leave out the other arms' runs of that one."
            )


def _value(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return _MISSING
        node = node[part]
    return node


def _spellings(text: str, by: str) -> list[str]:
    """Names of one value, from the shortest to its JSON."""
    value = json.loads(text)
    if not isinstance(value, str):
        return [text]
    if by.endswith("_target_"):
        return [value.rpartition(".")[2], value, text]
    parts = [part for part in re.split(r"[\\/]+", value) if part]
    if len(parts) < 2:
        return [value, text]
    distinctive = next((at for at in reversed(range(len(parts))) if not _RUN_ID.fullmatch(parts[at])), 0)
    longer = ["/".join(parts[start:]) for start in range(distinctive, -1, -1)]
    return [parts[distinctive], *longer, text]
