"""From stored pixels to the input of a net; part of the model, so that every export contains it."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts

# Of RGB images on the scale 0..1, over the training set of ImageNet-1k; torchvision's weights were trained with them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ITU-R BT.601 luma, as in Pillow's mode "L".
LUMA = (0.299, 0.587, 0.114)

Statistic = float | list[float] | Literal["data", "imagenet"]


class Preprocess(nn.Module):
    """Scale to 0..1, adapt the channels, resize and normalise a batch.

    Args:
        facts: of the data; the stored images' channels, size, largest value, mean and standard deviation.
        image_size: pixels of the side (or height and width) of the net's input; None keeps the stored size.
            Images are stretched to it.
        channels: of the net's input; None keeps the stored ones. One channel is repeated, three are reduced to
            one by their luma.
        mean: subtracted after scaling to 0..1: one number, one number per channel, `data` (the training images') or
            `imagenet`.
        std: divides the result; given as `mean` is.

    Attributes:
        out_channels: channels of the result.
        out_size: height and width of the result.
        mean: (out_channels,) subtracted, on the scale where white is 1.
        std: (out_channels,) divisor, on the same scale.

    Raises:
        InputError: if the channels cannot be adapted or a statistic is invalid; all reasons at once.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor
    std: Tensor
    luma: Tensor | None

    def __init__(
        self,
        facts: Facts,
        *,
        image_size: int | list[int] | None = None,
        channels: int | None = None,
        mean: Statistic = 0.5,
        std: Statistic = 0.5,
    ) -> None:
        super().__init__()
        self.out_channels = facts.channels if channels is None else channels
        problems: list[str] = []
        if not (facts.channels == self.out_channels or facts.channels == 1 or (facts.channels, channels) == (3, 1)):
            problems.append(
                f"model.preprocess.channels={channels}: images of {facts.channels} channels cannot become that; "
                f"use {facts.channels}, or null to keep them."
            )
        self.out_size = _as_size(facts.image_size if image_size is None else image_size, problems)
        centre = _per_channel("mean", mean, facts.mean, IMAGENET_MEAN, self.out_channels, problems)
        spread = _per_channel("std", std, facts.std, IMAGENET_STD, self.out_channels, problems)
        if std == "data":
            spread = [value if value > 0 else 1.0 for value in spread]  # a channel without contrast is not scaled
        if any(value <= 0 for value in spread):
            problems.append(f"model.preprocess.std={std}: must be above 0.")
        if problems:
            raise InputError(problems)
        # One multiplication and one addition do both steps. Not in the state dict: config and facts determine them.
        scale = torch.tensor([1 / (facts.value_max * value) for value in spread]).view(1, -1, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(centre, spread, strict=True)]).view(1, -1, 1, 1)
        luma = torch.tensor(LUMA).view(1, 3, 1, 1) if (facts.channels, self.out_channels) == (3, 1) else None
        self.register_buffer("mean", torch.tensor(centre), persistent=False)
        self.register_buffer("std", torch.tensor(spread), persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("luma", luma, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Turn images (B, C, H, W), integers or floats in 0..value_max, into float32 (B, out_channels, *out_size)."""
        image = image.to(torch.float32)
        if self.luma is not None:
            image = (image * self.luma).sum(dim=1, keepdim=True)
        if tuple(image.shape[-2:]) != self.out_size:
            image = nn.functional.interpolate(
                image, size=self.out_size, mode="bilinear", antialias=True, align_corners=False
            )
        return image * self.scale + self.shift  # broadcasting repeats a single channel

    def restore(self, prepared: Tensor) -> Tensor:
        """Undo the normalisation, but no other step: (B, out_channels, *out_size) on the scale where white is 1."""
        return prepared * self.std.view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)


def _as_size(size: int | Sequence[int], problems: list[str]) -> tuple[int, int]:
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or any(side < 1 for side in sides):
        problems.append(f"model.preprocess.image_size={size}: expected pixels above 0, one number or height and width.")
        return (1, 1)
    return (sides[0], sides[1])


def _per_channel(
    name: str,
    given: Statistic,
    data: tuple[float, ...],
    imagenet: tuple[float, float, float],
    channels: int,
    problems: list[str],
) -> list[float]:
    """One number per channel; for a channel that is computed from others, what results from theirs."""
    if isinstance(given, int | float):
        return [float(given)] * channels
    if isinstance(given, str):
        values = list({"data": data, "imagenet": imagenet}[given])
        if channels == 1 and len(values) == 3:
            # Exact for the mean; for the std only if the colours vary together, which they mostly do.
            values = [sum(weight * value for weight, value in zip(LUMA, values, strict=True))]
    else:
        values = [float(value) for value in given]
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        problems.append(
            f"model.preprocess.{name}={given}: has {len(values)} values for {channels} channels; "
            "give one number, or one for each channel."
        )
        return [1.0] * channels
    return values
