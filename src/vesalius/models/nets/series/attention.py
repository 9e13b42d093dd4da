"""A network that weighs the frames of a series, without reading them in order."""

from typing import Any

from torch import Tensor, nn

from vesalius.models.nets.series.base import SeriesNet, check_counts
from vesalius.models.nets.series.pooling import TemporalPooling


class AttentionNet(SeriesNet):
    """CNN features of every frame, pooled by attention straight over frames (Ilse et al. 2018, attention-based MIL).

    Each frame goes through one hidden layer by itself. Without time inputs a series is a set: its order is not seen.

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series.
        heads: number of weightings, each of its own part of the hidden layer's output; divides `hidden_size`.
        options: of `SeriesNet`. `hidden_size` is the length of the hidden layer's output.

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
        heads: int = 4,
        **options: Any,
    ) -> None:
        check_counts(heads=heads)
        super().__init__(in_channels, time_step, sequence_length, **options)
        self.causal = True
        self.hidden = nn.Sequential(nn.Linear(self.width, self.hidden_size), nn.GELU())
        self.add_head(TemporalPooling("attention", self.hidden_size, heads=heads), self.hidden_size, num_outputs)

    def over_time(self, inputs: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
        """The hidden layer's output (B, T, F), of each frame by itself."""
        hidden: Tensor = self.hidden(inputs)
        return hidden
