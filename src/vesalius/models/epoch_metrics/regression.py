"""What is measured on the validation samples of a regression after each epoch, to pick a checkpoint.

Final numbers are recomputed from the predictions table, with intervals (`vesalius.metrics.regression`).
"""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vesalius.config.facts import Facts

# Names of what `RegressionMetrics.compute` gives.
NAMES = ("mae", "rmse", "r2")


class RegressionMetrics(torch.nn.Module):
    """Mean absolute error, root mean squared error and R², fed batch by batch, computed once an epoch over all ranks.

    Of several quantities, the mean of each quantity's own: `mae` and `rmse` in real units, which should then be the
    same; R² is 1 for perfect predictions and 0 for those of someone who knows the validation mean alone. It is NaN
    where a quantity does not vary.

    Args:
        facts: number of quantities, their means and standard deviations in training.
    """

    names: ClassVar[tuple[str, ...]] = NAMES
    mean: Tensor
    std: Tensor

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(facts.target_mean), persistent=False)
        self.register_buffer("std", torch.tensor(facts.target_std), persistent=False)
        self.sums = _Sums(facts.num_classes)

    def update(self, values: Tensor, target: Tensor) -> None:
        """Take in a batch: predicted and true values (B, K), real units."""
        # Sums of large values lose their small differences in 32 bits; sums of standardised ones do not.
        error = (values.float() - target.float()) / self.std
        self.sums.update(error, (target.float() - self.mean) / self.std)

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""
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

    def __init__(self, quantities: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(4, quantities), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, error: Tensor, value: Tensor) -> None:
        self.sums = self.sums + torch.stack([error.abs(), error.square(), value, value.square()]).sum(dim=1)
        self.count = self.count + len(value)

    def compute(self) -> Tensor:
        return self.sums / self.count
