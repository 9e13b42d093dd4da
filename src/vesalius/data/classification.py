"""The datamodule of the CNN family: images with their targets, in whole batches."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.augment import Augment
from vesalius.data.samples import check_samples, target_columns
from vesalius.data.sampling import EpochSampler, balanced_weights
from vesalius.data.sources.base import Source
from vesalius.data.splits import assign_splits, read_split
from vesalius.data.store import Store

logger = logging.getLogger("vesalius")

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_STATISTICS_IMAGES = 2_000  # enough for a mean to three digits, and seconds even at 224 pixels


class Batch(TypedDict):
    """What a model is given.

    image: (B, C, H, W), the stored integers, or floats in the same units once augmented.
    target: (B,) int64 class indices, or (B, K) float 0/1 for `multilabel`.
    index: (B,) int64 row numbers in the sample table.
    """

    image: Tensor
    target: Tensor
    index: Tensor


class BatchDataset(Dataset[Batch]):
    """Cuts whole batches out of a store: indexed by a tensor of row numbers, never sample by sample."""

    def __init__(self, store: Store, targets: Tensor) -> None:
        self.store, self.targets = store, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Batch:
        return {"image": self.store[index], "target": self.targets[index], "index": index}


class ClassificationData(pl.LightningDataModule):
    """Images and classes from any source, split by patient, decoded once, augmented on the device.

    Args:
        source: where the images come from.
        augment: what is done to training images; None for nothing.
        image_size: height and width to decode to, in pixels; None keeps the images' own, which must then agree.
        channels: 1 or 3 to convert to; None keeps the images' own, which must then agree.
        fit: how an image of another shape becomes square: `stretch`, `pad` or `crop`.
        batch_size: of a training step, over all devices together.
        eval_batch_size: of validation and test.
        sampling: `natural`, or `balanced`: every class equally often, drawn with replacement.
        steps_per_epoch: training steps that count as an epoch; None for one pass over the data.
        fractions: train, val and test parts, where the source does not fix its splits.
        split_file: a `split.csv` to use instead.
        shuffle_labels: a control: targets are dealt out anew among the patients, so that nothing can be learned.
        on_bad_file: `error`, or `skip`: leave unreadable images out and list them.
        cache_dir: where decoded images are kept; None takes the environment's `VESALIUS_CACHE`, or
            `~/.cache/vesalius`.
        memory_limit_gb: larger sets are streamed from disk.
        seed: of split, order and augmentation.

    Raises:
        InputError: from `setup`, for everything that is wrong with the data.
    """

    def __init__(
        self,
        source: Source,
        *,
        augment: Augment | None = None,
        image_size: int | None = None,
        channels: int | None = None,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        batch_size: int = 64,
        eval_batch_size: int = 256,
        sampling: Literal["natural", "balanced"] = "natural",
        steps_per_epoch: int | None = None,
        fractions: list[float] | None = None,
        split_file: str | None = None,
        shuffle_labels: bool = False,
        on_bad_file: Literal["error", "skip"] = "error",
        cache_dir: str | None = None,
        memory_limit_gb: float = 4.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "steps_per_epoch": steps_per_epoch}
        problems = [
            f"data.{name}={count}: must be 1 or more."
            for name, count in counts.items()
            if count is not None and count < 1
        ]
        if problems:
            raise InputError(problems)
        self.source = source
        self.augment = augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.sampling, self.steps_per_epoch = sampling, steps_per_epoch
        self.fractions = tuple(fractions) if fractions is not None else (0.7, 0.15, 0.15)
        self.split_file, self.shuffle_labels = split_file, shuffle_labels
        self.seed = seed
        self._decoding: dict[str, Any] = {
            "image_size": image_size,
            "channels": channels,
            "fit": fit,
            "on_bad_file": on_bad_file,
            "cache_dir": Path(cache_dir or os.environ.get("VESALIUS_CACHE", "~/.cache/vesalius")).expanduser(),
            "memory_limit": int(memory_limit_gb * 2**30),
        }
        self.dataset: BatchDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """List, split, check, decode; does nothing the second time.

        Args:
            stage: `test` is for judging a model on data it has never met: all of it is the test split, unless
                the source fixes its splits.
        """
        if self.dataset is not None:
            return
        task, classes = self.source.task, self.source.classes
        table = self.source.samples()
        check_samples(table, task, classes, before_split=True)
        splits: tuple[Split, ...] = ("test",) if stage == "test" else SPLITS
        if self.shuffle_labels:
            table = shuffled_labels(table, self.seed)
        if self.split_file is not None:
            table = read_split(Path(self.split_file), table)
        if stage == "test":
            table["split"] = table["split"].where(table["split"].notna(), "test")
        else:
            table = assign_splits(table, fractions=self.fractions, seed=self.seed, task=task)
        check_samples(table, task, classes, splits=splits)
        self.store = Store.open(self.source, table, progress=True, **self._decoding)
        self.table = self.store.table
        if self.store.skipped:
            logger.warning("%d unreadable images were left out; skipped.csv lists them.", len(self.store.skipped))
            check_samples(self.table, task, classes, splits=splits)
        self.dataset = BatchDataset(self.store, _targets(self.table, self.source))
        if stage != "test":
            self.facts = self._facts()

    @property
    def value_max(self) -> float:
        """Largest value of the stored type: 255, 65535, or 1 for floats."""
        return 1.0 if self.store.dtype.is_floating_point else float(torch.iinfo(self.store.dtype).max)

    def rows(self, split: Split) -> Tensor:
        """Row numbers of a split, in the order of the table."""
        return torch.from_numpy(np.flatnonzero((self.table["split"] == split).to_numpy()))

    def loader(self, split: Split) -> DataLoader[Batch]:
        """Every sample of a split once, in the order of the table: for validation and for final numbers."""
        batches = list(torch.split(self.rows(split), self.eval_batch_size))
        return self._loader(batches)

    def _loader(self, sampler: Iterable[Tensor]) -> DataLoader[Batch]:
        assert self.dataset is not None
        # A loader draws a seed for workers, of which there are none, whenever it is iterated. From a generator of its
        # own, so that dropout's numbers do not depend on how often that was.
        return DataLoader(self.dataset, batch_size=None, sampler=sampler, generator=torch.Generator())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches in an order that is a function of (seed, epoch) alone."""
        trainer = self.trainer
        sampler = EpochSampler(
            self.rows("train"),
            self.batch_size,
            seed=self.seed,
            weights=self._weights(),
            steps_per_epoch=self.steps_per_epoch,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation split."""
        return self.loader("val")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment a training batch on the device, each sample by a draw of its own."""
        if self.augment is None or self.trainer is None or not self.trainer.training:
            return batch
        image = self.augment(batch["image"], batch["index"], seed=self.seed, epoch=self.trainer.current_epoch)
        return {**batch, "image": image}

    def _weights(self) -> Tensor | None:
        if self.sampling == "natural":
            return None
        assert self.dataset is not None
        return balanced_weights(self.dataset.targets[self.rows("train")])

    def _facts(self) -> Facts:
        assert self.dataset is not None
        train = self.rows("train")
        targets = self.dataset.targets[train]
        single = self.source.task != "multilabel"
        counts = torch.bincount(targets, minlength=len(self.source.classes)) if single else targets.sum(0)
        channels, height, width = self.store.shape
        every = max(1, len(train) // _STATISTICS_IMAGES)
        pixels = self.store[train[::every]].to(torch.float32).transpose(0, 1).flatten(1) / self.value_max
        return Facts(
            task=self.source.task,
            classes=tuple(self.source.classes),
            channels=channels,
            image_size=(height, width),
            value_max=self.value_max,
            class_counts=tuple(int(count) for count in counts),
            train_size=len(train),
            mean=tuple(pixels.mean(1).tolist()),
            # A constant channel carries nothing; dividing by one leaves it so.
            std=tuple(torch.where((std := pixels.std(1)) > 1e-6, std, 1.0).tolist()),
        )


def shuffled_labels(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Deal the targets of whole patients out anew: each patient's samples get the first target of another's."""
    columns = target_columns(table)
    first = table.groupby("group_id", sort=True)[columns].first()
    dealt = pd.DataFrame(np.random.default_rng(seed).permutation(first.to_numpy()), index=first.index, columns=columns)
    shuffled = table.copy()
    shuffled[columns] = dealt.loc[table["group_id"]].to_numpy().astype(table[columns].to_numpy().dtype)
    return shuffled


def _targets(table: pd.DataFrame, source: Source) -> Tensor:
    values = table[target_columns(table)].to_numpy()
    if source.task == "multilabel":
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(values[:, 0].astype(np.int64))
