"""The datamodule of the GAN family: single images, and their class where each has one."""

from collections.abc import Iterable
from typing import ClassVar

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import ImageDataset
from vesalius.data.samples import Split, check_samples, in_use
from vesalius.data.sources.base import Source


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
                "data: this source gives image series, and a GAN generates single images: choose "
                "data.source.unit=slice."
            )

    def make_dataset(self) -> ImageDataset:
        """Images, with their class where each has one."""
        return ImageDataset(self.store, self.targets if self._one_class_each else None)

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse samples that cannot be split; their targets need not vary."""
        check_samples(table, self.source.task, self.source.classes, before_split=True, learned=False)

    @property
    def _one_class_each(self) -> bool:
        return self.source.task not in ("multilabel", "regression", "unlabelled")

    def _check_splits(self, table: pd.DataFrame, splits: Iterable[Split]) -> None:
        used = in_use(table)
        check_samples(used, self.source.task, self.source.classes, splits=tuple(splits), learned=False)
        if not self._one_class_each or "train" not in splits:
            return
        present = set(used.loc[used["split"] == "train", "target"])
        absent = [name for number, name in enumerate(self.source.classes) if number not in present]
        if absent:
            raise InputError(
                f"the split `train` has no sample of {', '.join(absent)}, which the generator is to draw: change "
                "`data.fractions`, `data.train_fraction` or the seed, or leave the class out."
            )
