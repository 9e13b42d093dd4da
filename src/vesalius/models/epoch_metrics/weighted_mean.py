"""The mean of an epoch's losses, put together from the means of batches of any sizes on any devices."""

import torch
from torch import Tensor
from torchmetrics import Metric


class WeightedMean(Metric):
    """Sum of values times weights over the sum of weights; NaN stays NaN, so that divergence shows.

    torchmetrics' `MeanMetric` leaves NaN out, and where it is told not to, it forgets the weights.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float) -> None:
        """Take in the mean of a batch, and what it was divided by."""
        self.total = self.total + value.detach().float() * weight
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """The mean; NaN of nothing."""
        return self.total / self.weight
