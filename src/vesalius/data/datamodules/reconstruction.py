"""The datamodule of the autoencoder family: single images, without targets."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import Batch, ImageDataset
from vesalius.data.samples import UNUSED, Split, check_samples, in_use
from vesalius.data.sources.base import Source
from vesalius.data.stateless_random import stream_key


class ReconstructionData(ImageDataModule):
    """Single images of any task, labelled or not; see `ImageDataModule` for the other options.

    A batch holds `image` (B, C, H, W), the stored integers, or floats in the same units once augmented, and `index`
    (B,) int64 row numbers in the table; never a target, so no label can reach the model. Labels still spread classes
    evenly over the splits, and `targets` keeps them for the evaluation of what was learned.

    Args:
        source: gives single images.
        train_classes: learn only from samples of these classes, as an anomaly detector does: training samples of
            others are `unused`, and `val_dataloader`, which decides when the model is best, skips others as well.
            All else (`loader`, `rows`, the test split) holds every sample. None learns from all.
        second_view: batches of training and validation also hold `view`, the same images augmented by other random
            numbers (in validation those of epoch 0, and `image` as it is).

    Raises:
        InputError: for a source of image series, or for classes that it does not have; from `setup` for everything
            that is wrong with the data.
    """

    needs_targets: ClassVar[bool] = False

    def __init__(
        self,
        source: Source,
        *,
        train_classes: Sequence[str] | str | None = None,
        second_view: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(source, **options)
        self.second_view = second_view
        if isinstance(train_classes, str):
            train_classes = [train_classes]
        self.train_classes = None if train_classes is None else [str(name) for name in train_classes]
        if self.train_classes is not None:
            _check_classes(self.train_classes, source)

    def check_source(self, source: Source) -> None:
        """Refuse image series."""
        if source.series:
            raise InputError(
                "data: this source gives image series, and the model reads single images: "
                "choose data.source.unit=slice, or model=lstm."
            )

    def setup(self, stage: str | None = None) -> None:
        """List, split, check, decode; does nothing the second time."""
        if stage != "test" and self.second_view and (self.augment is None or not self.augment.operations):
            raise InputError("data.second_view=true: both views would be equal: choose data/augment=standard.")
        super().setup(stage)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment a training batch on the device, each draw of a sample in its own way; and again for a second view."""
        changed = super().on_after_batch_transfer(batch, dataloader_idx)
        if not self.second_view or self.augment is None or self.trainer is None:
            return changed
        epoch = self.trainer.current_epoch if self.trainer.training else 0
        seed = stream_key(self.seed, 0, "second view")
        return {**changed, "view": self.augment(batch["image"], batch["draw"], seed=seed, epoch=epoch)}

    def make_dataset(self) -> ImageDataset:
        """Images without their targets."""
        return ImageDataset(self.store)

    @property
    def normal(self) -> Tensor | None:
        """Whether each row of the table is of a class to learn from, (N,) bool; None where all classes are."""
        return None if self._numbers is None else torch.isin(self.targets, torch.tensor(self._numbers))

    def val_rows(self) -> Tensor:
        """Row numbers of the validation samples whose classes are learned from."""
        rows = super().val_rows()
        return rows if self.normal is None else rows[self.normal[rows]]

    def mark_unused(self, table: pd.DataFrame) -> pd.DataFrame:
        """The split table, training samples of other classes marked as `unused`."""
        if self._numbers is None:
            return table
        others = (table["split"] == "train") & ~table["target"].isin(self._numbers)
        return table.assign(split=table["split"].mask(others, UNUSED))

    def check_before_split(self, table: pd.DataFrame) -> None:
        """Refuse samples that cannot be split; their targets need not vary."""
        check_samples(table, self.source.task, self.source.classes, before_split=True, learned=False)

    @property
    def _numbers(self) -> list[int] | None:
        """The classes to learn from, as targets have them."""
        return None if self.train_classes is None else [self.source.classes.index(name) for name in self.train_classes]

    def _check_splits(self, table: pd.DataFrame, splits: Iterable[Split]) -> None:
        required, used = tuple(splits), in_use(table)
        problems = [] if self._numbers is None else self._absent_classes(used, self._numbers, required)
        if problems:
            raise InputError(problems)
        check_samples(used, self.source.task, self.source.classes, splits=required, learned=False)

    def _absent_classes(self, used: pd.DataFrame, wanted: Sequence[int], required: Sequence[Split]) -> list[str]:
        held = {name: set(used.loc[used["split"] == name, "target"]) for name in required}
        problems = []
        absent = [f"`{self.source.classes[number]}`" for number in wanted if number not in held.get("train", wanted)]
        if absent:
            problems.append(
                f"the split `train` has no sample of {', '.join(absent)}, which `data.train_classes` names: change "
                "`data.fractions` or the seed, or leave the class out."
            )
        if "val" in held and not held["val"] & set(wanted):
            problems.append(
                "the split `val` has no sample of the classes of `data.train_classes`, by which the best checkpoint is "
                "picked: change `data.fractions` or the seed."
            )
        return problems


def _check_classes(wanted: Sequence[str], source: Source) -> None:
    option = f"data.train_classes=[{','.join(wanted)}]"
    if source.task in ("multilabel", "regression", "unlabelled"):
        raise InputError(
            f"{option}: the data are {source.task}, and only samples of one class each can be picked by class: set "
            "data.train_classes=null."
        )
    if not wanted:
        raise InputError(f"{option} names no class: name one, or set it to null to learn from all.")
    problems = [
        f"{option}: the data have no class `{name}`.{did_you_mean(name, source.classes)}"
        for name in dict.fromkeys(wanted)
        if name not in source.classes
    ]
    if problems:
        raise InputError(problems)
