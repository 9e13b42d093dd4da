"""The losses of regression."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts

Kind = Literal["auto", "mse", "l1", "huber"]


class RegressionLoss(nn.Module):
    """A loss over the outputs (B, K) of a net, and the conversion of outputs to values in real units.

    Outputs and loss are on the scale where each target has mean 0 and standard deviation 1 over the training samples,
    so that targets in different units have equal weight.

    Args:
        facts: mean and standard deviation of the targets.
        kind: `mse`; `l1`, which is more robust to outliers; `huber` (1964): as `mse` within one standard deviation,
            as `l1` beyond; or `auto`: `mse`.

    Raises:
        InputError: for data without continuous targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: Facts, *, kind: Kind = "auto") -> None:
        super().__init__()
        if facts.target_mean is None or facts.target_std is None:
            raise InputError(f"model.loss: task {facts.task} has classes, not continuous targets: choose another loss.")
        self.kind = "mse" if kind == "auto" else kind
        # Not in the state dict: the facts determine them.
        self.register_buffer("mean", torch.tensor(facts.target_mean), persistent=False)
        self.register_buffer("std", torch.tensor(facts.target_std), persistent=False)

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch, float32; `outputs` and `target` (B, K), the target in real units."""
        outputs, target = outputs.float(), self.standardize(target)
        if self.kind == "l1":
            return F.l1_loss(outputs, target)
        return F.huber_loss(outputs, target) if self.kind == "huber" else F.mse_loss(outputs, target)

    def standardize(self, values: Tensor) -> Tensor:
        """Convert values (B, K) in real units to the scale of the outputs."""
        return (values.float() - self.mean) / self.std

    def values(self, outputs: Tensor) -> Tensor:
        """Convert outputs (B, K) to values in real units, float32."""
        return outputs.float() * self.std + self.mean
