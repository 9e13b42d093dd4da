"""The datamodule of the CNN family: images, real ones and synthetic ones, with their targets, in whole batches."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.config.errors import InputError
from vesalius.data.datamodules.base import Batch, ImageDataModule, targets_of
from vesalius.data.sources.base import Source
from vesalius.data.splits.file import synthetic_rows
from vesalius.data.store.joined import JoinedStore
from vesalius.data.store.store import Store
from vesalius.data.synthetic import Ratio, SyntheticImages, check_ratio, check_split, mixed

logger = logging.getLogger("vesalius")


class BatchDataset(Dataset[Batch]):
    """Cuts whole batches out of a store: indexed by a tensor of row numbers, never sample by sample."""

    def __init__(self, store: Store, targets: Tensor) -> None:
        self.store, self.targets = store, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Batch:
        return {"image": self.store[index], "target": self.targets[index], "index": index}


class ClassificationData(ImageDataModule):
    """Single images and their classes; see `ImageDataModule` for the other options.

    A batch holds `image` (B, C, H, W), the stored integers, or floats in the same units once augmented; `target` (B,)
    int64 class indices, or (B, K) float 0/1 for `multilabel`; `index` (B,) int64 row numbers in the table.

    Args:
        source: gives single images.
        synthetic: a folder that `vesalius synthesize` made, whose images are training samples too; decoded, augmented
            and balanced as the real ones. Validation and test stay real. None for real images alone. Not looked at
            where all data are for testing.
        synthetic_ratio: synthetic samples to one real training sample, as `mixed` takes them.

    Raises:
        InputError: for a source of image series or of quantities, or a ratio that is none; from `setup` for everything
            that is wrong with the data, and for synthetic images of another split, classes or kind.
    """

    def __init__(
        self, source: Source, *, synthetic: str | None = None, synthetic_ratio: Ratio = 1.0, **options: Any
    ) -> None:
        super().__init__(source, **options)
        check_ratio(synthetic_ratio)
        self.synthetic, self.synthetic_ratio = synthetic, synthetic_ratio
        self._made: SyntheticImages | None = None
        self._added: list[str] = []
        self._real_store: Store | None = None

    def check_source(self, source: Source) -> None:
        """Refuse image series and quantities."""
        if source.series:
            raise InputError(
                "data: this source gives image series, and the model looks at single images: "
                "choose model=lstm, or data.source.unit=slice."
            )
        if source.task == "regression":
            raise InputError("data: the targets are quantities, and this model tells classes: choose model=lstm.")

    def make_dataset(self) -> BatchDataset:
        """Images beside their targets."""
        return BatchDataset(self.store, self.targets)

    @property
    def real_store(self) -> Store:
        """Real images alone, with a table of their own."""
        return self.store if self._real_store is None else self._real_store

    def split_table(self, stage: str | None = None) -> pd.DataFrame:
        """The source's samples, each with its split, and the synthetic training samples behind them."""
        table = super().split_table(stage)
        if self.synthetic is None or stage == "test":
            return table
        self._check_mixing()
        self._made = SyntheticImages(self.synthetic, self.source.classes)
        if self._kept_split is None or self.synthetic_ratio != "only":  # there the file has real ones as unused
            check_split(table, self._made)
        result = mixed(table, self._made, self.synthetic_ratio)
        self._added = result["sample_id"].iloc[len(table) :].tolist()
        if self._kept_split is not None:
            _check_kept(self._kept_split, set(self._added))
        real = int((result["split"] == "train").sum()) - len(self._added)
        logger.info("%d synthetic images beside %d real ones to learn from.", len(self._added), real)
        return result

    def open_store(self, table: pd.DataFrame) -> None:
        """Decode the samples of a table, or find them decoded; synthetic ones in a store of their own."""
        if self._made is None:
            return super().open_store(table)
        real = len(table) - len(self._added)
        super().open_store(table.iloc[:real])
        self._real_store = self.store
        self._made.check_images(self.store, self.value_max, self._decoding["image_size"])
        synthetic = self.decoded(self._made, self._made.samples())
        if (synthetic.shape, synthetic.dtype) != (self.store.shape, self.store.dtype):
            raise InputError(
                f"data.synthetic: its files hold {synthetic.dtype} images of shape {synthetic.shape}, which is not "
                "what its manifest says: synthesize anew."
            )
        row_of = {name: row for row, name in enumerate(synthetic.table["sample_id"])}
        added = table.iloc[real:]
        added = added[added["sample_id"].isin(row_of)]  # unreadable ones may have been left out
        rows = torch.tensor([row_of[name] for name in added["sample_id"]], dtype=torch.int64)
        joined = pd.concat([self.table, added], ignore_index=True)
        self.store = JoinedStore(self._real_store, synthetic, rows, joined)
        self.table = joined
        self.targets = targets_of(joined, self.source)

    def _check_mixing(self) -> None:
        problems = []
        if self.source.task not in ("binary", "multiclass", "ordinal"):
            problems.append(
                f"data.synthetic: synthetic images have one class each, and the data are {self.source.task}: leave it "
                "null."
            )
        if self.shuffle_labels:
            problems.append(
                "data.shuffle_labels=true: synthetic images show their true classes, so something can be learned: "
                "set data.synthetic=null for this control."
            )
        if problems:
            raise InputError(problems)


def _check_kept(path: Path, added: set[str]) -> None:
    """Refuse to go on with other synthetic images than the run began with."""
    kept = pd.read_csv(path, dtype=str, keep_default_na=False)
    before = set(kept.loc[synthetic_rows(kept), "sample_id"])
    if before != added:
        raise InputError(
            f"data.synthetic: the run began with {len(before)} synthetic images, and now there are {len(added)} or "
            "others: bring the folder back as it was, or start a new run."
        )
