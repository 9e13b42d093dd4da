"""A network that weighs the frames of a series, without reading them in order."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from vesalius.models.nets.series.base import SeriesNet, TimeInput
from vesalius.models.nets.series.pooling import TemporalPooling


class AttentionNet(SeriesNet):
    """CNN features of every frame, pooled by attention straight over frames (Ilse et al. 2018, attention-based MIL).

    Each frame goes through one hidden layer by itself. Without time inputs a series is a set: its order is not seen.

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series.
        encoder: image network, as `SeriesNet` takes it; also the options not named here.
        hidden_size: length of the hidden layer's output.
        heads: number of weightings, each of its own part of the hidden layer's output; divides `hidden_size`.
        dropout: probability before the last layer.

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
        hidden_size: int = 128,
        heads: int = 4,
        dropout: float = 0.0,
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
            heads=heads,
        )
        self.causal = True
        self.hidden = nn.Sequential(nn.Linear(self.width, hidden_size), nn.GELU())
        self.add_head(TemporalPooling("attention", hidden_size, heads=heads), hidden_size, num_outputs)

    def over_time(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """The hidden layer's output (B, T, F), of each frame by itself."""
        hidden: Tensor = self.hidden(inputs)
        return hidden
