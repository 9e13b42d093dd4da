"""Learning-rate schedules that step with every optimiser step.

Each is called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`. A parameter group's learning rate at that
moment is its peak, so that layer-wise rates keep their proportions. All of them are torch's `LambdaLR` over a function
of the step: its state holds only numbers (it loads with `weights_only=True`), and a run may be resumed with more epochs
than it was started with.
"""

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from vesalius.config.errors import InputError


@dataclass(frozen=True)
class Constant:
    """A constant rate, after a linear warm-up of `warmup_steps`."""

    follows_horizon: ClassVar[bool] = False

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _require(self.warmup_steps >= 0, f"warmup_steps={self.warmup_steps}: must not be below 0.")

    def __call__(self, optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float) -> LRScheduler:
        """Build torch's scheduler."""
        return _scheduler(optimizer, lambda step: _warmup(step, self.warmup_steps))


@dataclass(frozen=True)
class MultiStep:
    """Multiply the rate by `gamma` at the start of each epoch in `milestones` (counted from 0)."""

    follows_horizon: ClassVar[bool] = False

    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _require(all(epoch > 0 for epoch in self.milestones), f"milestones={self.milestones}: must be above 0.")
        _require(self.gamma > 0, f"gamma={self.gamma}: must be above 0.")

    def __call__(self, optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float) -> LRScheduler:
        """Build torch's scheduler."""
        _require(
            math.isfinite(steps_per_epoch),
            "batches cannot be counted: set trainer.limit_train_batches.",
        )
        steps = sorted(epoch * int(steps_per_epoch) for epoch in self.milestones)
        return _scheduler(optimizer, lambda step: self.gamma ** bisect_right(steps, step))


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine down to `end_factor` of the peak (Loshchilov and Hutter 2017, SGDR)."""

    warmup_steps: int = 0
    end_factor: float = 0.0

    def __post_init__(self) -> None:
        _require(self.warmup_steps >= 0, f"warmup_steps={self.warmup_steps}: must not be below 0.")
        _require(0 <= self.end_factor <= 1, f"end_factor={self.end_factor}: must be from 0 to 1.")

    def __call__(self, optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float) -> LRScheduler:
        """Build torch's scheduler."""
        steps = _finite(total_steps)
        _require(
            self.warmup_steps < steps, f"warmup_steps={self.warmup_steps}: the whole training is {steps} steps long."
        )

        def factor(step: int) -> float:
            done = (step - self.warmup_steps) / (steps - self.warmup_steps)
            return _warmup(step, self.warmup_steps) if done < 0 else _half_cosine(1.0, self.end_factor, done)

        return _scheduler(optimizer, factor)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up, half a cosine down (Smith and Topin 2018, Super-Convergence), with torch's defaults.

    Attributes:
        warmup_fraction: share of all steps in which the rate rises.
        start_factor: first rate, as a share of the peak.
        end_factor: last rate, as a share of the peak.
    """

    warmup_fraction: float = 0.3
    start_factor: float = 1 / 25
    end_factor: float = 1 / 25e4

    def __post_init__(self) -> None:
        for name in ("warmup_fraction", "start_factor", "end_factor"):
            _require(0 <= getattr(self, name) <= 1, f"{name}={getattr(self, name)}: must be from 0 to 1.")

    def __call__(self, optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float) -> LRScheduler:
        """Build torch's scheduler."""
        last = _finite(total_steps) - 1
        top = self.warmup_fraction * (last + 1) - 1  # the step at which torch's OneCycleLR peaks

        def factor(step: int) -> float:
            if step < top:
                return _half_cosine(self.start_factor, 1.0, step / top)
            return _half_cosine(1.0, self.end_factor, (step - max(top, 0)) / max(last - max(top, 0), 1))

        return _scheduler(optimizer, factor)


def _scheduler(optimizer: Optimizer, factor: Callable[[int], float]) -> LRScheduler:
    return LambdaLR(optimizer, factor)


def _half_cosine(start: float, end: float, done: float) -> float:
    """From `start` to `end` as `done` goes from 0 to 1, and `end` for more."""
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def _warmup(step: int, steps: int) -> float:
    return min((step + 1) / (steps + 1), 1.0)


def _finite(total_steps: float) -> int:
    _require(math.isfinite(total_steps), "the training has no end: set trainer.max_epochs or trainer.max_steps.")
    return max(int(total_steps), 1)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise InputError(f"model.schedule: {problem}")


def follows_horizon(schedule: Callable[..., LRScheduler]) -> bool:
    """Whether the rates of a schedule are a function of how long the whole training is.

    Args:
        schedule: as for `build_schedule`; one that asks for `total_steps` depends on it, unless it has an attribute
            `follows_horizon` that is False.
    """
    own: bool | None = getattr(schedule, "follows_horizon", None)
    return "total_steps" in inspect.signature(schedule).parameters if own is None else own


def build_schedule(
    schedule: Callable[..., LRScheduler], optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float
) -> LRScheduler:
    """Call a schedule of this module, or a partial of one of torch's, whose own arguments give its lengths.

    Args:
        schedule: takes the optimiser and, optionally, `total_steps` and `steps_per_epoch`.
        optimizer: its groups' learning rates are the peaks.
        total_steps: optimiser steps of the whole training; infinite if unbounded.
        steps_per_epoch: optimiser steps of an epoch; infinite if unknown.
    """
    lengths = {"total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    accepted = inspect.signature(schedule).parameters
    return schedule(optimizer, **{name: value for name, value in lengths.items() if name in accepted})
