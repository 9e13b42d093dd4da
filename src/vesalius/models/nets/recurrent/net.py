"""A network for image series: an image network for each frame, recurrent layers over time, pooling, a linear head."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.base import EncoderBased
from vesalius.models.nets.recurrent.frames import encode_frames
from vesalius.models.nets.recurrent.layers import Cell, RecurrentLayers
from vesalius.models.nets.recurrent.pooling import PoolingKind, TemporalPooling

TimeInput = Literal["delta", "elapsed"]


class RecurrentNet(EncoderBased):
    """CNN features of every frame, read in order by an LSTM, GRU or plain RNN (Donahue et al. 2015, LRCN).

    Series of a batch are padded at the end, and masks keep the padding from changing any output. In training the
    encoder receives real frames only, so that BatchNorm's statistics are theirs.

    Args:
        in_channels: channels of a frame.
        num_outputs: K.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series; with `time_step`, the scale of the time inputs.
        encoder: called as `encoder(in_channels=..., num_outputs=input_size)`, as any net of the `cnn` family is; its
            head becomes the projection to `input_size`. Or a module from images to such features.
        input_size: length of a frame's feature vector.
        normalize: apply LayerNorm to each feature vector before the recurrence.
        time_inputs: further inputs of each step: `delta`, log(1 + seconds since the previous frame / `time_step`);
            `elapsed`, seconds since the first frame as a share of the longest series.
        cell: `lstm`, `gru` or `rnn`.
        hidden_size: length of a state, of each direction.
        layers: number of stacked recurrent layers.
        bidirectional: read every series backwards too. Such a net is not causal.
        dropout: probability between recurrent layers and before the last layer.
        pooling: how states become one vector per series: `last`, `mean` or `attention` (see `TemporalPooling`).
        chunk_frames: most frames that are encoded at once; a batch with more is encoded in chunks whose activations
            are computed again in the backward pass (see `encode_frames`). None: always all at once.

    Attributes:
        causal: whether a state depends on no later frame.

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
        super().__init__()
        counts = {"input_size": input_size, "hidden_size": hidden_size, "layers": layers, "chunk_frames": chunk_frames}
        _check(counts, time_inputs, dropout)
        self.encoder = (
            encoder if isinstance(encoder, nn.Module) else encoder(in_channels=in_channels, num_outputs=input_size)
        )
        self.normalize: nn.Module = nn.LayerNorm(input_size) if normalize else nn.Identity()
        self.time_inputs = tuple(time_inputs)
        self.time_step = time_step
        self.duration = time_step * max(sequence_length - 1, 1)
        self.recurrence = RecurrentLayers(
            cell,
            input_size + len(self.time_inputs),
            hidden_size,
            layers=layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        features = self.recurrence.out_features
        self.pooling = TemporalPooling(pooling, features, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, num_outputs)
        self.causal = not bidirectional
        self.chunk_frames = chunk_frames

    def forward(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Map image series to outputs.

        Args:
            image: (B, T, C, H, W), prepared.
            mask: (B, T), True at real frames, of which a series has at least one; padding is at its end.
            time: (B, T) seconds since the first frame.

        Returns:
            (B, K).
        """
        return self._outputs(self.recurrence(self._inputs(image, mask, time), mask), mask)

    def states(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """States (B, T, F) of the last recurrent layer after each frame, arguments as in `forward`."""
        states: Tensor = self.recurrence(self._inputs(image, mask, time), mask)
        return states

    def forward_steps(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Outputs (B, T, K) after each frame, as if the series had ended there; arguments as in `forward`.

        At padding the last output is repeated. Each frame is encoded once; the recurrence of a bidirectional net runs
        again for every end.
        """
        inputs = self._inputs(image, mask, time)
        states = self.recurrence(inputs, mask) if self.causal else None
        steps = []
        for end in range(1, mask.shape[1] + 1):
            until = mask & (torch.arange(mask.shape[1], device=mask.device) < end)
            steps.append(self._outputs(self.recurrence(inputs, until) if states is None else states, until))
        return torch.stack(steps, dim=1)

    def _inputs(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Inputs of the recurrence, (B, T, F)."""
        features = self.normalize(self._encode(image, mask).reshape(*image.shape[:2], -1)).float()
        times = {"delta": self._delta(time), "elapsed": time / self.duration}
        columns = [times[name].unsqueeze(2) for name in self.time_inputs]
        return torch.cat([features, *columns], dim=2)

    def _encode(self, image: Tensor, mask: Tensor) -> Tensor:
        """Features (B * T, F), zero at padding; an exported program encodes padding too, which changes no output."""
        frames = image.flatten(0, 1)
        if torch.compiler.is_exporting():
            return encode_frames(self.encoder, frames, None)
        real = mask.flatten().nonzero().squeeze(1)
        if len(real) == len(frames):
            return encode_frames(self.encoder, frames, self.chunk_frames)
        features = encode_frames(self.encoder, frames[real], self.chunk_frames)
        return features.new_zeros(len(frames), features.shape[1]).index_copy(0, real, features)

    def _delta(self, time: Tensor) -> Tensor:
        before = (torch.arange(time.shape[1], device=time.device) - 1).clamp_min(0)
        seconds = time - time.index_select(1, before)
        return torch.log1p(seconds.clamp_min(0) / self.time_step)

    def _outputs(self, states: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.dropout(self.pooling(states, mask)))
        return outputs


def _check(counts: dict[str, int | None], time_inputs: Sequence[str], dropout: float) -> None:
    problems = [
        f"model.net.{name}={count}: must be 1 or more."
        for name, count in counts.items()
        if count is not None and count < 1
    ]
    if len(set(time_inputs)) < len(time_inputs):
        problems.append(f"model.net.time_inputs={list(time_inputs)}: name each input once.")
    if not 0 <= dropout < 1:
        problems.append(f"model.net.dropout={dropout}: must be at least 0 and below 1.")
    if problems:
        raise InputError(problems)
