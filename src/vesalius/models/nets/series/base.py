"""What all networks for image series share: an image network for each frame, time inputs, pooling, a linear head."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.base import EncoderBased, Net
from vesalius.models.nets.series.frames import encode_frames
from vesalius.models.nets.series.pooling import TemporalPooling

TimeInput = Literal["delta", "elapsed"]


class SeriesNet(EncoderBased):
    """Image series to outputs: frames are encoded one by one, what a subclass does over time is pooled.

    Series of a batch are padded at the end, and masks keep the padding from changing any output. In training the
    encoder receives real frames only, so that BatchNorm's statistics are theirs.

    A subclass hands on the options that are not its own, calls `add_head` at the end of its `__init__`, and defines
    `over_time`.

    Args:
        in_channels: channels of a frame.
        time_step: usual seconds between two frames.
        sequence_length: frames of the longest series; with `time_step`, the scale of the time inputs.
        encoder: called as `encoder(in_channels=..., num_outputs=input_size)`, as any net of the `cnn` family is; its
            head becomes the projection to `input_size`. Or a module from images to such features.
        input_size: length of a frame's feature vector.
        normalize: apply LayerNorm to each feature vector.
        time_inputs: further inputs of each step: `delta`, log(1 + seconds since the previous frame / `time_step`);
            `elapsed`, seconds since the first frame as a share of the longest series.
        hidden_size: length of what a step's input becomes over time: of a state, of each direction.
        dropout: probability before the last layer, and where a subclass has further places for it.
        chunk_frames: most frames that are encoded at once; a batch with more is encoded in chunks whose activations
            are computed again in the backward pass (see `encode_frames`). None: always all at once.

    Attributes:
        causal: whether a state depends on no later frame.
        width: length of a step's input: features and time inputs.

    Raises:
        InputError: for invalid options, all of them at once.
    """

    causal: bool
    pooling: TemporalPooling

    def __init__(
        self,
        in_channels: int,
        time_step: float,
        sequence_length: int,
        *,
        encoder: Callable[..., nn.Module],
        input_size: int = 128,
        normalize: bool = True,
        time_inputs: Sequence[TimeInput] = (),
        hidden_size: int = 128,
        dropout: float = 0.0,
        chunk_frames: int | None = 512,
    ) -> None:
        super().__init__()
        counts = {"input_size": input_size, "hidden_size": hidden_size, "chunk_frames": chunk_frames}
        _check(counts, time_inputs, dropout)
        self.encoder = (
            encoder if isinstance(encoder, nn.Module) else encoder(in_channels=in_channels, num_outputs=input_size)
        )
        self.normalize: nn.Module = nn.LayerNorm(input_size) if normalize else nn.Identity()
        self.time_inputs = tuple(time_inputs)
        self.time_step = time_step
        self.duration = time_step * max(sequence_length - 1, 1)
        self.width = input_size + len(self.time_inputs)
        self.hidden_size = hidden_size
        self.dropout = nn.Dropout(dropout)
        self.chunk_frames = chunk_frames

    def add_head(self, pooling: TemporalPooling, features: int, num_outputs: int) -> None:
        """Add the pooling of states, each of length `features`, and the last layer."""
        self.pooling = pooling
        self.head = nn.Linear(features, num_outputs)

    @abstractmethod
    def over_time(self, inputs: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
        """Map inputs of each step (B, T, width) to states (B, T, F); those at real frames must not depend on padding.

        Args:
            inputs: features and time inputs.
            mask: (B, T), True at real frames.
            steps: (B, T) time since the first frame, in usual steps: 0, 1, 2, ... of a regular series.
        """

    def forward(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Map image series to outputs.

        Args:
            image: (B, T, C, H, W), prepared.
            mask: (B, T), True at real frames, of which a series has at least one; padding is at its end.
            time: (B, T) seconds since the first frame.

        Returns:
            (B, K).
        """
        return self.read(self.encode(image, mask), mask, time)

    def encode(self, image: Tensor, mask: Tensor) -> Tensor:
        """Features (B, T, input_size) of frames (B, T, C, H, W).

        They are zero at padding; an exported program encodes padding too, which changes no output.
        """
        frames, shape = image.flatten(0, 1), image.shape[:2]
        if torch.compiler.is_exporting():
            return encode_frames(self.encoder, frames, None).reshape(*shape, -1)
        if mask.all():
            return encode_frames(self.encoder, frames, self.chunk_frames).reshape(*shape, -1)
        return _at_frames(encode_frames(self.encoder, frames[mask.flatten()], self.chunk_frames), mask)

    def project(self, features: Tensor, mask: Tensor) -> Tensor:
        """What `encode` returns, from the feature vectors (N, F) of the N real frames before the encoder's head."""
        return _at_frames(cast(Net, self.encoder).head(features), mask)

    def read(self, features: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Outputs (B, K) from what `encode` returns."""
        return self._outputs(self.states_of(features, mask, time), mask)

    def states(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """States (B, T, F) after each frame, arguments as in `forward`."""
        return self.states_of(self.encode(image, mask), mask, time)

    def states_of(self, features: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """States (B, T, F) after each frame from what `encode` returns."""
        return self.over_time(self._inputs(features, time), mask, time / self.time_step)

    def forward_steps(self, image: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """Outputs (B, T, K) after each frame, as if the series had ended there; arguments as in `forward`.

        At padding the last output is repeated. Each frame is encoded once; what a net does over time runs again for
        every end, if it is not causal.
        """
        inputs = self._inputs(self.encode(image, mask), time)
        passed = time / self.time_step
        states = self.over_time(inputs, mask, passed) if self.causal else None
        steps = []
        for end in range(1, mask.shape[1] + 1):
            until = mask & (torch.arange(mask.shape[1], device=mask.device) < end)
            steps.append(self._outputs(self.over_time(inputs, until, passed) if states is None else states, until))
        return torch.stack(steps, dim=1)

    def _inputs(self, features: Tensor, time: Tensor) -> Tensor:
        """Inputs of each step, (B, T, width)."""
        times = {"delta": self._delta(time), "elapsed": time / self.duration}
        columns = [times[name].unsqueeze(2) for name in self.time_inputs]
        return torch.cat([self.normalize(features).float(), *columns], dim=2)

    def _delta(self, time: Tensor) -> Tensor:
        before = (torch.arange(time.shape[1], device=time.device) - 1).clamp_min(0)
        seconds = time - time.index_select(1, before)
        return torch.log1p(seconds.clamp_min(0) / self.time_step)

    def _outputs(self, states: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.dropout(self.pooling(states, mask)))
        return outputs


def _at_frames(features: Tensor, mask: Tensor) -> Tensor:
    """(B, T, F), zero at padding, from vectors (N, F) of the N real frames of `mask` (B, T)."""
    real = mask.flatten().nonzero().squeeze(1)
    placed = features.new_zeros(mask.numel(), features.shape[1]).index_copy(0, real, features)
    return placed.reshape(*mask.shape, -1)


def check_counts(**counts: int) -> None:
    """Refuse options below 1.

    Raises:
        InputError: with the keys.
    """
    if problems := _too_few(**counts):
        raise InputError(problems)


def _too_few(**counts: int | None) -> list[str]:
    return [
        f"model.net.{key}={count}: must be 1 or more."
        for key, count in counts.items()
        if count is not None and count < 1
    ]


def _check(counts: dict[str, int | None], time_inputs: Sequence[str], dropout: float) -> None:
    problems = _too_few(**counts)
    if len(set(time_inputs)) < len(time_inputs):
        problems.append(f"model.net.time_inputs={list(time_inputs)}: name each input once.")
    if not 0 <= dropout < 1:
        problems.append(f"model.net.dropout={dropout}: must be at least 0 and below 1.")
    if problems:
        raise InputError(problems)
