"""Metrics of regression on the validation data, computed after each epoch to pick a checkpoint.

Final numbers are computed from the predictions table, with intervals (`vesalius.metrics.regression`).
"""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vesalius.config.facts import Facts


class RegressionMetrics(torch.nn.Module):
    """Mean absolute error, root mean squared error and R², updated per batch, computed once per epoch over all devices.

    `mae` and `rmse` are in real units; several targets, whose mean they are, should have the same unit. R² is 1 for
    perfect predictions, 0 for the validation mean as prediction, and NaN for a target that does not vary (torchmetrics'
    would be 0 then, and an error for a single sample).

    Args:
        facts: number of targets, their means and standard deviations in training.
    """

    names: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2")
    mean: Tensor
    std: Tensor

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(facts.target_mean), persistent=False)
        self.register_buffer("std", torch.tensor(facts.target_std), persistent=False)
        self.sums = _Sums(facts.num_classes)

    def update(self, values: Tensor, target: Tensor) -> None:
        """Add a batch: predicted and true values (B, K), in real units."""
        # Standardised: in 32 bits, sums of large values would lose small differences.
        error = (values.float() - target.float()) / self.std
        self.sums.update(error, (target.float() - self.mean) / self.std)

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name, and reset for the next epoch."""
        absolute, squared, total, total_squared = self.sums.compute()
        self.sums.reset()
        variance = total_squared - total.square()
        r2 = torch.where(variance > 1e-9, 1 - squared / variance, torch.nan)
        return {"mae": (absolute * self.std).mean(), "rmse": (squared.sqrt() * self.std).mean(), "r2": r2.mean()}


class _Sums(Metric):
    """Means over samples of |error|, error², value and value², each (K,)."""

    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(4, targets), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, error: Tensor, value: Tensor) -> None:
        self.sums = self.sums + torch.stack([error.abs(), error.square(), value, value.square()]).sum(dim=1)
        self.count = self.count + len(value)

    def compute(self) -> Tensor:
        return self.sums / self.count
