"""A network that relates every frame of a series to all others."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.models.nets.series.base import SeriesNet, check_counts
from vesalius.models.nets.series.pooling import PoolingKind, TemporalPooling, check_heads


class TransformerNet(SeriesNet):
    """CNN features of every frame, related to each other by a small transformer (Vaswani et al. 2017).

    A frame is placed by its time, in usual steps since the first one, and not by its number: a series that lacks frames
    reads like the whole one.

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series.
        layers: number of blocks.
        heads: of the attention of each block; divides `hidden_size`.
        pooling: how states become one vector per series: `last`, `mean` or `attention` (see `TemporalPooling`).
        options: of `SeriesNet`. `dropout` acts within the blocks too.

    Raises:
        InputError: for invalid options.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        time_step: float,
        sequence_length: int,
        *,
        layers: int = 2,
        heads: int = 4,
        pooling: PoolingKind = "mean",
        **options: Any,
    ) -> None:
        check_counts(layers=layers, heads=heads)
        super().__init__(in_channels, time_step, sequence_length, **options)
        check_heads(heads, self.hidden_size)
        self.causal = False
        self.project_inputs = nn.Linear(self.width, self.hidden_size)
        self.blocks = nn.ModuleList(_Block(self.hidden_size, heads, self.dropout.p) for _ in range(layers))
        self.norm = nn.LayerNorm(self.hidden_size)
        self.add_head(TemporalPooling(pooling, self.hidden_size), self.hidden_size, num_outputs)

    def over_time(self, inputs: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
        """States (B, T, F) of the last block."""
        x: Tensor = self.project_inputs(inputs)
        x = x + positions(steps, x.shape[2]).to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        states: Tensor = self.norm(x)
        return states


def positions(steps: Tensor, features: int) -> Tensor:
    """Sines and cosines (..., features) of times (...) in usual steps, with wavelengths from 2π to 20,000π."""
    half = (features + 1) // 2
    rates = torch.exp(torch.arange(half, device=steps.device) * (-math.log(10_000.0) / half))
    angles = steps[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :features]


class _Block(nn.Module):
    """Attention over the real frames, then two dense layers, each normalised first and added (Xiong et al. 2020)."""

    def __init__(self, features: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.attention_norm, self.dense_norm = nn.LayerNorm(features), nn.LayerNorm(features)
        self.query_key_value = nn.Linear(features, 3 * features)
        self.attended = nn.Linear(features, features)
        self.dense = nn.Sequential(
            nn.Linear(features, 2 * features), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * features, features)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        split = self.query_key_value(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (3, B, heads, T, features of a head)
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :], dropout_p=rate)
        x = x + self.dropout(self.attended(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.dense(self.dense_norm(x)))
        return out
