"""From a finished model to its numbers and pictures, in one way for every family."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytorch_lightning as pl
import torch

from vesalius.config.facts import Facts
from vesalius.data.audit.audit import repeated_in_test
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import Split
from vesalius.models.family import OutputKind, output_kind
from vesalius.runs.run_folder import HISTORY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

SCHEMA = 1

Metrics = dict[str, Any]
#: Gives a newly built model the weights that the run began with.
Start = Callable[[pl.LightningModule], None]

_KINDS: dict[OutputKind, str] = {
    "targets": "vesalius.evaluation.supervised.SupervisedResults",
    "reconstructions": "vesalius.evaluation.reconstruction.ReconstructionResults",
    "samples": "vesalius.evaluation.synthesis.SynthesisResults",
}


class Results(ABC):
    """Predictions, metrics and figures of one finished model; a subclass for each kind of answer.

    Args:
        model: finished.
        data: set up.
        facts: of the data that the model was trained on.
        config: the frozen config that judges: `seed`, `evaluation`, and for evidence that trains, all of the run's.
        device: where to compute.
        folder: where the run, or the evaluation, is written.

    Attributes:
        baseline_tables: test predictions of the cheap models, once `baselines` was called.
    """

    def __init__(
        self,
        model: pl.LightningModule,
        data: ImageDataModule,
        facts: Facts,
        config: Mapping[str, Any],
        device: torch.device,
        folder: Path,
    ) -> None:
        self.model, self.data, self.facts = model, data, facts
        self.config, self.device, self.folder = config, device, folder
        self.baseline_tables: dict[str, pd.DataFrame] = {}

    @abstractmethod
    def predictions(self, split: Split) -> pd.DataFrame:
        """The table of a split: `sample_id`, `group_id`, targets where there are any, and what the model says."""

    @abstractmethod
    def judge(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """`metrics.json` as far as the predictions tables tell it: `schema`, `task`, and an entry a split."""

    @abstractmethod
    def judge_table(self, table: pd.DataFrame, metrics: Metrics) -> Metrics:
        """Metrics of some of the test samples; `metrics` are those of the whole run."""

    @abstractmethod
    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> Metrics:
        """What cheap methods reach on the same split."""

    @abstractmethod
    def evidence(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """What more is measured of a finished run: entries to add to `metrics.json`."""

    @abstractmethod
    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Pictures by name."""


def results_of(
    model: pl.LightningModule,
    data: ImageDataModule,
    facts: Facts,
    config: Mapping[str, Any],
    device: torch.device,
    folder: Path,
) -> Results:
    """The results of a model, as its family makes them; see `Results`."""
    module, _, name = _KINDS[output_kind(model)].rpartition(".")
    made: Results = getattr(import_module(module), name)(model, data, facts, config, device, folder)
    return made


def judge_unrepeated(results: Results, test: pd.DataFrame, metrics: Metrics) -> Metrics:
    """The test metrics without images that equal, or nearly equal, one of training or validation."""
    data = results.data
    repeated = repeated_in_test(AuditInput(data.real_store.table, data.real_store, data.source))
    kept = test[~test["sample_id"].astype(str).isin(repeated)].reset_index(drop=True)
    if kept.empty:
        logger.warning("Every test image repeats one of training or validation: nothing is left to judge without them.")
        return {}
    return {"without_duplicates": results.judge_table(kept, metrics)}


def write_skipped(data: ImageDataModule, folder: Path) -> None:
    """`skipped.csv`: what was left out, and why; no file where nothing was."""
    left_out = [*data.source.left_out, *data.store.skipped]
    if left_out:
        pd.DataFrame(left_out, columns=["sample_id", "reason"]).to_csv(folder / "skipped.csv", index=False)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """One CSV a table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def draw(results: Results, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
    """The pictures of a run: of its results, and of its learning where that is on record."""
    drawn = results.figures(predictions, metrics)
    if (results.folder / HISTORY).is_file():
        from vesalius.figures.classification import history_figure

        drawn["history"] = history_figure(pd.read_csv(results.folder / HISTORY))
    return drawn


def save_figures(figures: "Mapping[str, Figure]", folder: Path) -> None:
    """One PNG a figure."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
