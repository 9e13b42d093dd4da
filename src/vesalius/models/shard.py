"""Which of a step's samples are on this device, and random numbers that do not depend on how many devices there are."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """This device's samples of a step: every `world_size`-th from `rank` on.

    Random numbers for them are those that a single process would draw: the devices' random states are equal, and each
    device draws for the whole step and keeps its own rows. So the states stay equal, whatever the sizes of the shards.

    Attributes:
        rank: of this device.
        world_size: number of devices that share the step.
        total: samples of the step over all devices; read only if there are several.
    """

    rank: int = 0
    world_size: int = 1
    total: int = 0

    def draw(self, rows: int, sample: Callable[[int], Tensor]) -> Tensor:
        """The rows for this shard of what `sample(n)`, which draws n rows, draws for the whole step.

        Args:
            rows: of this shard; a multiple of its samples if several sets of them, such as real and synthetic images,
                are concatenated.
            sample: called with the number of rows of the whole step.
        """
        if self.world_size == 1:
            return sample(rows)
        sets = rows // len(range(self.rank, self.total, self.world_size))
        drawn = sample(sets * self.total)
        return drawn.reshape(sets, self.total, *drawn.shape[1:])[:, self.rank :: self.world_size].flatten(0, 1)

    def loss_weight(self, size: int) -> float:
        """Factor for a mean loss over the `size` samples here, as DDP gives shards of unequal sizes equal weight."""
        return size * self.world_size / self.total

    def randn_like(self, samples: Tensor) -> Tensor:
        """Standard normal numbers in the shape, type and memory format of samples (B, ...)."""
        innermost = samples.ndim == 4 and samples.is_contiguous(memory_format=torch.channels_last)
        memory_format = torch.channels_last if innermost and not samples.is_contiguous() else torch.contiguous_format

        def sample(rows: int) -> Tensor:
            shape = (rows, *samples.shape[1:])
            empty = torch.empty(shape, dtype=samples.dtype, device=samples.device, memory_format=memory_format)
            return empty.normal_()

        return self.draw(len(samples), sample)
