"""The datamodule of the CNN family: images with their targets, in whole batches."""

from torch import Tensor
from torch.utils.data import Dataset

from vesalius.config.errors import InputError
from vesalius.data.datamodule import Batch, ImageDataModule
from vesalius.data.sources.base import Source
from vesalius.data.store import Store


class BatchDataset(Dataset[Batch]):
    """Cuts whole batches out of a store: indexed by a tensor of row numbers, never sample by sample."""

    def __init__(self, store: Store, targets: Tensor) -> None:
        self.store, self.targets = store, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Batch:
        return {"image": self.store[index], "target": self.targets[index], "index": index}


class ClassificationData(ImageDataModule):
    """Single images and their classes; see `ImageDataModule` for the options.

    A batch holds `image` (B, C, H, W), the stored integers, or floats in the same units once augmented; `target` (B,)
    int64 class indices, or (B, K) float 0/1 for `multilabel`; `index` (B,) int64 row numbers in the table.

    Raises:
        InputError: for a source of image series or of quantities.
    """

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
