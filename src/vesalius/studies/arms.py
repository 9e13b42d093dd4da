"""Arms of a comparison: finished runs grouped by the value of one key of their configs, told apart by their seeds."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import CONFIG, METRICS, RunFolder

_ABSENT = object()
# What runs of one experiment may differ in without being another experiment.
_NOT_TOLD = frozenset({"seed", "name", "logger", "resume"})
_RUN_ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}|\d+")


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: where it lies.
        config: frozen.
    """

    folder: RunFolder
    config: dict[str, Any]

    @cached_property
    def results(self) -> dict[str, Any]:
        """Its `metrics.json`."""
        return self.folder.metrics

    @property
    def name(self) -> str:
        """The last two parts of its folder's path: what others may read holds no whole one."""
        return "/".join(self.folder.path.resolve().parts[-2:])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])


def find_runs(named: Sequence[str]) -> tuple[list[Run], list[str]]:
    """The finished training runs in some folders, in the order named; below a folder, in the order of their names.

    Args:
        named: run folders, and folders that hold runs at any depth, such as a sweep's.

    Returns:
        The runs, each once, and a sentence on each run below a folder that is left out because it is not finished.

    Raises:
        InputError: for a folder that is not there, holds no run, or is itself a run that is not finished.
    """
    found: dict[Path, Run] = {}
    problems, left_out = [], []
    for path in map(Path, named):
        if not path.is_dir():
            problems.append(f"runs: {path} is not a folder.")
            continue
        itself, before = (path / CONFIG).is_file(), len(problems)
        inside = [run for run in map(_run, _run_folders(path)) if itself or _trained(run)]
        finished = 0
        for run in inside:
            fault = _fault(run)
            if fault is None:
                found.setdefault(run.folder.path.resolve(), run)
                finished += 1
            elif itself:
                problems.append(f"runs: {fault}.")
            else:
                left_out.append(f"{fault.replace(str(run.folder.path), run.name)}: it is left out.")
        if not finished and before == len(problems):
            problems.append(f"runs: {path} holds no finished run; name run folders, or a folder with runs below it.")
    if problems:
        raise InputError(problems)
    return list(found.values()), left_out


def _run_folders(path: Path) -> Iterator[Path]:
    """Folders with a config at or below `path`; what lies inside one, such as an evaluation, is not looked at."""
    if (path / CONFIG).is_file():
        yield path
        return
    inside = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    for child in sorted(inside, key=lambda child: (not child.name.isdigit(), child.name.zfill(12))):  # job 10 after 9
        yield from _run_folders(child)


def _run(path: Path) -> Run:
    folder = RunFolder(path)
    return Run(folder, folder.config)


def _trained(run: Run) -> bool:
    """Whether this is a run of `train`: other verbs write a config too."""
    return "model" in run.config and "monitor" in run.config


def _fault(run: Run) -> str | None:
    path = run.folder.path
    if not _trained(run):
        return f"{path} is no training run; name the folder that `vesalius train` wrote"
    state = run.folder.state.get("state", "not started")
    if state != "done" or not (path / METRICS).is_file() or not (run.folder.predictions / "test.csv").is_file():
        lacks = "" if state != "done" else ", but has no test predictions"
        return f"{path} is {state}{lacks}"
    return None


def arms_by(runs: Sequence[Run], by: str) -> dict[str, list[Run]]:
    """Group runs by the value of a key; arms in the order in which they appear, each sorted by seed.

    Args:
        runs: finished runs.
        by: a dotted key of their configs. Runs that do not have it count as `none`.

    Returns:
        By the arm's name: `none` for null, the telling part of a path or of a `_target_`, else the value as written.

    Raises:
        InputError: for a key that no run has or that is no single value, one value only, a seed twice in an arm, or
            arms of different seeds.
    """
    if by == "seed":
        raise InputError("by=seed: runs of one arm differ by their seed, and arms by something else: name another key.")
    values = [_value(run.config, by) for run in runs]
    if all(value is _ABSENT for value in values):
        known = {key for run in runs for key in _leaves(run.config)}
        raise InputError(f"by={by}: no run's config has this key.{did_you_mean(by, known)}")
    groups = {key for value in values if isinstance(value, Mapping) for key in value}
    if groups:
        raise InputError(
            f"by={by}: this is a group of keys; name one of them, such as {by}.{min(groups)} (of {len(groups)})."
        )
    plain = [None if value is _ABSENT else value for value in values]
    names = _names(plain, by)
    arms: dict[str, list[Run]] = {}
    for run, value in zip(runs, plain, strict=True):
        arms.setdefault(names[json.dumps(value)], []).append(run)
    arms = {name: sorted(members, key=lambda run: run.seed) for name, members in arms.items()}
    problems = [*_twice(arms, by), *_unpaired(arms)]
    if len(arms) == 1 and not problems:
        problems = [f"by={by}: all runs have the value {next(iter(arms))}: there is nothing to compare."]
    if problems:
        raise InputError(problems)
    return arms


def _twice(arms: Mapping[str, list[Run]], by: str) -> Iterator[str]:
    for name, members in arms.items():
        for seed in sorted({run.seed for run in members}):
            same = [run for run in members if run.seed == seed]
            if len(same) > 1:
                keys = differing(same)
                cure = f"they differ in {format_list(keys)}" if keys else "they do not differ"
                yield (
                    f"by={by}: arm {name} has {len(same)} runs of seed {seed} ({', '.join(run.name for run in same)}), "
                    f"and {cure}: leave some out, or choose another key."
                )


def _unpaired(arms: Mapping[str, list[Run]]) -> Iterator[str]:
    everyone = {run.seed for members in arms.values() for run in members}
    for name, members in arms.items():
        missing = sorted(everyone - {run.seed for run in members})
        if missing:
            yield (
                f"Arms are paired by seed, but {name} has no run of seed {', '.join(map(str, missing))}: train it, or "
                "leave out the other arms' runs of that seed."
            )


def differing(runs: Sequence[Run], by: str | None = None) -> list[str]:
    """Keys whose values differ among runs, beside `by` and what follows from the seed or only names a run."""
    leaves = [dict(items_of(run.config)) for run in runs]
    keys = dict.fromkeys(key for one in leaves for key in one)
    told = []
    for key in keys:
        values = [one.get(key, _ABSENT) for one in leaves]
        follows = all(type(v) is int and v == run.seed for v, run in zip(values, runs, strict=True))  # as data.seed
        own = by is not None and (key == by or by.startswith(f"{key}."))
        if not own and key.split(".")[0] not in _NOT_TOLD and not follows and any(v != values[0] for v in values):
            told.append(key)
    return told


def _value(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return _ABSENT
        node = node[part]
    return node


def items_of(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value and the dotted key it stands under."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from items_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _leaves(config: Mapping[str, Any]) -> list[str]:
    return [key for key, _ in items_of(config)]


def _names(values: Sequence[Any], by: str) -> dict[str, str]:
    """A readable name for each value, by its JSON; longer where short ones would be the same."""
    spelt = {json.dumps(value): _spellings(value, by) for value in values}
    for length in range(max(map(len, spelt.values()))):
        names = {key: options[min(length, len(options) - 1)] for key, options in spelt.items()}
        if len(set(names.values())) == len(names):
            return names
    return {key: key for key in spelt}  # such as the number 1 and the text "1"


def _spellings(value: Any, by: str) -> list[str]:
    """Names of one value, from the shortest to the whole."""
    if value is None:
        return ["none"]
    if not isinstance(value, str):
        return [json.dumps(value)]
    if by.endswith("_target_"):
        return [value.rpartition(".")[2], value]
    parts = [part for part in re.split(r"[\\/]+", value) if part]
    if len(parts) < 2:
        return [value]
    telling = next((at for at in reversed(range(len(parts))) if not _RUN_ID.fullmatch(parts[at])), 0)
    return [parts[telling], *("/".join(parts[start:]) for start in range(telling, -1, -1))]
