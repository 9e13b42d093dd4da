"""Which frames of each series are in a training step: a pure function of (seed, epoch, draw)."""

from typing import Literal

import torch
from torch import Tensor

from vesalius.data.stateless_random import uniform

FrameSampling = Literal["random", "uniform", "first"]


def sample_frames(
    length: Tensor, draw: Tensor, count: int, sampling: FrameSampling, *, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Choose at most `count` frames of each series, in their order.

    Args:
        length: (B,) frames that each series has, 1 or more.
        draw: (B,) int64, which draw of the epoch each is (see `epoch_sampler.draws_of`).
        count: how many at most; a shorter series is taken whole.
        sampling: `random`, any subset; `uniform`, evenly spread from a random start; `first`, the beginning.
        seed: of the run.
        epoch: of the run.

    Returns:
        Numbers of the frames, (B, K) int64, ascending, and how many of them are real, (B,).
    """
    chosen = length.clamp(max=count)
    place = torch.arange(int(chosen.max()))
    if sampling == "random":
        return _subset(length, draw, chosen, seed, epoch), chosen
    if sampling == "first":
        return place.expand(len(length), -1), chosen
    # In 64 bits, so that a whole series (of which length / chosen is 1) comes out as it is.
    begin = uniform(seed, epoch, draw, "frames").double()
    frames = ((place + begin) * (length / chosen.double())[:, None]).long()
    return frames.minimum(length[:, None] - 1), chosen


def _subset(length: Tensor, draw: Tensor, chosen: Tensor, seed: int, epoch: int) -> Tensor:
    longest = int(length.max())
    chance = uniform(seed, epoch, draw, "frames", longest)
    chance = chance.masked_fill(torch.arange(longest) >= length[:, None], 2.0)
    left_out = chance.argsort(dim=1).argsort(dim=1) >= chosen[:, None]
    # A stable sort moves the chosen frames to the front without touching their order.
    return left_out.to(torch.int8).sort(dim=1, stable=True).indices[:, : int(chosen.max())]
