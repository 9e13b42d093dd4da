"""Pooling of the states of a series into one vector."""

from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError

PoolingKind = Literal["last", "mean", "attention"]


class TemporalPooling(nn.Module):
    """Pools states over the real frames of each series.

    Args:
        kind: `last`: the state after the last real frame, and of a backward direction that after the first;
            `mean`; or `attention`: a mean whose weights are a softmax of learned scores (Bahdanau et al. 2015).
        features: length of a state, of both directions together.
        bidirectional: whether the second half of a state comes from a backward direction.
        heads: number of weightings of `attention`, each of its own part of the state.

    Raises:
        InputError: if the heads do not divide the state.
    """

    def __init__(self, kind: PoolingKind, features: int, *, bidirectional: bool = False, heads: int = 1) -> None:
        super().__init__()
        check_heads(heads, features)
        self.kind = kind
        self.bidirectional = bidirectional
        if kind == "attention":
            self.score = nn.Sequential(nn.Linear(features, features), nn.Tanh(), nn.Linear(features, heads, bias=False))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map states (B, T, F) with `mask` (B, T), True at real frames, to (B, F)."""
        if self.kind == "last":
            return self._last(states, mask)
        real = mask.unsqueeze(2)
        if self.kind == "mean":
            weights = real.to(states.dtype)
        else:
            scores = self.score(states).float()
            # Exactly 0 at padding; and unlike minus infinity, no NaN for a series without frames.
            weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(dim=1).to(states.dtype)
        parts = torch.unflatten(states, 2, (weights.shape[2], -1))
        total = weights.sum(dim=1).clamp_min(1e-6).unsqueeze(2)
        return (torch.einsum("bth,bthf->bhf", weights, parts) / total).flatten(1)

    def _last(self, states: Tensor, mask: Tensor) -> Tensor:
        last = (mask.sum(dim=1) - 1).clamp_min(0)
        end = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
        if not self.bidirectional:
            return end
        half = states.shape[2] // 2
        return torch.cat([end[:, :half], states[:, 0, half:]], dim=1)


def check_heads(heads: int, features: int) -> None:
    """Refuse heads that do not divide a state of `features` numbers.

    Raises:
        InputError: naming both.
    """
    if features % heads:
        raise InputError(f"model.net.heads={heads}: must divide model.net.hidden_size={features}.")
