"""Jobs of a sweep that cost nothing: a launcher of one process that writes run folders as trainings do."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vesalius.runs.run_folder import prune_reason, write_json
from vesalius.runs.sweep_folder import FINISHED, SweepJob

Curve = Callable[[dict[str, float]], list[float]]


class FakeLauncher:
    """Runs jobs one epoch after the other, `slots` of them side by side.

    Args:
        path: the sweep's folder.
        curve: the monitored metric of each epoch, from the job's numbers; raises where a job fails.
        slots: how many run at once.
        pause: seconds of an epoch.
        val: further validation metrics of a job, from its numbers.
    """

    def __init__(
        self,
        path: Path,
        curve: Curve,
        *,
        slots: int = 1,
        pause: float = 0.0,
        val: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> None:
        self.path, self.curve, self.slots, self.pause, self.val = path, curve, slots, pause, val
        self.most_at_once = 0

    def stream(
        self,
        jobs: Iterator[tuple[int, list[str]]],
        done: Callable[[SweepJob], None],
        tick: Callable[[Mapping[int, Path]], None] | None = None,
    ) -> None:
        running: dict[int, tuple[list[str], Iterator[SweepJob | None]]] = {}
        exhausted = False
        while True:
            while not exhausted and len(running) < self.slots:
                number, overrides = next(jobs, (-1, []))
                exhausted = number < 0
                if not exhausted:
                    running[number] = (overrides, self._work(number, overrides))
            if not running:
                return
            self.most_at_once = max(self.most_at_once, len(running))
            for number, (_, work) in list(running.items()):
                job = next(work)
                if job is not None:
                    del running[number]
                    done(job)
            if tick is not None:
                tick({number: self.path / str(number) for number in running})

    def _work(self, number: int, overrides: list[str]) -> Iterator[SweepJob | None]:
        """One step an epoch; ends with the job as it ended."""
        path, numbers = self.path / str(number), numbers_of(overrides)
        if (state := _told(path).get("state")) in FINISHED:
            yield SweepJob(number, tuple(overrides), path, state)
            return
        if _told(path).get("state") == "failed":
            shutil.rmtree(path)
        try:
            values = self.curve(numbers)
        except ValueError as error:
            yield self._end(number, overrides, "failed", str(error))
            return
        begin(path, overrides, epochs=len(values))
        rows = _rows(path)
        for epoch in range(len(rows), len(values)):
            rows.append({"epoch": epoch, "val/auroc": values[epoch]})
            write_history(path, rows)
            time.sleep(self.pause)
            yield None
            reason = prune_reason(path)
            if reason is not None:
                yield self._end(number, overrides, "pruned", reason)
                return
        self._judge(path, numbers, max(values))
        yield self._end(number, overrides, "done")

    def _judge(self, path: Path, numbers: dict[str, float], best: float) -> None:
        monitor = {"name": "val/auroc", "mode": "max", "best": best, "epoch": 0}
        val = {name: {"value": value} for name, value in (self.val(numbers) if self.val else {}).items()}
        text = json.dumps({"schema": 1, "monitor": monitor, "val": val})
        (path / "metrics.json").write_text(text)

    def _end(self, number: int, overrides: list[str], state: str, reason: str | None = None) -> SweepJob:
        path = self.path / str(number)
        begin(path, overrides, epochs=0)
        endings = [*_told(path).get("endings", []), state]
        write_json(path / "state.json", {"state": state, "reason": reason, "seconds": 0.1, "endings": endings})
        return SweepJob(number, tuple(overrides), path, state, reason=reason)


def begin(path: Path, overrides: list[str], *, epochs: int) -> None:
    """A run folder, unless there is one."""
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "config.yaml").exists():
        (path / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        config = {"monitor": {"name": "val/auroc", "mode": "max"}, "trainer": {"max_epochs": epochs}}
        beside = path / "config"
        beside.write_text(yaml.safe_dump(config))
        beside.replace(path / "config.yaml")


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """`history.csv` with these rows."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    beside = path / "history"
    beside.write_text("\n".join(lines) + "\n")
    beside.replace(path / "history.csv")


def numbers_of(overrides: list[str]) -> dict[str, float]:
    """The values of `key=number`."""
    return {key: float(value) for key, _, value in (text.partition("=") for text in overrides)}


def _told(path: Path) -> dict[str, Any]:
    file = path / "state.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    file = path / "history.csv"
    if not file.is_file():
        return []
    head, *lines = file.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    return [dict(zip(head.split(","), (int(epoch), float(value)), strict=True)) for epoch, value in rows]
