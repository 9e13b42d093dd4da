"""The base of every augmentation: how many random numbers it takes, and the check of its arguments."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from vesalius.config.errors import InputError


class Operation:
    """A named entry of an `Augment`.

    Attributes:
        draws: how many uniform numbers in [0, 1) it takes per sample and epoch.
    """

    draws: ClassVar[int]

    def _check(self, limits: Mapping[str, tuple[float, float, float]]) -> None:
        """Refuse arguments outside their limits, all of them in one message.

        Args:
            limits: name of the argument -> value, smallest and largest allowed value.

        Raises:
            InputError: names the operation, the argument and what is allowed.
        """
        problems = []
        for name, (value, low, high) in limits.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and math.isfinite(value) and low <= value <= high:
                continue
            allowed = f"between {low:g} and {high:g}" if math.isfinite(high) else f"of {low:g} or more"
            problems.append(f"augment: {type(self).__name__}({name}={value!r}) must be a number {allowed}.")
        if problems:
            raise InputError(problems)


def symmetric(draw: Tensor, strength: float) -> Tensor:
    """Stretch numbers in [0, 1) to [-strength, strength)."""
    return (draw * 2).sub_(1).mul_(strength)


def log_symmetric(draw: Tensor, factor: float) -> Tensor:
    """Stretch numbers in [0, 1) to [1/factor, factor), a factor and its inverse being equally likely."""
    return torch.exp(symmetric(draw, math.log(factor)))
