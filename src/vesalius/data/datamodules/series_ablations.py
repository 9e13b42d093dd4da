"""Series without some of their information, for ablations: which parts of a series does a model rely on?

Each function takes a batch of series and returns another; only the frames, their times and their number change.
"""

import torch
from torch import Tensor

from vesalius.data.datamodules.datasets import Batch
from vesalius.data.stateless_random import uniform


def first_frames(batch: Batch, count: int) -> Batch:
    """The first `count` frames, or all of a shorter series: what is known early."""
    length = batch["length"].clamp(max=count)
    positions = torch.arange(int(length.max())).expand(len(length), -1)
    return _gather(batch, positions, length)


def one_frame(batch: Batch, part: float) -> Batch:
    """A single frame, at a part of the series from 0 (first) to 1 (last)."""
    position = ((batch["length"] - 1) * part).round().long()
    return _gather(batch, position[:, None], torch.ones_like(position))


def shuffled_frames(batch: Batch, seed: int) -> Batch:
    """The same frames in a random order, at the same times: everything but their order in time."""
    order = _ranks(batch, seed, "shuffle").argsort(dim=1)
    shuffled = _gather(batch, order, batch["length"])
    return {**shuffled, "time": batch["time"]}


def dropped_frames(batch: Batch, part: float, seed: int) -> Batch:
    """All frames but a random part of them, at least one; they keep their order and times."""
    length = batch["length"]
    remaining = (length - (length * part).round().long()).clamp(min=1)
    ranks = _ranks(batch, seed, "drop").argsort(dim=1).argsort(dim=1)
    real = batch["mask"] & (ranks < remaining[:, None])
    # A stable sort moves the frames that stay to the front without touching their order.
    positions = (~real).to(torch.int8).sort(dim=1, stable=True).indices[:, : int(remaining.max())]
    return _gather(batch, positions, remaining)


def _ranks(batch: Batch, seed: int, stream: str) -> Tensor:
    """(B, T) random numbers, a pure function of seed and sample; padding after everything else."""
    numbers = uniform(seed, 0, batch["index"], f"evidence/{stream}", batch["mask"].shape[1])
    return numbers.masked_fill(~batch["mask"], 2.0)


def _gather(batch: Batch, positions: Tensor, length: Tensor) -> Batch:
    """The frames at (B, T) positions, of which the first `length` are real."""
    positions = positions.to(batch["image"].device)
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    mask = torch.arange(positions.shape[1], device=positions.device) < length[:, None]
    last = positions.gather(1, (length - 1)[:, None])
    positions = torch.where(mask, positions, last)
    time = batch["time"][rows, positions]
    return {
        **batch,
        "image": batch["image"][rows, positions],
        "frame": batch["frame"][rows, positions],
        "mask": mask,
        "time": time - time[:, :1],
        "length": length,
    }
