"""Which samples form each training step: a pure function of (seed, epoch), on any number of devices.

A sampler here yields whole batches, as tensors of draws, for
`DataLoader(dataset, batch_size=None, sampler=EpochSampler(...))`. The batch size is that of a step over all devices
together; each device gets its part of the same batch that a single process would take.

A draw is one number: the row of a sample, and how many times the same epoch has drawn that sample before. Random
numbers that depend on the draw rather than on the sample give an image that is drawn five times five different
augmentations. The first draw of a sample is its row number.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Sampler

from vesalius.config.errors import InputError
from vesalius.data.stateless_random import generator

_ROW_BITS = 32


def epoch_order(
    size: int, seed: int, epoch: int, *, weights: Tensor | None = None, length: int | None = None
) -> Tensor:
    """The random order of an epoch.

    Args:
        size: number of samples.
        seed: of the run.
        epoch: from 0.
        weights: (size,) chances relative to each other: samples are then drawn with replacement.
        length: draws that count as an epoch; None for `size`. Without weights epochs cut an endless stream of passes,
            each in an order of its own, so that every sample still comes up equally often.

    Returns:
        (length,) int64 positions below `size`.
    """
    if weights is not None:
        return _draw(weights, size if length is None else length, seed, epoch)
    if length is None:
        return _permutation(size, seed, epoch)
    start, stop = epoch * length, (epoch + 1) * length
    first = start // size
    passes = [_permutation(size, seed, number) for number in range(first, -(-stop // size))]
    return torch.cat(passes)[start - first * size : stop - first * size]


def _permutation(size: int, seed: int, number: int) -> Tensor:
    return torch.randperm(size, generator=generator(seed, number, "order"))


def _draw(weights: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    # By the inverse of the distribution function: torch.multinomial ends at 2^24 samples.
    cumulative = weights.to("cpu", torch.float64).cumsum(0)
    uniform = torch.rand(count, generator=generator(seed, epoch, "draw"), dtype=torch.float64)
    return torch.searchsorted(cumulative / cumulative[-1], uniform, right=True).clamp_(max=len(weights) - 1)


def draws_of(rows: Tensor) -> Tensor:
    """The draws of an epoch.

    Args:
        rows: (N,) int64 row numbers of the samples, 0 or more, in the order in which they are drawn.

    Returns:
        (N,) int64: the row in the lower 32 bits, how often it occurs before in `rows` in the upper ones.
    """
    ordered, place = rows.sort(stable=True)
    position = torch.arange(len(rows))
    begins = torch.ones(len(rows), dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    repeat = position - torch.where(begins, position, 0).cummax(0).values
    return rows + (torch.empty_like(repeat).scatter_(0, place, repeat) << _ROW_BITS)


def rows_of(draws: Tensor) -> Tensor:
    """The row numbers of draws, (N,) int64."""
    return draws & ((1 << _ROW_BITS) - 1)


def balanced_weights(target: Tensor) -> Tensor:
    """Weights with which every class is drawn equally often.

    They are those of a draw in two steps: a class, all being equally likely, then one of its samples. A sample's weight
    is therefore the sum over its classes of 1 / (samples of that class). With one class per sample this balances
    exactly; with several, a class that often accompanies others still comes up more often. Samples without any class
    form a class of their own; classes without samples are skipped.

    Args:
        target: (N,) int64 classes, or (N, K) 0/1 for several classes per sample.

    Returns:
        (N,) float64 with sum 1.
    """
    if target.ndim == 1:
        member = target.to(torch.int64)
        weights = 1.0 / torch.bincount(member).to(torch.float64)[member]
    else:
        member = torch.cat([target, (target.sum(1, keepdim=True) == 0).to(target.dtype)], dim=1).to(torch.float64)
        weights = (member / member.sum(0).clamp(min=1)).sum(1)
    return weights / weights.sum()


class EpochSampler(Sampler[Tensor]):
    """Yields the batches of an epoch as draws (see `draws_of`).

    Device r of W gets samples r, r + W, r + 2W, ... of each batch: parts differ by at most one sample, and a model that
    weighs its gradients by their sizes takes the same step as one process.

    For training, the order is new at every epoch, and BatchNorm is served in two ways. A last batch of one sample joins
    the batch before it, as BatchNorm refuses a single value per channel; nothing is lost. And no device gets fewer than
    two samples if full batches have that many for each: where the last batch of an epoch is smaller than that, its
    samples are drawn again, and some count more than others.

    For evaluation (`training=False`), the order is that of `rows`, every sample is counted once, and a device for which
    the last batch has no sample takes a step less.

    Args:
        rows: (N,) int64 row numbers, 1 or more.
        batch_size: samples of a step over all devices together.
        seed: of the run.
        weights: (N,) chances of the rows, drawn with replacement (`balanced_weights`); None for each exactly once; for
            training only.
        steps_per_epoch: full batches that count as an epoch, whatever N; None for one pass; for training only.
        training: see above.
        rank: which device this is.
        world_size: number of devices.

    Attributes:
        epoch: the epoch that iterating yields, from 0; Lightning moves it with `set_epoch`.
        skip: batches that the next iteration leaves out, because they were trained on before a run was stopped.

    Raises:
        InputError: for a batch too small to be shared by all devices.
    """

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        *,
        seed: int,
        weights: Tensor | None = None,
        steps_per_epoch: int | None = None,
        training: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < world_size:
            raise InputError(
                f"data.batch_size={batch_size} leaves some of {world_size} devices without a sample: set it to "
                f"{world_size} or more."
            )
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.weights, self.steps_per_epoch, self.training = weights, steps_per_epoch, training
        self.rank, self.world_size = rank, world_size
        self.epoch = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Move to another epoch; called by Lightning on every rank."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps of an epoch on this device."""
        bounds = self._bounds()
        steps = len(bounds) - 1
        spare = not self.training and steps > 0 and bounds[-1] - bounds[-2] <= self.rank
        return steps - 1 if spare else steps

    def __iter__(self) -> Iterator[Tensor]:
        bounds = self._bounds()
        rows = self.rows
        if self.training:
            length = None if self.steps_per_epoch is None else bounds[-1]
            rows = rows[epoch_order(len(rows), self.seed, self.epoch, weights=self.weights, length=length)]
            rows, bounds[-1] = self._fill_last_batch(rows, bounds)
            rows = draws_of(rows)
        skip, self.skip = self.skip, 0
        for start, stop in list(pairwise(bounds))[skip : len(self)]:
            yield rows[start:stop][self.rank :: self.world_size]

    def _bounds(self) -> list[int]:
        """Where the batches of all devices together begin, and where the last one ends."""
        size = len(self.rows)
        if self.steps_per_epoch is not None:
            return [self.batch_size * step for step in range(self.steps_per_epoch + 1)]
        full, rest = divmod(size, self.batch_size)
        bounds = [self.batch_size * step for step in range(full + 1)]
        if rest == 0:
            return bounds
        if rest == 1 and full > 0 and self.training:
            return [*bounds[:-1], size]
        return [*bounds, size]

    def _fill_last_batch(self, rows: Tensor, bounds: list[int]) -> tuple[Tensor, int]:
        """The rows of an epoch, with as many more at the end as the devices need, and where they end."""
        last = rows[bounds[-2] :]
        fewest = min(2, self.batch_size // self.world_size) * self.world_size if self.world_size > 1 else 0
        if len(last) >= fewest:
            return rows, len(rows)
        return torch.cat([rows[: bounds[-2]], last.repeat(fewest)[:fewest]]), bounds[-2] + fewest
