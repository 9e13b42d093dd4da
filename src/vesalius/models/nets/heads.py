"""The layers between a net's features and its logits."""

from typing import Literal

from torch import nn

from vesalius.config.errors import InputError

HeadKind = Literal["linear", "article"]


def build_head(kind: HeadKind, features: int, outputs: int, dropout: float | None = None) -> nn.Module:
    """Build a head that maps features (B, F) to logits (B, K).

    Args:
        kind: `linear`: one dense layer; `article`: Dense 512, ReLU, dropout, Dense K.
        features: F.
        outputs: K.
        dropout: probability before the last layer; None is 0 for `linear` and 0.5 for `article`.

    Raises:
        InputError: for a probability outside [0, 1).
    """
    if dropout is not None and not 0 <= dropout < 1:
        raise InputError(f"model.net.dropout={dropout}: must be at least 0 and below 1.")
    if kind == "linear":
        last = nn.Linear(features, outputs)
        return nn.Sequential(nn.Dropout(dropout), last) if dropout else last
    return nn.Sequential(
        nn.Linear(features, 512),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5 if dropout is None else dropout),
        nn.Linear(512, outputs),
    )
