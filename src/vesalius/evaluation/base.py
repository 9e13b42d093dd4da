"""From a finished model to its metrics and figures, the same way for every family."""

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
from vesalius.metrics.entry import MetricEntry
from vesalius.models.family import FamilyModule, OutputKind, output_kind
from vesalius.runs.reading import read_history, read_or
from vesalius.runs.run_folder import HISTORY, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("vesalius")

SCHEMA = 1

#: The content of `metrics.json`, or part of it.
Metrics = dict[str, Any]
#: Metrics by name.
Entries = dict[str, MetricEntry]
#: Gives a newly built model the weights that the run started from.
Start = Callable[[FamilyModule], None]

_RESULTS: dict[OutputKind, str] = {
    "targets": "vesalius.evaluation.supervised.SupervisedResults",
    "reconstructions": "vesalius.evaluation.autoencoder.reconstruction.ReconstructionResults",
    "anomalies": "vesalius.evaluation.autoencoder.detection.AnomalyResults",
    "samples": "vesalius.evaluation.synthesis.SynthesisResults",
}


class Results(ABC):
    """Predictions, metrics and figures of one finished model; a subclass for each kind of output.

    Args:
        model: finished.
        data: set up.
        facts: of the data that the model was trained on.
        config: frozen; `seed`, `data` and `evaluation`, and for `analyses` all of the run's. Also `chosen`, the run's
            metrics, where it has chosen before how classes are decided, and `other_data`: whether the data are others
            than its own.
        device: where to compute.
        folder: of the run, or of the evaluation.

    Attributes:
        baseline_tables: test predictions of the baselines, once `baselines` was called.
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
        """The predictions table of a split: `sample_id`, `group_id`, any target columns, and the model's outputs."""

    @abstractmethod
    def score(self, predictions: Mapping[str, pd.DataFrame]) -> Metrics:
        """The part of `metrics.json` that follows from predictions: `schema`, `task`, and one entry per split."""

    @abstractmethod
    def rescore(
        self, predictions: Mapping[str, pd.DataFrame], baselines: Mapping[str, pd.DataFrame], metrics: Metrics
    ) -> Metrics:
        """The part of `metrics.json` that follows from its tables, without model or data, computed again.

        Args:
            predictions: tables of `val` and `test`, as they were written.
            baselines: tables of the baselines, by name.
            metrics: of the run; only what no table holds is taken from it, such as no-skill values of images.
        """

    @abstractmethod
    def score_table(self, table: pd.DataFrame, metrics: Metrics) -> Entries:
        """Metrics of some of the test samples; `metrics` are those of the whole run."""

    @abstractmethod
    def baselines(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> dict[str, Entries]:
        """Metrics of cheap methods on the same test split."""

    @abstractmethod
    def analyses(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics, start: Start) -> Metrics:
        """Further measurements of a finished run, such as ablations: entries to add to `metrics.json`."""

    @abstractmethod
    def figures(self, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
        """Figures by name."""


def results_of(
    model: pl.LightningModule,
    data: ImageDataModule,
    facts: Facts,
    config: Mapping[str, Any],
    device: torch.device,
    folder: Path,
) -> Results:
    """The `Results` for what a model gives; takes the same arguments."""
    return results_class(output_kind(model))(model, data, facts, config, device, folder)


def results_class(kind: OutputKind) -> type[Results]:
    """The `Results` of an output kind."""
    module, _, name = _RESULTS[kind].rpartition(".")
    found: type[Results] = getattr(import_module(module), name)
    return found


def score_without_duplicates(results: Results, test: pd.DataFrame, metrics: Metrics) -> dict[str, Entries]:
    """Test metrics without images that equal, or nearly equal, one of training or validation."""
    data = results.data
    repeated = repeated_in_test(AuditInput(data.real_store.table, data.real_store, data.source, all_pairs=True))
    unique = test[~test["sample_id"].astype(str).isin(repeated)].reset_index(drop=True)
    if unique.empty:
        logger.warning("Every test image repeats one of training or validation: no metrics without duplicates.")
        return {}
    return {"without_duplicates": results.score_table(unique, metrics)}


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each table as `<name>.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False))


def draw_figures(results: Results, predictions: Mapping[str, pd.DataFrame], metrics: Metrics) -> "dict[str, Figure]":
    """The figures of the results, and of the training where the folder has its history."""
    figures = results.figures(predictions, metrics)
    notes, nothing = list[str](), list[dict[str, float]]()
    history = pd.DataFrame(read_or(read_history, results.folder / HISTORY, nothing, "The run", notes))
    for note in notes:
        logger.warning("%s", note)
    if not history.empty:
        from vesalius.figures.classification import history_figure

        figures["history"] = history_figure(history)
    return figures


def save_figures(figures: "Mapping[str, Figure]", folder: Path) -> None:
    """Write each figure as `<name>.png`."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
