"""Losses for predicting quantities."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts


class RegressionLoss(nn.Module):
    """A loss over outputs (B, K) of a net, and the values in real units that those outputs mean.

    Outputs and loss are on the scale where each quantity has mean 0 and standard deviation 1 over the training samples,
    so that quantities of different units count alike.

    Args:
        facts: mean and standard deviation of the targets.
        kind: `mse`; `l1`, which outliers sway less; or `huber` (1964): as `mse` within one standard deviation, as `l1`
            beyond; or `auto`: `mse`.

    Raises:
        InputError: for another kind, or facts without quantities.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: Facts, *, kind: Literal["auto", "mse", "l1", "huber"] = "auto") -> None:
        super().__init__()
        problems = []
        if kind not in ("auto", "mse", "l1", "huber"):
            problems.append(f"model.loss.kind={kind}: a regression takes auto, mse, l1 or huber.")
        if facts.target_mean is None or facts.target_std is None:
            problems.append(f"model.loss: the data has classes (task {facts.task}), not quantities.")
        if problems:
            raise InputError(problems)
        self.kind = "mse" if kind == "auto" else kind
        # Not in the state dict: the facts give them again.
        self.register_buffer("mean", torch.tensor(facts.target_mean), persistent=False)
        self.register_buffer("std", torch.tensor(facts.target_std), persistent=False)

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch, float32; `outputs` and `target` (B, K), the target in real units."""
        outputs, target = outputs.float(), self.standardize(target)
        if self.kind == "l1":
            return F.l1_loss(outputs, target)
        return F.huber_loss(outputs, target) if self.kind == "huber" else F.mse_loss(outputs, target)

    def standardize(self, values: Tensor) -> Tensor:
        """Values (B, K) in real units on the scale of the outputs."""
        return (values.float() - self.mean) / self.std

    def values(self, outputs: Tensor) -> Tensor:
        """Values (B, K) in real units, float32."""
        return outputs.float() * self.std + self.mean
