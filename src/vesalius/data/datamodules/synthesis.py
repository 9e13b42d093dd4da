"""The datamodule of the GAN family: images, and their class where each has one, in whole batches."""

from collections.abc import Iterable
from typing import ClassVar

import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.config.errors import InputError
from vesalius.data.datamodules.base import Batch, ImageDataModule
from vesalius.data.datamodules.reconstruction import ImageDataset
from vesalius.data.samples import Split, check_samples, in_use
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store


class LabelledImages(Dataset[Batch]):
    """Cuts whole batches of images and classes out of a store: indexed by a tensor of row numbers."""

    def __init__(self, store: Store, targets: Tensor) -> None:
        self.images, self.targets = ImageDataset(store, len(targets)), targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Batch:
        return {**self.images[index], "target": self.targets[index]}


class SynthesisData(ImageDataModule):
    """Single images of any task, labelled or not; see `ImageDataModule` for the options.

    A batch holds `image` (B, C, H, W), the stored integers, or floats in the same units once augmented, `index` (B,)
    int64 row numbers in the table, and where each sample has exactly one class, `target` (B,) int64.

    Raises:
        InputError: for a source of image series; from `setup` for everything that is wrong with the data.
    """

    needs_targets: ClassVar[bool] = False

    def check_source(self, source: Source) -> None:
        """Refuse image series."""
        if source.series:
            raise InputError(
                "data: this source gives image series, and a GAN makes single images: choose data.source.unit=slice."
            )

    def make_dataset(self) -> Dataset[Batch]:
        """Images, beside their class where each has one."""
        if self._one_class_each:
            return LabelledImages(self.store, self.targets)
        return ImageDataset(self.store, len(self.table))

    def check_listing(self, table: pd.DataFrame) -> None:
        """Refuse samples that cannot be split; their targets need not vary."""
        check_samples(table, self.source.task, self.source.classes, before_split=True, learned=False)

    @property
    def _one_class_each(self) -> bool:
        return self.source.task not in ("multilabel", "regression", "unlabelled")

    def _check(self, table: pd.DataFrame, splits: Iterable[Split]) -> None:
        used = in_use(table)
        check_samples(used, self.source.task, self.source.classes, splits=tuple(splits), learned=False)
        if not self._one_class_each or "train" not in splits:
            return
        there = set(used.loc[used["split"] == "train", "target"])
        absent = [name for number, name in enumerate(self.source.classes) if number not in there]
        if absent:
            raise InputError(
                f"the split `train` has no sample of {', '.join(absent)}, which the generator is to make: change "
                "`data.fractions`, `data.train_fraction` or the seed, or leave the class out."
            )
