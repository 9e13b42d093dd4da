"""Feature tables: an encoder's features of every sample, written batch by batch."""

import csv
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from vesalius.config.build import build
from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.config.targets import locate
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.samples import SPLITS, UNUSED, Split, check_samples, target_columns
from vesalius.data.sources.base import Source
from vesalius.models.family import FamilyModule
from vesalius.models.feature_cache import hash_tensors
from vesalius.runs.redaction import without_paths

logger = logging.getLogger("vesalius")

FeatureBatch = tuple[NDArray[np.int64], NDArray[np.float32]]

# Options for learning from labels: here they leave out no sample and change no label.
_TRAINING_OPTIONS = ("sampling", "shuffle_labels", "train_classes", "second_view", "synthetic", "synthetic_ratio")


def extractor_hash(model: nn.Module, config: Mapping[str, Any]) -> str:
    """A hash that is equal for feature tables of one encoder: 32 hex characters (BLAKE2b).

    Which weights `embed` uses is not known, so all of the model's count: every weight and buffer by name, shape, type
    and bytes (buffers hold the normalisation), and the model's config, with paths shortened as in checkpoints. A table
    from the same encoder under another head has another hash.

    Args:
        model: on any device.
        config: the node `model` of the run's config, or of its checkpoint.
    """
    described = json.dumps(without_paths(config), sort_keys=True)
    return hash_tensors(described, {**dict(model.named_buffers()), **model.state_dict()})


class _EverySample(ImageDataModule):
    """A datamodule with every sample of a source, whatever its targets, none of which are needed.

    A base class before the datamodule of a family, see `every_sample`.
    """

    series: bool

    def check_source(self, source: Source) -> None:
        """Refuse series for a model of single images, and the other way round."""
        if source.series and not self.series:
            raise InputError(
                "data: this source gives image series, and the run's model takes single images: "
                "choose data.source.unit=slice, or a run of model=lstm."
            )
        if self.series and not source.series:
            raise InputError(
                "data: this source gives single images, and the run's model takes series: choose "
                "data.source.unit=time_series (or volume) where the source has that option, or a run of model=cnn."
            )

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse samples with equal ids, or patients in two splits; targets need not vary."""
        check_samples(table, self.source.task, self.source.classes, before_split=True, learned=False)

    def setup(self, stage: str | None = None) -> None:
        """List, split and decode; a split may lack a class, or be empty."""
        if self.dataset is not None:
            return
        self.split = self.split_table(stage)
        self.open_store(self.split)
        self.dataset = self.make_dataset()
        if self.store.skipped:
            logger.warning("%d unreadable images were left out; skipped.csv lists them.", len(self.store.skipped))


def every_sample(config: Mapping[str, Any], facts: Facts) -> ImageDataModule:
    """The datamodule of a run's family over any source: unlabelled, of other classes, or of continuous targets.

    Args:
        config: the node `data` of a config, checked.
        facts: of the data that the run was trained on.

    Raises:
        InputError: for options that the source or the datamodule refuses.
    """
    family = locate(config["_target_"])
    every = type(family.__name__, (_EverySample, family), {"series": facts.sequence_length is not None})
    options = {name: value for name, value in config.items() if name not in _TRAINING_OPTIONS}
    data: ImageDataModule = build(options, "data", target=every)
    return data


def feature_batches(model: pl.LightningModule, data: ImageDataModule, device: torch.device) -> Iterator[FeatureBatch]:
    """Every sample's features, in 32 bits, split by split: train, val, test, unused.

    Args:
        model: a finished model that has `embed`.
        data: set up.
        device: where to compute.

    Yields:
        (B,) row numbers of the table, and (B, F) features, float32.

    Raises:
        InputError: for a model without features.
        RunFailed: for non-finite features.
    """
    if getattr(type(model), "embed", FamilyModule.embed) is FamilyModule.embed:
        raise InputError(
            f"run: {type(model).__name__} gives no features: let it define embed as vesalius.models.FamilyModule does."
        )
    model = model.to(device).eval()
    for split in (*SPLITS, cast(Split, UNUSED)):
        if not len(data.rows(split)):
            continue
        for batch in data.loader(split):
            on_device = {name: tensor.to(device) for name, tensor in batch.items()}
            with torch.inference_mode():
                features = cast(FamilyModule, model).embed(on_device).float().cpu().numpy()
            rows = batch["index"].cpu().numpy()
            _refuse_non_finite(features, data.table["sample_id"].iloc[rows])
            yield rows, features


def write_features(batches: Iterable[FeatureBatch], table: pd.DataFrame, path: Path) -> tuple[int, int]:
    """Write a feature table batch by batch, whole or not at all; only one batch of it is in memory.

    Its columns: `sample_id`, `group_id`, `split`, target column(s) where the samples have any, and `f0`, `f1`, ... with
    nine significant digits, enough to restore 32-bit numbers exactly.

    Args:
        batches: row numbers of the table, (B,), and features, (B, F).
        table: the sample table.
        path: of the CSV file.

    Returns:
        Number of rows, and F.
    """
    columns = ["sample_id", "group_id", "split", *target_columns(table)]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    count, dim = 0, 0
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for rows, features in batches:
                if not count:
                    dim = features.shape[1]
                    writer.writerow([*columns, *(f"f{number}" for number in range(dim))])
                known = table[columns].iloc[rows].itertuples(index=False, name=None)
                for row, values in zip(known, features.tolist(), strict=True):
                    writer.writerow([*row, *(f"{value:.9g}" for value in values)])
                count += len(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count, dim


def _refuse_non_finite(features: NDArray[np.float32], names: "pd.Series[str]") -> None:
    non_finite = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(non_finite):
        raise RunFailed(
            f"The features of {len(non_finite)} samples are not finite: "
            f"{format_list(names.iloc[non_finite].tolist())}; inspect these images and take them out."
        )
