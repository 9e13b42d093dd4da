"""The mean of an epoch's losses, from the means of batches of different sizes on several devices."""

import torch
from torch import Tensor
from torchmetrics import Metric


class WeightedMean(Metric):
    """Sum of values times weights, divided by the sum of weights; NaN if a value is, so that divergence shows.

    Not torchmetrics' `MeanMetric`, which leaves NaN out, and with `nan_strategy="disable"` ignores the weights.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float) -> None:
        """Add the mean of a batch, and what it was divided by."""
        self.total = self.total + value.detach().float() * weight
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """The mean so far; NaN before the first update."""
        return self.total / self.weight
