"""Images in the memory of a GPU, so that no step waits for images to be copied there."""

import torch
from torch import Tensor

from vesalius.data.store.store import Store

_FRAMES_AT_ONCE = 1024


class DeviceStore(Store):
    """The images of another store, on a device, where batches are gathered too.

    Args:
        store: of images or of series; its images are read once.
        device: what holds them from now on.
    """

    def __init__(self, store: Store, device: torch.device) -> None:
        self.__dict__.update(store.__dict__)
        self._shape, self.in_memory = (int(store.offsets[-1]), *store.shape), True
        self.images = torch.empty(self._shape, dtype=store.dtype, device=device)
        for part in torch.split(torch.arange(len(self.images)), _FRAMES_AT_ONCE):
            self.images[part[0] : part[-1] + 1] = store.frames(part)


class Positions(Store):
    """Stands for a store whose images lie on a device: gives positions of frames, to be gathered there.

    Args:
        store: that it stands for.
    """

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store.__dict__)

    def frames(self, positions: Tensor) -> Tensor:
        """The positions themselves, (...) int64."""
        return positions
