"""Two stores as one, so that neither is decoded again when they are used together."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from vesalius.data.store.store import Store


class JoinedStore(Store):
    """The images of one store, then some of another's.

    Args:
        first: single images; all of them are taken.
        second: single images of the same shape and type.
        rows: (K,) int64, which of the second are taken, in what order.
        table: the sample table of both; row i is image i.
    """

    def __init__(self, first: Store, second: Store, rows: Tensor, table: pd.DataFrame) -> None:
        self.first, self.second, self.rows = first, second, rows
        self.table, self.path = table, first.path
        self.skipped = [*first.skipped, *second.skipped]
        self.series, self.in_memory = False, first.in_memory and second.in_memory
        self.lengths = torch.ones(1, dtype=torch.int64).expand(len(first) + len(rows))
        self.offsets = torch.arange(len(self.lengths) + 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image."""
        return self.first.shape

    @property
    def dtype(self) -> torch.dtype:
        """`torch.uint8`, `torch.uint16` or `torch.float32`."""
        return self.first.dtype

    def frames(self, positions: Tensor) -> Tensor:
        """Gather images: (...) int64 positions, none negative, to (..., C, H, W) of the native type.

        Raises:
            IndexError: if a position is out of range.
        """
        flat = positions.flatten()
        second = flat >= len(self.first)
        found = torch.empty(len(flat), *self.shape, dtype=self.dtype)
        _as_words(found)[~second] = _as_words(self.first.frames(flat[~second]))
        _as_words(found)[second] = _as_words(self.second.frames(self.rows[flat[second] - len(self.first)]))
        return found.view(*positions.shape, *self.shape)

    def __getstate__(self) -> dict[str, Any]:
        """Unlike a single store, nothing is dropped here: each of the two decides how it is copied."""
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _as_words(images: Tensor) -> Tensor:
    """The same memory as 16-bit signed words: few kernels know uint16, but all can move these."""
    return images.view(torch.int16) if images.dtype == torch.uint16 else images
