"""Progress of a sweep: a live table on a terminal, otherwise a line at the start and end of each job."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vesalius.runs.reading import read_history, read_or
from vesalius.runs.run_folder import HISTORY, RunFolder
from vesalius.runs.sweep_folder import SweepJob

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_REDRAW = 0.5  # seconds
_STYLES = {"running": "cyan", "done": "green", "failed": "red", "refused": "red", "interrupted": "yellow"}
#: Lines of the screen that are not rows of the table.
_FRAME = 7


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        epochs: number of finished epochs.
        max_epochs: most epochs of the run; None without a limit.
        metric: name of the monitored metric.
        best: its best value so far; NaN before the first.
    """

    epochs: int
    max_epochs: int | None
    metric: str
    best: float

    def seconds_left(self, elapsed: float, before: int = 0) -> float | None:
        """Estimated time for the remaining epochs.

        Args:
            elapsed: seconds of this attempt.
            before: epochs that were finished before it.

        Returns:
            Seconds; None while there is nothing to estimate from.
        """
        if self.epochs <= before or self.max_epochs is None:
            return None
        return elapsed / (self.epochs - before) * max(0, self.max_epochs - self.epochs)


def progress_of(folder: RunFolder, config: Mapping[str, Any]) -> Progress:
    """Read the progress of a run from its `history.csv`; a row that cannot be read counts as none.

    Args:
        folder: of the run.
        config: frozen, as read from the folder.
    """
    monitor = config.get("monitor") or {}
    metric = str(monitor.get("name", ""))
    nothing: list[dict[str, float]] = []
    rows = read_or(read_history, folder.path / HISTORY, nothing, folder.path.name, [])
    epochs = max((int(row["epoch"]) + 1 for row in rows if "epoch" in row), default=0)
    values = [row[metric] for row in rows if metric in row]
    best = min(values, default=math.nan) if monitor.get("mode") == "min" else max(values, default=math.nan)
    limit = (config.get("trainer") or {}).get("max_epochs")
    return Progress(epochs, limit if limit is not None and limit > 0 else None, metric, best)


@dataclass
class _Row:
    number: int
    varies: str
    folder: RunFolder | None
    config: Mapping[str, Any]
    state: str
    began: float
    before: int = 0
    seconds: float = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began if self.state == "running" else self.seconds

    def cells(self) -> list[str]:
        """Number, what varies, state, epoch, best, elapsed, ETA."""
        cells = [str(self.number), self.varies, self.state]
        if self.folder is None or not self.folder.path.is_dir():
            return [*cells, "", "", "", ""]
        if self.state == "running" and not self.folder.state:
            cells[2] = "starting"
        progress = progress_of(self.folder, self.config)
        left = progress.seconds_left(self.elapsed, self.before) if self.state == "running" else None
        epoch = f"{progress.epochs}/{progress.max_epochs or '?'}"
        best = "" if math.isnan(progress.best) else f"{progress.metric} {progress.best:.4g}"
        return [*cells, epoch, best, duration(self.elapsed), "" if left is None else duration(left)]


class SweepBoard:
    """Shows the state of the jobs of a sweep, on stderr.

    Args:
        axes: keys that vary.
        total: number of jobs; None while it is not known.
        slots: how many run at once.
    """

    def __init__(self, axes: Sequence[str], *, total: int | None, slots: int) -> None:
        self._axes, self._total, self._slots = list(axes), total, slots
        self._rows: dict[int, _Row] = {}
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> "SweepBoard":
        if shows_table():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self.update(at_once=True)
            self._live.stop()

    def started(self, number: int, overrides: Sequence[str], folder: RunFolder, *, goes_on: bool) -> None:
        """Show that a job has started, or was resumed."""
        config = folder.config
        before = progress_of(folder, config).epochs
        row = _Row(number, self.varies(overrides), folder, config, "running", time.monotonic(), before)
        self._rows[number] = row
        if self._live is None:
            self._say(f"{self._count(number)} {'goes on' if goes_on else 'starts'}: {row.varies}")

    def ended(self, job: SweepJob, last_lines: Sequence[str] = ()) -> None:
        """Show that a job has ended, was refused, or was found finished; `last_lines` are those of its console."""
        row, run = self._rows.get(job.number), job.run
        if row is None:
            config = {} if run is None else run.config
            row = _Row(job.number, self.varies(job.overrides), run, config, job.state, time.monotonic())
            self._rows[job.number] = row
        elif row.state == "running":
            row.seconds = time.monotonic() - row.began
        row.state = job.state
        best = "" if job.objective is None else f", {row.config.get('monitor', {}).get('name')} {job.objective:.4g}"
        reason = f": {job.reason}" if job.reason else ""
        if self._live is None:
            after = f" after {duration(row.seconds)}" if row.seconds else ""
            self._say(f"{self._count(job.number)} {job.state}{after}{best}{reason}")
        if job.state == "failed":
            for line in last_lines:
                self._say(f"  {job.number} | {line}")

    def update(self, *, at_once: bool = False) -> None:
        """Draw the table again, if it is time."""
        if self._live is not None and (at_once or time.monotonic() - self._drawn > _REDRAW):
            self._drawn = time.monotonic()
            self._live.update(self._table(max(5, self._live.console.height - _FRAME)), refresh=True)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self._say(text)

    def varies(self, overrides: Sequence[str]) -> str:
        """The overrides in which a job differs from the others, with keys as short as possible."""
        shown = [text for text in overrides if not self._axes or text.partition("=")[0] in self._axes]
        last = [text.partition("=")[0].rpartition(".")[2] for text in shown]
        parts = [
            f"{short}={text.partition('=')[2]}" if last.count(short) == 1 else text
            for text, short in zip(shown, last, strict=True)
        ]
        return " ".join(parts)

    def _count(self, number: int) -> str:
        return f"[{number}]" if self._total is None else f"[{number}, {self._ended} of {self._total} ended]"

    @property
    def _ended(self) -> int:
        return sum(row.state != "running" for row in self._rows.values())

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _table(self, height: int) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=self._caption(), caption_justify="left")
        for column in ("job", "varies", "state", "epoch", "best", "elapsed", "ETA"):
            table.add_column(column, justify="left" if column in ("varies", "state", "best") else "right")
        # Those that run, and as many of the others as fit: the latest.
        rows = sorted(self._rows.values(), key=lambda row: (row.state == "running", row.began))[-height:]
        for row in sorted(rows, key=lambda row: row.number):
            style = _STYLES.get(row.state, "")
            table.add_row(*(Text(cell, style=style if place == 2 else "") for place, cell in enumerate(row.cells())))
        return table

    def _caption(self) -> str:
        counts: dict[str, int] = {}
        for row in self._rows.values():
            counts[row.state] = counts.get(row.state, 0) + 1
        if self._total is not None:
            counts["waiting"] = self._total - len(self._rows)
        parts = [f"{count} {state}" for state, count in counts.items() if count]
        ended = [row.seconds for row in self._rows.values() if row.state == "done" and row.seconds]
        if ended and self._total is not None and self._total > self._ended:
            seconds = sum(ended) / len(ended) * (self._total - self._ended) / self._slots
            parts.append(f"about {duration(seconds)} left")
        return ", ".join(parts)


def shows_table() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stderr.isatty()


def duration(seconds: float) -> str:
    """As hours, minutes and seconds: `1:02:03`, `2:03`, or `3 s` below a minute."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def job_line(job: SweepJob, path: Path) -> str:
    """One job that was not finished: number, overrides, reason and folder."""
    where = f"; {path}" if path.is_dir() else ""
    return f"job {job.number} ({' '.join(job.overrides)}) {job.state}: {job.reason or 'see its output'}{where}"
