"""`history.csv` and the progress bar: one row per epoch."""

import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vesalius.runs.run_folder import HISTORY, write_atomically


def epoch_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """The metrics that the module logged in this epoch, as plain numbers."""
    return {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}


class AfterEpoch(Checkpoint):
    """A callback that runs after the module has logged all of an epoch: Lightning calls this kind last."""


class History(AfterEpoch):
    """Writes one row per epoch to `history.csv`, always as a whole file, so that a crash leaves no half row."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._started = time.perf_counter()
        self._earlier = 0.0  # seconds of this epoch before the run was stopped

    def state_dict(self) -> dict[str, Any]:
        """The rows, so that a resumed run continues the file, and the seconds of the epoch so far."""
        return {"rows": self.rows, "seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of the checkpoint."""
        self.rows, self._earlier = list(state_dict["rows"]), float(state_dict.get("seconds", 0.0))

    @property
    def _seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock: a run that goes on within an epoch does not start that one."""
        self._started = time.perf_counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the rows of the checkpoint again: the file may have been damaged, or hold rows of lost epochs."""
        if self.rows and trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir) / HISTORY)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started, self._earlier = time.perf_counter(), 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row, after validation."""
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **epoch_metrics(trainer)}
        self.rows.append({**row, "seconds": round(self._seconds, 3)})
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir) / HISTORY)

    def _write(self, path: Path) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [",".join(columns)]
        lines += [",".join(str(row.get(name, "")) for name in columns) for row in self.rows]
        write_atomically(path, "\n".join(lines) + "\n")


class EpochProgress(AfterEpoch):
    """A progress bar with the latest metrics; without a terminal, a line after each tenth of the epochs."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._progress: Progress | None = None
        self._task: Any = None
        self._last_drawn = 0.0
        self._text = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar, only on rank 0."""
        if trainer.is_global_zero and self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self._console, auto_refresh=False)
            self._progress.start()
            total = getattr(pl_module, "total_steps", trainer.estimated_stepping_batches)
            self._task = self._progress.add_task("training", total=total, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw at most twice a second: drawing a bar costs as much as several small steps."""
        if self._progress is not None and time.perf_counter() - self._last_drawn > 0.5:
            self._draw(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show this epoch's metrics."""
        shown = {name: value for name, value in epoch_metrics(trainer).items() if name != "lr"}
        values = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self._text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {values}"
        if self._progress is not None:
            self._draw(trainer)
        elif trainer.is_global_zero and _is_tenth(trainer):
            self._console.print(self._text, highlight=False, soft_wrap=True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _draw(self, trainer: pl.Trainer) -> None:
        assert self._progress is not None
        text = self._text or "epoch 1"
        self._progress.update(self._task, completed=trainer.global_step, description=text, refresh=True)
        self._last_drawn = time.perf_counter()


def _is_tenth(trainer: pl.Trainer) -> bool:
    epochs = trainer.max_epochs or 1
    done = trainer.current_epoch + 1
    return done == epochs or done % max(1, epochs // 10) == 0
