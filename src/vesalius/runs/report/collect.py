"""What a report is made from: every training run at or below a folder, finished or not."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from vesalius.config.errors import InputError
from vesalius.runs.folder import CONFIG, HISTORY, OVERRIDES, PROVENANCE, RunFolder
from vesalius.runs.privacy import overrides_without_paths, private_paths, text_without_paths, without_paths
from vesalius.runs.sweep_folder import SWEEP, SweepFolder

#: What repeats of one experiment differ in.
REPEATS = ("seed", "data.seed", "data.fold")
# What runs may differ in without being another experiment.
_NOT_TOLD = ("name", "resume", "logger", "hydra")


@dataclass(frozen=True)
class ReportRun:
    """A training run, at any stage.

    Attributes:
        name: path of its folder below the reported one, or the folder's own name.
        folder: where it lies; None for a job of a sweep that has no folder yet, or never gets one.
        config: frozen, of a job without a folder empty.
        overrides: as typed, by key.
        state: waiting, running, done, failed, interrupted, pruned or refused.
        reason: why it ended otherwise than by being done; names no path.
        seconds: of its last attempt; None before that has ended.
    """

    name: str
    folder: RunFolder | None
    config: Mapping[str, Any]
    overrides: Mapping[str, str]
    state: str
    reason: str | None = None
    seconds: float | None = None

    @cached_property
    def results(self) -> dict[str, Any] | None:
        """`metrics.json` of a run that is done; None of any other."""
        if self.folder is None or self.state != "done":
            return None
        try:
            told = self.folder.metrics
        except (InputError, ValueError, OSError):
            return None
        return told if told.get("test") and told.get("task") else None

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """A mapping an epoch: what `history.csv` holds as finite numbers."""
        if self.folder is None or not (self.folder.path / HISTORY).is_file():
            return []
        with (self.folder.path / HISTORY).open(encoding="utf-8", newline="") as file:
            return [_numbers(row) for row in csv.DictReader(file)]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """`provenance.json`; empty where there is none."""
        return _json(self.folder.path / PROVENANCE) if self.folder else {}

    @property
    def monitor(self) -> tuple[str, str]:
        """Name and mode (`min` or `max`) of the metric that picks the best checkpoint."""
        told = {**self.config.get("monitor", {}), **((self.results or {}).get("monitor") or {})}
        return str(told.get("name", "")), str(told.get("mode", "max"))

    @property
    def best(self) -> tuple[float, int] | None:
        """The best value of the monitored metric so far, and its epoch."""
        told = (self.results or {}).get("monitor") or {}
        if told.get("best") is not None:
            return float(told["best"]), int(told.get("epoch", -1))
        name, mode = self.monitor
        known = [(row[name], int(row.get("epoch", at))) for at, row in enumerate(self.history) if name in row]
        return (max if mode == "max" else min)(known, key=lambda pair: pair[0]) if known else None

    @property
    def leaves(self) -> dict[str, Any]:
        """Every single value of the config by its dotted key, paths shortened."""
        return dict(_leaves(without_paths(self.config)))

    @property
    def seed(self) -> int | None:
        """Seed of the run."""
        typed = self.overrides.get("seed", "")
        seed: int | None = self.config.get("seed", int(typed) if typed.isdigit() else None)
        return seed

    @property
    def fold(self) -> int | None:
        """The part of a cross-validation that was held out; None for a single split."""
        return (self.config.get("data") or {}).get("fold")


@dataclass(frozen=True)
class Collected:
    """All that lies below a folder.

    Attributes:
        path: the folder.
        runs: in the order of their folders' names, jobs without a folder where they would be.
        sweep: content of `sweep.json`; empty where there is none.
        notes: sentences on what could not be read.
    """

    path: Path
    runs: list[ReportRun]
    sweep: Mapping[str, Any]
    notes: list[str]


def collect(path: Path) -> Collected:
    """Read what a report is made from.

    Args:
        path: a run folder, or one with runs below it at any depth, such as a sweep's.

    Raises:
        InputError: for a folder that is not there or holds no training run.
    """
    if not path.is_dir():
        raise InputError(f"run={path}: there is no such folder.")
    notes: list[str] = []
    runs = [run for inside in _run_folders(path) if (run := _run(inside, path, notes)) is not None]
    sweep: Mapping[str, Any] = {}
    if (path / SWEEP).is_file():
        folder = SweepFolder(path)
        sweep = folder.told
        runs = [*runs, *_jobs_without_folder(folder)]
        runs.sort(key=lambda run: _order(Path(run.name).parts))
    if not runs:
        raise InputError(
            f"run={path}: there is no training run in this folder or below it: name a run's folder or a sweep's."
        )
    notes += [f"{run.name} is done, but its metrics.json cannot be read." for run in runs if _unread(run)]
    return Collected(path, runs, sweep, notes)


def varying(runs: list[ReportRun]) -> dict[str, list[str]]:
    """What sets runs apart beside their seeds and folds: by key, the value of each run, `–` where it was not set.

    Keys are those of the overrides, as typed; where these do not differ, those of the configs. Of keys that tell the
    same runs apart, the first alone.
    """
    typed = {key: None for run in runs for key in run.overrides if _tells(key)}
    found = {key: [run.overrides.get(key, "–") for run in runs] for key in typed}
    found = {key: values for key, values in found.items() if len(set(values)) > 1}
    if not found and len(runs) > 1:
        found = {key: values for key, values in differing(runs).items() if _tells(key)}
    by_partition: dict[tuple[int, ...], str] = {}
    for key, values in found.items():
        by_partition.setdefault(tuple(values.index(value) for value in values), key)
    return {key: found[key] for key in by_partition.values()}


def differing(runs: list[ReportRun]) -> dict[str, list[str]]:
    """Values of every key in which the frozen configs differ, as JSON; a key that follows the seed is left out."""
    leaves = [run.leaves for run in runs]
    told = {}
    for key in dict.fromkeys(key for one in leaves for key in one):
        values = [json.dumps(one[key]) if key in one else "–" for one in leaves]
        follows = key != "seed" and all(value == json.dumps(run.seed) for value, run in zip(values, runs, strict=True))
        if len(set(values)) > 1 and not follows:
            told[key] = values
    return told


def _tells(key: str) -> bool:
    return key not in REPEATS and key.split(".")[0] not in _NOT_TOLD


def _unread(run: ReportRun) -> bool:
    return run.state == "done" and run.results is None and run.folder is not None


def _run_folders(path: Path) -> Iterator[Path]:
    """Folders with a config at or below `path`; nothing inside one, such as an evaluation, is looked at."""
    if (path / CONFIG).is_file():
        yield path
        return
    children = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    for child in sorted(children, key=lambda child: _order((child.name,))):
        yield from _run_folders(child)


def _order(parts: tuple[str, ...]) -> list[tuple[bool, str]]:
    """Job 10 comes after job 9, and both before names."""
    return [(not part.isdigit(), part.zfill(12) if part.isdigit() else part) for part in parts]


def _run(path: Path, top: Path, notes: list[str]) -> ReportRun | None:
    """The run in a folder; None for the folder of another verb."""
    name = path.resolve().name if path == top else path.relative_to(top).as_posix()
    folder = RunFolder(path)
    try:
        config, state = folder.config, folder.state
    except (ValueError, yaml.YAMLError) as error:
        notes.append(f"{name} is left out: {' '.join(str(error).split())[:200]}")
        return None
    if not isinstance(config, dict) or "model" not in config or "monitor" not in config:
        return None
    told, reason = state.get("state", "waiting"), state.get("reason")
    if told == "running" and not folder.alive:
        told, reason = "interrupted", "killed"
    reason = text_without_paths(str(reason), private_paths(config)) if reason else None
    return ReportRun(name, folder, config, _by_key(_overrides(path)), told, reason, state.get("seconds"))


def _jobs_without_folder(sweep: SweepFolder) -> Iterator[ReportRun]:
    for job in sweep.jobs:
        if job.run is None:
            reason = text_without_paths(job.reason) if job.reason else None
            yield ReportRun(str(job.number), None, {}, _by_key(list(job.overrides)), job.state, reason)


def _overrides(path: Path) -> list[str]:
    try:
        loaded = yaml.safe_load((path / OVERRIDES).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return []
    return [str(entry) for entry in loaded] if isinstance(loaded, list) else []


def _by_key(overrides: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in overrides_without_paths(overrides)]
    return {key.lstrip("+~"): value if equals else "" for key, equals, value in pairs}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _numbers(row: Mapping[str, str | None]) -> dict[str, float]:
    told = {}
    for name, text in row.items():
        try:
            number = float(text or "nan")
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            told[name] = number
    return told


def _json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
