"""The datamodule of the CNN family: single images, real and synthetic, with their targets."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from vesalius.config.errors import InputError
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import ImageDataset
from vesalius.data.datamodules.targets import targets_of
from vesalius.data.sources.base import Source
from vesalius.data.splits.file import load_run_split, synthetic_rows
from vesalius.data.store.joined import JoinedStore
from vesalius.data.store.store import Store
from vesalius.data.synthetic import Ratio, SyntheticImages, check_ratio, check_split, mix

logger = logging.getLogger("vesalius")


class ClassificationData(ImageDataModule):
    """Single images and their classes or continuous targets; see `ImageDataModule` for the other options.

    A batch holds `image` (B, C, H, W), the stored integers, or floats in the same units once augmented; `target` (B,)
    int64 class indices, or (B, K) float32 for `multilabel` and `regression`; `index` (B,) int64 row numbers in the
    table.

    Args:
        source: gives single images.
        synthetic: a folder that `vesalius synthesize` wrote, whose images are training samples too; decoded, augmented
            and balanced as the real ones. Validation and test stay real. None for only real images. Ignored where all
            data are for testing.
        synthetic_ratio: synthetic samples to one real training sample, as `mix` takes them.

    Raises:
        InputError: for a source of image series, or an invalid ratio; from `setup` for everything that is wrong with
            the data, and for synthetic images of another split, classes or kind.
    """

    def __init__(
        self, source: Source, *, synthetic: str | None = None, synthetic_ratio: Ratio = 1.0, **options: Any
    ) -> None:
        super().__init__(source, **options)
        check_ratio(synthetic_ratio)
        self.synthetic, self.synthetic_ratio = synthetic, synthetic_ratio
        self._synthetic_source: SyntheticImages | None = None
        self._added: list[str] = []
        self._real_store: Store | None = None

    def check_source(self, source: Source) -> None:
        """Refuse image series."""
        if source.series:
            raise InputError(
                "data: this source gives image series, and the model reads single images: "
                "choose model=lstm, or data.source.unit=slice."
            )

    def make_dataset(self) -> ImageDataset:
        """Images with their targets."""
        return ImageDataset(self.store, self.targets)

    @property
    def real_store(self) -> Store:
        """Only the real images, with a table of their own."""
        return self.store if self._real_store is None else self._real_store

    def split_table(self, stage: str | None = None) -> pd.DataFrame:
        """The source's samples, each with its split, and the synthetic training samples after them."""
        table = super().split_table(stage)
        if self.synthetic is None or stage == "test":
            return table
        self._check_mixing()
        self._synthetic_source = SyntheticImages(self.synthetic, self.source.classes)
        if self._run_split is None or self.synthetic_ratio != "only":  # else the file has real ones as unused
            check_split(table, self._synthetic_source)
        result = mix(table, self._synthetic_source, self.synthetic_ratio)
        self._added = result["sample_id"].iloc[len(table) :].tolist()
        if self._run_split is not None:
            _check_run_images(self._run_split, set(self._added))
        real = int((result["split"] == "train").sum()) - len(self._added)
        logger.info("Training set: %d synthetic images and %d real ones.", len(self._added), real)
        return result

    def open_store(self, table: pd.DataFrame) -> None:
        """Decode the samples of a table, or find them decoded; synthetic ones in a store of their own."""
        if self._synthetic_source is None:
            return super().open_store(table)
        real = len(table) - len(self._added)
        super().open_store(table.iloc[:real])
        self._real_store = self.store
        self._synthetic_source.check_images(self.store, self.value_max, self._decoding["image_size"])
        synthetic = self.decode(self._synthetic_source, self._synthetic_source.samples())
        if (synthetic.shape, synthetic.dtype) != (self.store.shape, self.store.dtype):
            raise InputError(
                f"data.synthetic: its files hold {synthetic.dtype} images of shape {synthetic.shape}, which is not "
                "what its manifest states: synthesize again."
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


def _check_run_images(path: Path, added: set[str]) -> None:
    """Refuse to go on with other synthetic images than the run began with."""
    split = load_run_split(path)
    before = set(split.loc[synthetic_rows(split), "sample_id"])
    if before != added:
        raise InputError(
            f"data.synthetic: the run began with {len(before)} synthetic images, and now there are {len(added)} or "
            "others: bring the folder back as it was, or start a new run."
        )
