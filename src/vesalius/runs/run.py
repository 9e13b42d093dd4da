"""One training run, finished or not, as its folder records it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vesalius.runs.reading import (
    DAMAGE,
    describe_error,
    read_config,
    read_history,
    read_or,
    read_overrides,
    read_provenance,
    read_results,
    read_state,
)
from vesalius.runs.redaction import private_paths, text_without_paths
from vesalius.runs.run_folder import CONFIG, HISTORY, METRICS, OVERRIDES, PROVENANCE, STATE, RunFolder


@dataclass(frozen=True)
class Run:
    """A training run at any stage.

    Attributes:
        name: for people: path of its folder below the one that was searched, or the last parts of that path.
        folder: where it lies; None for a job of a sweep that has no folder yet, or never gets one.
        config: frozen; empty for a job without a folder.
        overrides: as typed, by key; may name folders of the user's.
        state: waiting, running, done, failed, interrupted, pruned or refused; unknown where it cannot be read.
        reason: why it ended otherwise than by being done; names no path.
        seconds: of its last attempt; None before that has ended.
        results: `metrics.json` of a run that is done; None for any other, and where it cannot be read.
        history: one mapping per epoch.
        provenance: `provenance.json`; empty where there is none.
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
    def test(self) -> Mapping[str, Any]:
        """Its test metrics by name; empty while it has no results."""
        return (self.results or {}).get("test") or {}

    @property
    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        """Test metrics of its cheap baselines, by baseline and name."""
        return (self.results or {}).get("baselines") or {}

    @property
    def monitor(self) -> tuple[str, str]:
        """Name and mode (`min` or `max`) of the metric that picks the best checkpoint."""
        monitor = {**self.config.get("monitor", {}), **((self.results or {}).get("monitor") or {})}
        return str(monitor.get("name", "")), str(monitor.get("mode", "max"))

    @property
    def best(self) -> tuple[float, int] | None:
        """The best value of the monitored metric so far, and its epoch."""
        monitor = (self.results or {}).get("monitor") or {}
        if monitor.get("best") is not None:
            return float(monitor["best"]), int(-1 if monitor.get("epoch") is None else monitor["epoch"])
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
        """Seed of the run; None for a job without a folder for which none was typed."""
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

    @property
    def repeat(self) -> tuple[int | None, int | None, int | None]:
        """What pairs the run with one of another arm: seed, seed of the split, fold."""
        return self.seed, self.data_seed, self.fold


def read_run(path: Path, name: str) -> tuple[Run | None, list[str]]:
    """Read the run in a folder; a damaged file is left out.

    Args:
        path: a folder with a config.
        name: what to call the run.

    Returns:
        The run, and one sentence per damaged file. No run where the config is another verb's or cannot be read.
    """
    try:
        config = read_config(path / CONFIG)
    except DAMAGE as error:
        return None, [f"{name} is left out: {CONFIG} cannot be read: {describe_error(error)}"]
    if config is None:
        return None, []
    folder, notes = RunFolder(path), list[str]()
    waiting: dict[str, Any] = {"state": "waiting"}
    status = read_or(read_state, path / STATE, waiting, name, notes)
    state, reason = "unknown" if notes else status["state"], status.get("reason")
    if state == "running" and not folder.alive:
        state, reason = "interrupted", "killed"
    results = read_or(read_results, path / METRICS, None, name, notes) if state == "done" else None
    if state == "done" and not (path / METRICS).is_file():
        notes.append(f"{name} is done, but has no {METRICS}.")
    run = Run(
        name,
        folder,
        config,
        read_or(read_overrides, path / OVERRIDES, {}, name, notes),
        state,
        text_without_paths(str(reason), private_paths(config)) if reason else None,
        status.get("seconds"),
        results,
        read_or(read_history, path / HISTORY, [], name, notes),
        read_or(read_provenance, path / PROVENANCE, {}, name, notes),
    )
    return run, notes
