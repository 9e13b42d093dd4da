"""Which of a step's samples are on this device, and random numbers that do not depend on it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """This device's samples of a step: every `world`-th from `rank` on.

    What is drawn for them is what one process would draw: the devices' generators are in equal states, so that each
    draws for the whole step and keeps its own. The states stay equal by it, whatever the sizes of the parts.

    Attributes:
        rank: of this device.
        world: how many devices share the step.
        whole: samples of the step over all devices; `of` asks for it only where there are several.
    """

    rank: int = 0
    world: int = 1
    whole: int = 0

    def of(self, rows: int, draw: Callable[[int], Tensor]) -> Tensor:
        """What `draw(n)`, which gives n rows, gives for this part.

        Args:
            rows: of this part, or as many times more as kinds of samples lie one behind the other, such as real and
                made ones.
            draw: called with the rows of the whole step.
        """
        if self.world == 1:
            return draw(rows)
        kinds = rows // len(range(self.rank, self.whole, self.world))
        drawn = draw(kinds * self.whole)
        return drawn.reshape(kinds, self.whole, *drawn.shape[1:])[:, self.rank :: self.world].flatten(0, 1)

    def weight(self, size: int) -> float:
        """What the mean over the `size` samples here counts, where DDP averages over parts of unequal sizes."""
        return size * self.world / self.whole

    def normal_like(self, samples: Tensor) -> Tensor:
        """Normal numbers in the shape, type and memory format of samples (B, ...)."""
        innermost = samples.ndim == 4 and samples.is_contiguous(memory_format=torch.channels_last)
        memory_format = torch.channels_last if innermost and not samples.is_contiguous() else torch.contiguous_format

        def draw(rows: int) -> Tensor:
            shape = (rows, *samples.shape[1:])
            empty = torch.empty(shape, dtype=samples.dtype, device=samples.device, memory_format=memory_format)
            return empty.normal_()

        return self.of(len(samples), draw)
