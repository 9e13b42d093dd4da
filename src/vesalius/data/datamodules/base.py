"""The datamodule that all families share: list samples, split by patient, decode once, deal out whole batches."""

import copy
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.augment import Augment
from vesalius.data.cache_folder import cache_folder
from vesalius.data.datamodules.datasets import Batch, StoredDataset
from vesalius.data.datamodules.options import check_options, check_validation
from vesalius.data.datamodules.targets import facts_of, shuffle_labels, targets_of
from vesalius.data.formats.images import Fit
from vesalius.data.samples import SPLITS, UNUSED, Split, check_samples, in_use
from vesalius.data.sampling.epoch_sampler import EpochSampler, balanced_weights
from vesalius.data.sources.base import Source
from vesalius.data.splits.assign import assign_splits
from vesalius.data.splits.file import read_run_split, read_split
from vesalius.data.splits.subset import train_subset
from vesalius.data.store.build import OnBadFile
from vesalius.data.store.on_device import DeviceStore, Positions
from vesalius.data.store.store import Store

logger = logging.getLogger("vesalius")

_STATISTICS_IMAGES = 2_000  # enough for a mean to three digits, and seconds even at 224 pixels
#: Parts of a cross-validation whose number is not given.
DEFAULT_FOLDS = 5


class ImageDataModule(pl.LightningDataModule):
    """Images of any source, split by patient, decoded once, augmented on the device.

    Args:
        source: where the images come from.
        augment: the augmentation of training images; None for none.
        image_size: height and width to decode to, in pixels; None keeps the images' own, which must then agree.
        channels: 1 or 3 to convert to; None keeps the images' own, which must then agree.
        bits: 8 or 16 to convert whole numbers to, by the whole range of the type; None keeps the images' own, likewise.
        fit: how an image of another shape becomes square: `stretch`, `pad` or `crop`.
        batch_size: of a training step, over all devices together.
        eval_batch_size: of validation and test, over all devices together.
        sampling: `natural`, or `balanced`: every class equally often, drawn with replacement.
        steps_per_epoch: training steps that count as an epoch; None for one pass over the data.
        fractions: train, val and test parts, where the source does not fix its splits.
        fold: which of `folds` is held out: for the test, or for validation where the source fixes the test split.
        folds: parts of a cross-validation; None for 5 where `fold` is given, and for a single split elsewhere.
        train_fraction: part of the training patients to learn from; smaller parts lie inside larger ones.
        split_file: a `split.csv` to use instead.
        shuffle_labels: a control: targets are shuffled among the patients, so that nothing can be learned.
        on_bad_file: `error`, or `skip`: leave unreadable images out and list them.
        cache_dir: where decoded images are stored; None takes the environment's `VESALIUS_CACHE`, or
            `~/.cache/vesalius`.
        memory_limit_gb: larger sets are streamed from disk.
        device_limit_gb: sets up to this size are held in the memory of a CUDA GPU as well, where batches are then cut.
            The batches are the same to the bit.
        public_names: public data sets that the images are from, besides those that the source knows.
        seed: of split, order and augmentation.

    Attributes:
        table: one row per sample, once `setup` was called; row i is image (or series) i of the store. Training samples
            beyond `train_fraction` are in no split but `unused`: decoded once for all fractions, then ignored.
        split: the same before unreadable samples were left out, likewise.
        facts: what a model must know, likewise.
        fit_dataset: of training and validation; gives positions in place of images that are held on a GPU.
        eval_transform: a change of batches while a model is validated; None for none.
        on_split: called by `setup` with the split table before it is checked and decoded, so that a user sees what was
            understood before anything is refused.
        needs_targets: whether the family learns from targets, so that unlabelled data can only be tested on.
        train_classes: the classes whose training samples are learned from; None for all.

    Raises:
        InputError: from `setup`, for everything that is wrong with the data.
    """

    needs_targets: ClassVar[bool] = True
    train_classes: list[str] | None = None

    def __init__(
        self,
        source: Source,
        *,
        augment: Augment | None = None,
        image_size: int | None = None,
        channels: Literal[1, 3] | None = None,
        bits: Literal[8, 16] | None = None,
        fit: Fit = "stretch",
        batch_size: int = 64,
        eval_batch_size: int = 256,
        sampling: Literal["natural", "balanced"] = "natural",
        steps_per_epoch: int | None = None,
        fractions: list[float] | None = None,
        fold: int | None = None,
        folds: int | None = None,
        train_fraction: float = 1.0,
        split_file: str | None = None,
        shuffle_labels: bool = False,
        on_bad_file: OnBadFile = "error",
        cache_dir: str | None = None,
        memory_limit_gb: float = 4.0,
        device_limit_gb: float = 1.0,
        public_names: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.check_source(source)
        counts = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "steps_per_epoch": steps_per_epoch}
        check_options(source.task, counts, sampling=sampling, shuffle_labels=shuffle_labels)
        self.source = source
        self.augment = augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.sampling, self.steps_per_epoch = sampling, steps_per_epoch
        self.fractions = tuple(fractions) if fractions is not None else (0.7, 0.15, 0.15)
        self.fold, self.train_fraction = fold, train_fraction
        self.folds = DEFAULT_FOLDS if fold is not None and folds is None else folds
        self.split_file, self.shuffle_labels = split_file, shuffle_labels
        self.public_names = [*source.public_names, *public_names]
        self.seed = seed
        self._decoding: dict[str, Any] = {
            "image_size": image_size,
            "channels": channels,
            "bits": bits,
            "fit": fit,
            "on_bad_file": on_bad_file,
            "cache_dir": cache_folder(cache_dir),
            "memory_limit": int(memory_limit_gb * 2**30),
        }
        self._device_limit, self._pins_memory = int(device_limit_gb * 2**30), False
        self._held: DeviceStore | None = None
        self._run_split, self._written_split = cast("Path | None", None), cast("str | None", None)
        self.on_split: Callable[[pd.DataFrame], None] = lambda table: None
        self.dataset: StoredDataset | None = None
        self.fit_dataset: StoredDataset
        self.eval_transform: Callable[[Batch], Batch] | None = None

    @abstractmethod
    def check_source(self, source: Source) -> None:
        """Refuse a source that this family cannot learn from, with the way out."""

    @abstractmethod
    def make_dataset(self) -> StoredDataset:
        """The dataset of whole batches, indexed by tensors of row numbers; called once the store is open."""

    def setup(self, stage: str | None = None) -> None:
        """List, split, check, decode; does nothing the second time.

        Args:
            stage: `test` is for testing a model on data it has never met: all of it is the test split, unless
                the source fixes its splits.
        """
        if self.dataset is not None:
            return
        splits: tuple[Split, ...] = ("test",) if stage == "test" else SPLITS
        if stage != "test" and self.needs_targets and self.source.task == "unlabelled":
            raise InputError(
                "data: there are no labels, and this model learns from them: name them (data.source.target, or "
                "data.source.labels, or class folders), or choose model=autoencoder, which learns from images only."
            )
        self.split = table = self.split_table(stage)
        self.on_split(table)
        self._check_splits(table, splits)
        self.open_store(table)
        self.dataset = self.fit_dataset = self.make_dataset()
        if self.store.skipped:
            logger.warning("%d unreadable images were left out; skipped.csv lists them.", len(self.store.skipped))
            self._check_splits(self.table, splits)
        if stage != "test":
            self.facts = self._compute_facts()

    def serve(self, device: torch.device) -> None:
        """Prepare for training on a device, once `setup` was called.

        On a CUDA GPU images that fit `device_limit_gb` are cut into batches there. All that is copied there for a batch
        comes from page-locked memory, so that no copy makes the GPU's queue wait.
        """
        self._pins_memory = device.type == "cuda"
        if self._pins_memory and self.store.nbytes <= self._device_limit:
            self._held, self.fit_dataset = DeviceStore(self.store, device), copy.copy(self.fit_dataset)
            self.fit_dataset.store = Positions(self.store)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy a batch to the device, and gather its images there where they are held there."""
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved if self._held is None else {**moved, "image": self._held.frames(moved["image"])}

    def reuse_split(self, path: Path, written: str | None = None) -> None:
        """Take the split that a run wrote, as it is, instead of assigning one: its test patients stay test patients.

        Called before `setup`, which then refuses other samples or patients, and a `split_hash` other than `written`.
        """
        self._run_split, self._written_split = path, written

    def split_table(self, stage: str | None = None) -> pd.DataFrame:
        """The source's samples, each with its split, before anything is decoded."""
        task = self.source.task
        table = self.source.samples()
        self.check_before_split(table)
        if self.shuffle_labels:
            table = shuffle_labels(table, self.seed)
        if self._run_split is not None:
            return read_run_split(self._run_split, table, self._written_split)
        if self.split_file is not None:
            table = read_split(Path(self.split_file), table)
        if stage == "test":
            table["split"] = table["split"].where(table["split"].notna(), "test")
            return table
        table = assign_splits(
            table, fractions=self.fractions, seed=self.seed, task=task, fold=self.fold, folds=self.folds
        )
        file_has_subset = self.split_file is not None and (table["split"] == UNUSED).any()
        table = self.mark_unused(table)
        return table if file_has_subset else train_subset(table, self.train_fraction, seed=self.seed, task=task)

    def mark_unused(self, table: pd.DataFrame) -> pd.DataFrame:
        """The split table, training samples that this family does not learn from marked as `unused`; here none."""
        return table

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse samples that cannot be split."""
        check_samples(table, self.source.task, self.source.classes, before_split=True)

    def open_store(self, table: pd.DataFrame) -> None:
        """Decode the samples of a table, or find them decoded."""
        self.store = self.decode(self.source, table)
        self.table = self.store.table
        self.targets = targets_of(self.table, self.source)

    def decode(self, source: Source, table: pd.DataFrame) -> Store:
        """The images of any source, decoded as this data's own are."""
        return Store.open(source, table, progress=True, **self._decoding)

    def _check_splits(self, table: pd.DataFrame, splits: Iterable[Split]) -> None:
        required = tuple(splits)
        if self.folds is not None and (table["split"] == "test").any():
            # A patient may have only one class, and a fold only one patient: the folds together test each class.
            required = tuple(name for name in required if name != "test")
        check_samples(in_use(table), self.source.task, self.source.classes, splits=required)

    def incompatibilities(self, trained: Facts) -> list[str]:
        """Why a model of this family, trained on data of these facts, cannot be tested on this data; none here."""
        return []

    @property
    def value_max(self) -> float:
        """Largest value of the stored type: 255, 65535, or 1 for floats."""
        return 1.0 if self.store.dtype.is_floating_point else float(torch.iinfo(self.store.dtype).max)

    def rows(self, split: Split) -> Tensor:
        """Row numbers of a split, in the order of the table."""
        return torch.from_numpy(np.flatnonzero((self.table["split"] == split).to_numpy()))

    @property
    def real_store(self) -> Store:
        """Only the real images, with a table of their own, for audits; differs where synthetic ones are mixed in.

        They come first in the whole store, so a row number here is the same there.
        """
        return self.store

    def spread_rows(self, split: Split, most: int, *, real: bool = False) -> Tensor:
        """At most `most` row numbers of a split, evenly spread over it; with `real`, none of synthetic images."""
        rows = self.rows(split)
        if real:
            rows = rows[rows < len(self.real_store)]
        return rows[:: max(1, -(-len(rows) // most))]

    def loader(self, split: Split) -> DataLoader[Batch]:
        """Every sample of a split once, in the order of the table: for validation and for final numbers."""
        return self._loader(list(torch.split(self.rows(split), self.eval_size())), self.dataset)

    def eval_size(self) -> int:
        """Samples in a batch of validation and test."""
        return self.eval_batch_size

    def _loader(self, sampler: Iterable[Tensor], dataset: Dataset[Batch] | None) -> DataLoader[Batch]:
        assert dataset is not None
        # A loader draws a seed for its workers (here none) whenever it is iterated. A generator of its own keeps the
        # numbers of dropout independent of how often that is.
        options: dict[str, Any] = {"generator": torch.Generator(), "pin_memory": self._pins_memory}
        return DataLoader(dataset, batch_size=None, sampler=sampler, **options)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches in an order that is a function of only (seed, epoch)."""
        return self._loader(self.train_sampler(), self.fit_dataset)

    def train_sampler(self) -> EpochSampler:
        """The draws of each training step of this device."""
        rows = self.rows("train")
        rank, world = self._place()
        weights = None if self.sampling == "natural" else balanced_weights(self.targets[rows])
        return EpochSampler(
            rows,
            self.batch_size,
            seed=self.seed,
            weights=weights,
            steps_per_epoch=self.steps_per_epoch,
            rank=rank,
            world_size=world,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation samples, each once over all devices together, in the order of the table."""
        rows, size = self.val_rows(), self.eval_size()
        rank, world = self._place()
        check_validation(len(rows), size, world)
        sampler = EpochSampler(rows, size, seed=self.seed, training=False, rank=rank, world_size=world)
        return self._loader(sampler, self.fit_dataset)

    def _place(self) -> tuple[int, int]:
        """Number of this device, and of all devices."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_rows(self) -> Tensor:
        """Row numbers of the samples that a model is validated on while it is trained."""
        return self.rows("val")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment a training batch on the device, each draw of a sample in its own way."""
        if self.trainer is None or not self.trainer.training:
            return batch if self.eval_transform is None else self.eval_transform(batch)
        if self.augment is None:
            return batch
        image = self.augment(batch["image"], batch["draw"], seed=self.seed, epoch=self.trainer.current_epoch)
        return {**batch, "image": image}

    def _compute_facts(self) -> Facts:
        train = self.rows("train")
        pixels = self.pixels(train[:: max(1, len(train) // _STATISTICS_IMAGES)])
        return facts_of(pixels, self.targets[train], self.source, self.store.shape, self.value_max)

    def pixels(self, rows: Tensor) -> Tensor:
        """The images of some rows, or a frame of each series, (B, C, H, W), stored type: for statistics."""
        return self.store[rows]

    def baseline_inputs(self, rows: Tensor) -> dict[str, NDArray[Any]]:
        """The inputs of baseline models: `pixels` as (N, C, H, W), and further ones of a family as (N, D)."""
        return {"pixels": self.store[rows].numpy()}
