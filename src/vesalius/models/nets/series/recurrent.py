"""A network that reads the frames of a series in order."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from vesalius.models.nets.series.base import SeriesNet, TimeInput
from vesalius.models.nets.series.pooling import PoolingKind, TemporalPooling
from vesalius.models.nets.series.recurrent_layers import Cell, RecurrentLayers


class RecurrentNet(SeriesNet):
    """CNN features of every frame, read in order by an LSTM, GRU or plain RNN (Donahue et al. 2015, LRCN).

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series.
        encoder: image network, as `SeriesNet` takes it; also the options not named here.
        cell: `lstm`, `gru` or `rnn`.
        hidden_size: length of a state, of each direction.
        layers: number of stacked recurrent layers.
        bidirectional: read every series backwards too. Such a net is not causal.
        dropout: probability between recurrent layers and before the last layer.
        pooling: how states become one vector per series: `last`, `mean` or `attention` (see `TemporalPooling`).

    Raises:
        InputError: for invalid options, all of them at once.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        time_step: float,
        sequence_length: int,
        *,
        encoder: Callable[..., nn.Module],
        input_size: int = 128,
        normalize: bool = True,
        time_inputs: Sequence[TimeInput] = (),
        cell: Cell = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: PoolingKind = "last",
        chunk_frames: int | None = 512,
    ) -> None:
        super().__init__(
            in_channels,
            time_step,
            sequence_length,
            encoder=encoder,
            input_size=input_size,
            normalize=normalize,
            time_inputs=time_inputs,
            dropout=dropout,
            chunk_frames=chunk_frames,
            hidden_size=hidden_size,
            layers=layers,
        )
        self.recurrence = RecurrentLayers(
            cell, self.width, hidden_size, layers=layers, bidirectional=bidirectional, dropout=dropout
        )
        self.causal = not bidirectional
        features = self.recurrence.out_features
        self.add_head(TemporalPooling(pooling, features, bidirectional=bidirectional), features, num_outputs)

    def over_time(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """States (B, T, F) of the last recurrent layer."""
        states: Tensor = self.recurrence(inputs, mask)
        return states
