"""The layers between a net's features and its logits."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.quadratic_models import RANK

HeadKind = Literal["linear", "article", "quadratic"]


def build_head(kind: HeadKind, features: int, outputs: int, dropout: float | None = None) -> nn.Module:
    """Build a head that maps features (B, F) to logits (B, K).

    Args:
        kind: `linear`: one dense layer; `article`: Dense 512, ReLU, dropout, Dense K; `quadratic`: `QuadraticHead`.
        features: F.
        outputs: K.
        dropout: probability before the last layer; None is 0.5 for `article`, else 0.

    Raises:
        InputError: for a probability outside [0, 1).
    """
    if dropout is not None and not 0 <= dropout < 1:
        raise InputError(f"model.net.dropout={dropout}: must be at least 0 and below 1.")
    if kind != "article":
        last = nn.Linear(features, outputs) if kind == "linear" else QuadraticHead(features, outputs)
        return nn.Sequential(nn.Dropout(dropout), last) if dropout else last
    return nn.Sequential(
        nn.Linear(features, 512),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5 if dropout is None else dropout),
        nn.Linear(512, outputs),
    )


class QuadraticHead(nn.Module):
    """A linear layer, and next to it a quadratic form of the features at length 1, as a sum of weighted squares.

    What pairs of features tell together is in the form, for which `vesalius.models.head_start` solves.

    Args:
        features: F.
        outputs: K.

    Attributes:
        shift: (F,), subtracted from the features before the form.
        scale: (F,), by which they are then multiplied.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, outputs)
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.directions = nn.Linear(features, RANK * outputs)
        self.squares = nn.Linear(RANK * outputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, K)."""
        unit = functional.normalize((x - self.shift) * self.scale)
        outputs: Tensor = self.linear(x) + self.squares(self.directions(unit) ** 2)
        return outputs
