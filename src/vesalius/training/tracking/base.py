"""What the trackers have in common: what they receive from a run, and that they never stop one."""

import functools
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger

from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import Split
from vesalius.training.history import AfterEpoch, epoch_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

#: A config or metrics, as plain containers.
Content = Mapping[str, Any]
_Call = TypeVar("_Call", bound=Callable[..., None])


@dataclass(frozen=True)
class Outputs:
    """What a finished run predicted for each sample.

    Attributes:
        facts: of the data.
        predictions: the table of each split; names samples and patients, which no tracker may pass on.
        images: gives, for a split and positions (N,) in its table, the images (N, C, H, W); of a series its middle
            frame.
    """

    facts: Facts
    predictions: Mapping[str, pd.DataFrame]
    images: Callable[[Split, NDArray[Any]], NDArray[Any]]


def outputs_of(data: ImageDataModule, predictions: Mapping[str, pd.DataFrame]) -> Outputs:
    """Predictions for some data, with the images."""

    def images(split: Split, positions: NDArray[Any]) -> NDArray[Any]:
        rows, store = data.rows(split)[positions.tolist()], data.store
        if data.source.series:
            middle = store.offsets[rows] + store.lengths[rows] // 2
            return np.asarray(store.frames(middle).numpy())
        return np.asarray(store[rows].numpy())

    return Outputs(data.facts, predictions, images)


class Tracker(Logger):
    """Follows one run on a dashboard; a subclass for each dashboard. `never_stops` guards every method that may fail.

    Lightning's own calls do nothing: it logs an epoch in several parts, and `TrackEpochs` logs it as one row.

    Attributes:
        failed: whether a call failed, after which nothing more is tried.
        epoch: the current one.
    """

    label: str
    failed = False
    epoch = 0

    @abstractmethod
    def begin(self, folder: Path, config: Content, name: str, task: str | None = None) -> None:
        """Start following a run, once its first step is done or has failed; again when it is resumed.

        Args:
            folder: of the run.
            config: frozen.
            name: of the run; several may have the same.
            task: of the data.
        """

    @abstractmethod
    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Add the metrics of an epoch, `epoch` among them."""

    @abstractmethod
    def show(self, name: str, figure: "Figure") -> None:
        """Log a picture while training."""

    @abstractmethod
    def finish(self, metrics: Content, figures: "Mapping[str, Figure]", outputs: Outputs | None = None) -> None:
        """Add the final numbers and pictures, and close.

        Args:
            metrics: of the best checkpoint, as in `metrics.json`.
            figures: by name.
            outputs: that the metrics were computed from.
        """

    @property
    def name(self) -> str:
        """The kind of tracker, as Lightning asks for it."""
        return self.label

    @property
    def version(self) -> None:
        """None: Lightning would name a folder by it."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Do nothing: see `log_epoch`."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `begin` receives the frozen config."""


class TrackEpochs(AfterEpoch):
    """Gives the trackers one row per epoch, that of `history.csv`, before the checkpoint, so that none is lost.

    They begin once the first step is done, or has failed: a dashboard's package takes longer to import than a step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: tuple[Path, Content, str | None] | None = None

    def fill(self, folder: Path, config: Content, task: str | None) -> None:
        """Receive what the trackers begin with: the run's folder, its frozen config, the task of its data."""
        self._waiting = folder, config, task

    def begin(self, trainer: pl.Trainer) -> None:
        """Let the trackers begin, unless they have."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            folder, config, task = waiting
            for tracker in trackers_of(trainer.loggers):
                tracker.begin(folder, config, config["name"], task)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        """Begin."""
        if self._waiting is not None:
            self.begin(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Begin, so that a run that fails in its first step is seen to fail."""
        self.begin(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the trackers the epoch of a run that goes on within one."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the trackers the epoch that figures belong to."""
        for tracker in trackers_of(trainer.loggers):
            tracker.epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand the row over."""
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **epoch_metrics(trainer)}
        for tracker in trackers_of(trainer.loggers):
            tracker.log_epoch(row)


def trackers_of(loggers: Iterable[Any]) -> list[Tracker]:
    """The trackers among the loggers; Lightning's own loggers may stand next to them."""
    return [one for one in loggers if isinstance(one, Tracker)]


def never_stops(method: _Call) -> _Call:
    """Log the first error of a tracker's method as a warning, and switch the tracker off for the rest of the run."""

    @functools.wraps(method)
    def guarded(self: Tracker, *arguments: Any, **options: Any) -> None:
        if self.failed:
            return
        try:
            method(self, *arguments, **options)
        except Exception as error:
            self.failed = True
            logger.warning("%s is off for the rest of this run: %s", self.label, error)

    return guarded  # type: ignore[return-value]


def flat_metrics(metrics: Content) -> dict[str, Any]:
    """`metrics.json` as flat keys: `test/auroc` with `/ci95_low`, `/ci95_high`, `/n`, `/groups`, `/no_skill`.

    A metric that could not be computed has only its `/reason`; lists are left out.
    """
    values: dict[str, Any] = {}
    details: dict[str, Any] = {}

    def walk(node: Content, key: str) -> None:
        for name, value in node.items():
            inner = f"{key}/{name}" if key else name
            if isinstance(value, Mapping) and "ci95" in value:
                values[inner] = value["value"]
                details.update({f"{inner}/{part}": entry for part, entry in _details(value).items()})
            elif isinstance(value, Mapping):
                walk(value, inner)
            elif not isinstance(value, list):
                values[inner] = value

    walk(metrics, "")
    # A class may be called like a part of a metric, such as `n`: the metric of the class goes first.
    return {key: value for key, value in {**details, **values}.items() if value is not None}


def _details(metric: Content) -> dict[str, Any]:
    low, high = metric["ci95"] or (None, None)
    others = {key: value for key, value in metric.items() if key not in ("value", "ci95", "method")}
    return {"ci95_low": low, "ci95_high": high, **others}


def model_name(config: Content) -> str:
    """Classes of the module and its net, such as `CNNClassifier/SmallResNet`; torchvision's architectures by name."""
    model = config.get("model") or {}
    net = model.get("net") or model.get("generator") or {}
    return "/".join(name for name in (_class_of(model), str(net.get("architecture") or _class_of(net))) if name)


def source_name(config: Content) -> str:
    """The data set's name, or the class of the source that reads it."""
    source = (config.get("data") or {}).get("source") or {}
    return str(source.get("name") or _class_of(source))


def _class_of(node: Any) -> str:
    return str(node.get("_target_", "")).rpartition(".")[-1] if isinstance(node, Mapping) else ""
