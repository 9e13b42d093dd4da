"""What a report is made from: every training run at or below a folder, finished or not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vesalius.config.errors import InputError
from vesalius.report.reading import (
    DAMAGE,
    by_key,
    read_config,
    read_history,
    read_or,
    read_overrides,
    read_provenance,
    read_results,
    read_state,
    read_sweep,
    why,
)
from vesalius.runs.redaction import private_paths, text_without_paths
from vesalius.runs.run_folder import CONFIG, HISTORY, METRICS, OVERRIDES, PROVENANCE, STATE, RunFolder
from vesalius.runs.sweep_folder import SWEEP


@dataclass(frozen=True)
class ReportRun:
    """A training run, at any stage.

    Attributes:
        name: path of its folder below the reported one, or the folder's own name.
        folder: where it lies; None for a job of a sweep that has no folder yet, or never gets one.
        config: frozen, of a job without a folder empty.
        overrides: as typed, by key; may name folders of the user's.
        state: waiting, running, done, failed, interrupted, pruned or refused; unknown where it cannot be read.
        reason: why it ended otherwise than by being done; names no path.
        seconds: of its last attempt; None before that has ended.
        results: `metrics.json` of a run that is done; None of any other.
        history: a mapping an epoch.
        provenance: empty where there is none.
    """

    name: str
    folder: RunFolder | None
    config: Mapping[str, Any]
    overrides: Mapping[str, str]
    state: str
    reason: str | None = None
    seconds: float | None = None
    results: dict[str, Any] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

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
            return float(told["best"]), int(-1 if told.get("epoch") is None else told["epoch"])
        name, mode = self.monitor
        known = [(row[name], int(row.get("epoch", at))) for at, row in enumerate(self.history) if name in row]
        return (max if mode == "max" else min)(known, key=lambda pair: pair[0]) if known else None

    @property
    def decision(self) -> Literal["argmax"] | float:
        """How classes are decided: by argmax, or by a threshold."""
        threshold = ((self.results or {}).get("decision") or {}).get("threshold")
        return float(threshold) if isinstance(threshold, int | float) else "argmax"

    @property
    def seed(self) -> int | None:
        """Seed of the run."""
        typed = self.overrides.get("seed", "")
        seed: int | None = self.config.get("seed", int(typed) if typed.isdigit() else None)
        return seed

    @property
    def data_seed(self) -> int | None:
        """Seed of the split."""
        return (self.config.get("data") or {}).get("seed")

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
    check_reported(path)
    notes: list[str] = []
    runs = [run for inside in _run_folders(path, notes) if (run := _run(inside, path, notes)) is not None]
    nothing: dict[str, Any] = {}
    sweep = read_or(read_sweep, path / SWEEP, nothing, "The sweep", notes)
    runs += _jobs_without_folder(path, sweep)
    runs.sort(key=lambda run: _order(Path(run.name).parts))
    if not runs:
        raise InputError([_no_run(path), *notes])
    return Collected(path, runs, sweep, notes)


def check_reported(path: Path) -> None:
    """Refuse a folder of which nothing can be told, before anything is written into it.

    Raises:
        InputError: for a folder that is not there, or without any run or sweep.
    """
    # Hydra has made a folder of that name by now, if there was none.
    if not (path / SWEEP).is_file() and next(_run_folders(path, []), None) is None:
        raise InputError(_no_run(path))


def _no_run(path: Path) -> str:
    return (
        f"run={path}: there is no such folder, or no training run in it or below it: name a run's folder or a sweep's."
    )


def _run_folders(path: Path, notes: list[str]) -> Iterator[Path]:
    """Folders with a config at or below `path`; nothing inside one, such as an evaluation, is looked at.

    A link to what is met under its own name too, such as `latest`, is no run of its own.
    """
    seen: set[Path] = set()

    def walk(folder: Path) -> Iterator[Path]:
        if folder.resolve() in seen:
            return
        seen.add(folder.resolve())
        try:
            if (folder / CONFIG).is_file():
                yield folder
                return
            children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
        except OSError as error:
            notes.append(f"{folder.name} is left out: {why(error)}")
            return
        for child in sorted(children, key=lambda child: (child.is_symlink(), *_order((child.name,)))):
            yield from walk(child)

    return walk(path)


def _order(parts: tuple[str, ...]) -> list[tuple[bool, str]]:
    """Job 10 comes after job 9, and both before names."""
    return [(not part.isdigit(), part.zfill(12) if part.isdigit() else part) for part in parts]


def _run(path: Path, top: Path, notes: list[str]) -> ReportRun | None:
    """The run in a folder; None for the folder of another verb."""
    name = path.resolve().name if path == top else path.relative_to(top).as_posix()
    try:
        config = read_config(path / CONFIG)
    except DAMAGE as error:
        notes.append(f"{name} is left out: {CONFIG} cannot be read: {why(error)}")
        return None
    if config is None:
        return None
    folder, damaged = RunFolder(path), len(notes)
    waiting: dict[str, Any] = {"state": "waiting"}
    told = read_or(read_state, path / STATE, waiting, name, notes)
    state, reason = "unknown" if len(notes) > damaged else told["state"], told.get("reason")
    if state == "running" and not folder.alive:
        state, reason = "interrupted", "killed"
    results = read_or(read_results, path / METRICS, None, name, notes) if state == "done" else None
    if state == "done" and not (path / METRICS).is_file():
        notes.append(f"{name} is done, but has no {METRICS}.")
    return ReportRun(
        name,
        folder,
        config,
        read_or(read_overrides, path / OVERRIDES, {}, name, notes),
        state,
        text_without_paths(str(reason), private_paths(config)) if reason else None,
        told.get("seconds"),
        results,
        read_or(read_history, path / HISTORY, [], name, notes),
        read_or(read_provenance, path / PROVENANCE, {}, name, notes),
    )


def _jobs_without_folder(path: Path, sweep: Mapping[str, Any]) -> Iterator[ReportRun]:
    for job in sweep.get("jobs", []):
        if not (path / str(job["number"]) / CONFIG).is_file():
            reason = text_without_paths(str(job["reason"])) if job.get("reason") else None
            state = str(job.get("state", "waiting"))
            yield ReportRun(str(job["number"]), None, {}, by_key(job.get("overrides") or []), state, reason)
