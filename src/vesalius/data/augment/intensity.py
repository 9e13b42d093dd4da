"""Operations that change values and move nothing: brightness, contrast, gamma, noise, erased rectangles.

Strengths are shares of the value range, so that one config serves 8-bit and 16-bit images.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.data.augment.operation import Operation, log_symmetric, symmetric


class Pixelwise(Operation):
    """An operation on the values of a batch."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor, value_max: float, normal: Callable[[int], Tensor]) -> Tensor:
        """Change a batch.

        Args:
            images: (B, C, H, W) float32 in 0..value_max; may be changed in place.
            draws: (B, self.draws) uniform numbers in [0, 1).
            value_max: the top of the value range.
            normal: gives (B, count) standard normal numbers.

        Returns:
            (B, C, H, W) float32; values beyond the range are cut off by the caller.
        """


class Intensity(Pixelwise):
    """Brightness, contrast and gamma, as another scanner or another window would show the same tissue.

    Args:
        brightness: added, uniform in [-brightness, brightness] of the value range.
        contrast: factor about the image's mean, uniform in [1 - contrast, 1 + contrast].
        gamma: exponent on the scale 0..1, log-uniform in [1 / (1 + gamma), 1 + gamma]; comes first.
    """

    draws: ClassVar[int] = 3

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0) -> None:
        self._check({"brightness": (brightness, 0, 1), "contrast": (contrast, 0, 1), "gamma": (gamma, 0, 10)})
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma

    def apply(self, images: Tensor, draws: Tensor, value_max: float, normal: Callable[[int], Tensor]) -> Tensor:
        """Gamma, then contrast and brightness as one factor and one offset per sample."""
        brightness, contrast, exponent = draws[:, :, None, None, None].unbind(1)
        if self.gamma:
            images = images.mul_(1 / value_max).clamp_(0, 1)
            images = images.pow_(log_symmetric(exponent, 1 + self.gamma)).mul_(value_max)
        offset = symmetric(brightness, self.brightness * value_max)
        if self.contrast:
            factor = symmetric(contrast, self.contrast) + 1
            # Row by row: a sum over a whole image would be shared among threads otherwise in a batch of one.
            mean = images.mean(-1, keepdim=True).mean((1, 2), keepdim=True)
            images = images.mul_(factor)
            offset = offset + mean * (1 - factor)
        return images.add_(offset)


class Noise(Pixelwise):
    """Gaussian noise, independent in every pixel; its strength differs between samples as between exposures.

    Args:
        std: a sample's standard deviation is uniform in [0, std] of the value range.
    """

    draws: ClassVar[int] = 1

    def __init__(self, std: float) -> None:
        self._check({"std": (std, 0, 1)})
        self.std = std

    def apply(self, images: Tensor, draws: Tensor, value_max: float, normal: Callable[[int], Tensor]) -> Tensor:
        """Add the noise; nothing is drawn for a strength of zero."""
        if self.std == 0:
            return images
        noise = normal(images[0].numel()).view_as(images)
        return images.addcmul_(noise, draws[:, :, None, None] * (self.std * value_max))


class Erasing(Pixelwise):
    """Blank a random rectangle, so that no single spot decides (Zhong et al., "Random erasing", arXiv:1708.04896).

    Args:
        probability: that a sample loses a rectangle.
        area: smallest and largest share of the image.
        fill: value of the rectangle, as a share of the value range.

    The rectangle's aspect ratio is log-uniform between 3:10 and 10:3, and it always lies inside the image: one that
    would be longer than the image is cut to the image's side.
    """

    draws: ClassVar[int] = 5
    aspect: ClassVar[float] = 10 / 3

    def __init__(self, probability: float = 0.5, area: Sequence[float] = (0.02, 0.2), fill: float = 0.0) -> None:
        self._check({"probability": (probability, 0, 1), "fill": (fill, 0, 1)})
        if not isinstance(area, list | tuple) or len(area) != 2:
            raise InputError(f"augment: Erasing(area={area!r}) must be two shares, such as [0.02, 0.2].")
        low, high = area
        self._check({"area[0]": (low, 0, 1), "area[1]": (high, 0, 1)})
        if low > high:
            raise InputError(f"augment: Erasing(area=[{low:g}, {high:g}]) must name the smaller share first.")
        self.probability, self.area, self.fill = probability, (low, high), fill

    def apply(self, images: Tensor, draws: Tensor, value_max: float, normal: Callable[[int], Tensor]) -> Tensor:
        """Fill one rectangle in each chosen sample, the same in all channels."""
        chance, share, ratio, place_y, place_x = draws[:, :, None, None, None].unbind(1)
        height, width = images.shape[-2:]
        low, high = self.area
        area = (low + (high - low) * share) * (height * width)
        aspect = log_symmetric(ratio, self.aspect)
        inside_y = _in_interval(height, (area * aspect).sqrt(), place_y)[:, None, :, None]
        inside_x = _in_interval(width, (area / aspect).sqrt(), place_x)[:, None, None, :]
        chosen = chance < self.probability
        return images.masked_fill_(inside_y & inside_x & chosen, self.fill * value_max)


def _in_interval(size: int, length: Tensor, place: Tensor) -> Tensor:
    """Which of `size` pixels lie in an interval of about `length` pixels, (B, size) bool."""
    length = length.round().clamp(max=size).view(-1, 1)
    start = (place.view(-1, 1) * (size - length + 1)).floor()
    pixels = torch.arange(size, device=length.device)
    return (pixels >= start) & (pixels < start + length)
