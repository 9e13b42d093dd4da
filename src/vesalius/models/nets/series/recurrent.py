"""A network that reads the frames of a series in order."""

from typing import Any

from torch import Tensor

from vesalius.models.nets.series.base import SeriesNet, check_counts
from vesalius.models.nets.series.pooling import PoolingKind, TemporalPooling
from vesalius.models.nets.series.recurrent_layers import Cell, RecurrentLayers


class RecurrentNet(SeriesNet):
    """CNN features of every frame, read in order by an LSTM, GRU or plain RNN (Donahue et al. 2015, LRCN).

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series.
        cell: `lstm`, `gru` or `rnn`.
        layers: number of stacked recurrent layers.
        bidirectional: read every series backwards too. Such a net is not causal.
        pooling: how states become one vector per series: `last`, `mean` or `attention` (see `TemporalPooling`).
        options: of `SeriesNet`. `dropout` acts between recurrent layers too.

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
        cell: Cell = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        pooling: PoolingKind = "last",
        **options: Any,
    ) -> None:
        check_counts(layers=layers)
        super().__init__(in_channels, time_step, sequence_length, **options)
        self.recurrence = RecurrentLayers(
            cell, self.width, self.hidden_size, layers=layers, bidirectional=bidirectional, dropout=self.dropout.p
        )
        self.causal = not bidirectional
        features = self.recurrence.out_features
        self.add_head(TemporalPooling(pooling, features, bidirectional=bidirectional), features, num_outputs)

    def over_time(self, inputs: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
        """States (B, T, F) of the last recurrent layer."""
        states: Tensor = self.recurrence(inputs, mask)
        return states
