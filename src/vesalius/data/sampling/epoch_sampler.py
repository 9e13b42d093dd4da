"""Which samples make up each training step: a pure function of (seed, epoch), on any number of devices.

A sampler here yields whole batches, as tensors of row numbers, for
`DataLoader(dataset, batch_size=None, sampler=EpochSampler(...))`. The batch size is that of a step over all devices
together; each device is given its part of the very batch that a single process would take.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Sampler

from vesalius.config.errors import InputError
from vesalius.data import random


def epoch_order(
    size: int,
    seed: int,
    epoch: int,
    *,
    shuffle: bool = True,
    weights: Tensor | None = None,
    length: int | None = None,
) -> Tensor:
    """The order of an epoch.

    Args:
        size: number of samples.
        seed: of the run.
        epoch: from 0.
        shuffle: False for the order as it is.
        weights: (size,) chances relative to each other: samples are then drawn with replacement.
        length: draws that count as an epoch; None for `size`. Without weights epochs cut an endless stream of passes,
            each in an order of its own, so that every sample still comes up equally often.

    Returns:
        (length,) int64 positions below `size`.
    """
    if weights is not None:
        return _draw(weights, size if length is None else length, seed, epoch)
    if length is None:
        return _pass(size, seed, epoch, shuffle)
    start, stop = epoch * length, (epoch + 1) * length
    first = start // size
    passes = [_pass(size, seed, number, shuffle) for number in range(first, -(-stop // size))]
    return torch.cat(passes)[start - first * size : stop - first * size]


def _pass(size: int, seed: int, number: int, shuffle: bool) -> Tensor:
    return torch.randperm(size, generator=random.generator(seed, number, "order")) if shuffle else torch.arange(size)


def _draw(weights: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    # By the inverse of the distribution function: torch.multinomial ends at 2^24 samples.
    cumulative = weights.to("cpu", torch.float64).cumsum(0)
    uniform = torch.rand(count, generator=random.generator(seed, epoch, "draw"), dtype=torch.float64)
    return torch.searchsorted(cumulative / cumulative[-1], uniform, right=True).clamp_(max=len(weights) - 1)


def balanced_weights(target: Tensor) -> Tensor:
    """Weights with which every class is drawn equally often.

    They are those of a draw in two steps: a class, all being equally likely, then one of its samples. A sample's weight
    is therefore the sum over its classes of 1 / (samples of that class). With one class a sample this balances exactly;
    with several, a class that often accompanies others still comes up more often. Samples without any class form a
    class of their own; classes without samples are passed over.

    Args:
        target: (N,) int64 classes, or (N, K) 0/1 for several classes a sample.

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
    """Yields an epoch's batches of row numbers.

    Device r of W gets samples r, r + W, r + 2W, ... of each batch: parts differ by at most one sample, and a model that
    weighs its gradients by their sizes makes the very step of one process.

    With `training`, two things are done for the sake of BatchNorm. A last batch of one sample joins the batch before
    it, as BatchNorm refuses a single value a channel; nothing is lost. And no device gets fewer than two samples if
    full batches have that many for each: where the last batch of an epoch is smaller than that, its samples are
    repeated, and some count more than others.

    Without `training` every sample is counted once, and a device for which the last batch has none makes a step less.

    Args:
        rows: (N,) int64 row numbers, or N for 0..N-1.
        batch_size: samples of a step over all devices together.
        seed: of the run.
        shuffle: a new order at every epoch.
        weights: (N,) chances of the rows, drawn with replacement (`balanced_weights`); None for each exactly once.
        steps_per_epoch: full batches that count as an epoch, whatever N; None for one pass.
        drop_last: leave out a last batch that is not full.
        training: see above.
        rank: which device this is.
        world_size: number of devices.
        start_epoch: an epoch that was stopped midway.
        start_batch: batches of `start_epoch` that were consumed already; other epochs start at their beginning.

    Attributes:
        epoch: the epoch that iterating yields, from 0; Lightning moves it with `set_epoch`.

    Raises:
        InputError: for arguments that cannot be met, all in one message.
    """

    def __init__(
        self,
        rows: Tensor | int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        weights: Tensor | None = None,
        steps_per_epoch: int | None = None,
        drop_last: bool = False,
        training: bool = True,
        rank: int = 0,
        world_size: int = 1,
        start_epoch: int = 0,
        start_batch: int = 0,
    ) -> None:
        self.rows = torch.arange(rows) if isinstance(rows, int) else rows
        self.batch_size, self.seed = batch_size, seed
        self.shuffle, self.weights, self.steps_per_epoch = shuffle, weights, steps_per_epoch
        self.drop_last, self.training = drop_last, training
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start_epoch = start_epoch
        self.start_batch = start_batch
        if problems := self._problems():
            raise InputError(problems)

    def set_epoch(self, epoch: int) -> None:
        """Move to another epoch; called by Lightning on every rank."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps of a whole epoch on this device, whether or not it starts midway."""
        bounds = self._bounds()
        steps = len(bounds) - 1
        spare = not self.training and steps > 0 and bounds[-1] - bounds[-2] <= self.rank
        return steps - 1 if spare else steps

    def __iter__(self) -> Iterator[Tensor]:
        bounds = self._bounds()
        order = epoch_order(
            len(self.rows),
            self.seed,
            self.epoch,
            shuffle=self.shuffle,
            weights=self.weights,
            length=None if self.steps_per_epoch is None else bounds[-1],
        )
        order = self.rows[order]
        first = self.start_batch if self.epoch == self.start_epoch else 0
        for start, stop in list(pairwise(bounds))[first : len(self)]:
            yield self._part(order[start:stop])

    def _bounds(self) -> list[int]:
        """Where the batches of all devices together begin, and where the last one ends."""
        size = len(self.rows)
        if self.steps_per_epoch is not None:
            return [self.batch_size * step for step in range(self.steps_per_epoch + 1)]
        full, rest = divmod(size, self.batch_size)
        bounds = [self.batch_size * step for step in range(full + 1)]
        if rest == 0 or self.drop_last:
            return bounds
        if rest == 1 and full > 0 and self.training:
            return [*bounds[:-1], size]
        return [*bounds, size]

    def _part(self, batch: Tensor) -> Tensor:
        """This device's part of a batch."""
        if self.world_size == 1:
            return batch
        fewest = min(2, self.batch_size // self.world_size) if self.training else 0
        if len(batch) < fewest * self.world_size:
            batch = batch.repeat(fewest * self.world_size)[: fewest * self.world_size]
        return batch[self.rank :: self.world_size]

    def _problems(self) -> list[str]:
        size, problems = len(self.rows), []
        counts = {"batch_size": self.batch_size, "world_size": self.world_size}
        if self.steps_per_epoch is not None:
            counts["steps_per_epoch"] = self.steps_per_epoch
        problems += [f"{name}={count} must be 1 or more." for name, count in counts.items() if count < 1]
        if size == 0:
            problems.append("There is no sample to make batches of; give the split at least one.")
        if problems:
            return problems
        if self.batch_size < self.world_size:
            problems.append(
                f"batch_size={self.batch_size} leaves some of {self.world_size} devices without a sample; "
                f"set it to {self.world_size} or more."
            )
        if not 0 <= self.rank < self.world_size:
            problems.append(f"rank={self.rank} must lie between 0 and world_size - 1 = {self.world_size - 1}.")
        if self.drop_last and self.steps_per_epoch is None and size < self.batch_size:
            problems.append(
                f"With {size} samples and batch_size={self.batch_size}, drop_last leaves no batch; "
                f"set batch_size to {size} or less."
            )
        if not self.training and (self.drop_last or self.weights is not None or self.steps_per_epoch is not None):
            problems.append("Outside training each sample counts once: leave out weights, steps_per_epoch, drop_last.")
        if self.weights is not None:
            problems += self._weight_problems(self.weights)
        if not problems and not 0 <= self.start_batch <= len(self):
            problems.append(f"start_batch={self.start_batch} must lie between 0 and the {len(self)} steps of an epoch.")
        return problems

    def _weight_problems(self, weights: Tensor) -> list[str]:
        problems = []
        if weights.shape != (len(self.rows),):
            problems.append(
                f"weights of shape {tuple(weights.shape)} must be one number for each of {len(self.rows)} rows."
            )
        elif not (weights.isfinite().all() and (weights >= 0).all() and weights.sum() > 0):
            problems.append("weights must be finite numbers of 0 or more, and not all 0.")
        if not self.shuffle:
            problems.append("weights draw at random; they go with shuffle=true only.")
        return problems
