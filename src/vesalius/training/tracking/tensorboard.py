"""TensorBoard: curves, final metrics and figures in `tensorboard/` of the run folder."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vesalius.config.errors import InputError
from vesalius.runs.redaction import WITHOUT_PIXELS, text_was_found, without_paths
from vesalius.training.tracking.base import Content, Outputs, Tracker, flat_metrics, never_stops

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "tensorboard"


class TensorBoardTracker(Tracker):
    """Event files of one run; a resumed run adds one more, and TensorBoard shows them as one.

    Args:
        images: whether figures with images of patients are included; never those of data in which the run's audit
            found text in pixels.

    Raises:
        InputError: where the package is not installed.
    """

    label = "TensorBoard"

    def __init__(self, images: bool = True) -> None:
        super().__init__()
        try:
            self._writer_class: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise InputError("logger=tensorboard needs the package 'tensorboard': pip install tensorboard") from error
        self._images = images
        self._writer: Any = None

    @property
    def experiment(self) -> Any:
        """The `SummaryWriter`; None before the run has begun."""
        return self._writer

    @never_stops
    def begin(self, folder: Path, config: Content, name: str, task: str | None = None) -> None:
        """Open the event file and write the frozen config."""
        self._images = self._images and not text_was_found(folder)
        self._writer = self._writer_class(log_dir=str(folder / FOLDER))
        text = yaml.safe_dump(without_paths(config), sort_keys=False, allow_unicode=True)
        self._writer.add_text("config", "    " + text.replace("\n", "\n    "))  # indented: code in Markdown

    @never_stops
    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Write each metric as a scalar, on disk at once."""
        if self._writer is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()

    @never_stops
    def show(self, name: str, figure: "Figure") -> None:
        """Add a figure of the epoch."""
        if self._writer is not None and self._images:
            self._writer.add_figure(name, figure, self.epoch, close=False)

    @never_stops
    def finish(self, metrics: Content, figures: "Mapping[str, Figure]", outputs: Outputs | None = None) -> None:
        """Add the metrics of the best checkpoint below `best/`, at its epoch, and the figures."""
        if self._writer is None:
            return
        epoch = (metrics.get("monitor") or {}).get("epoch") or 0
        for name, value in flat_metrics(metrics).items():
            if isinstance(value, int | float) and not name.startswith("monitor/"):
                self._writer.add_scalar(f"best/{name}", value, epoch)
        for name, figure in figures.items():
            if self._images or name in WITHOUT_PIXELS:
                self._writer.add_figure(f"figures/{name}", figure, epoch, close=False)
        self._close()

    @never_stops
    def finalize(self, status: str) -> None:
        """Close the file of a run that failed or was interrupted; after success, `finish` is still to come."""
        if status != "success" and self._writer is not None:
            self._close()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        writer.close()
