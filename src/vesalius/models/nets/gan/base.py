"""What the nets of every GAN share: their interface, the image sizes they support, and conditioning on classes."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError

#: Sides of the images that the convolutional nets support, in pixels.
SIDES = (16, 28, 32, 64, 128, 256)


class Generator(nn.Module):
    """Noise to images.

    Args:
        latent_dim: length of a noise vector.

    Raises:
        InputError: for a length below 1.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise InputError(f"model.generator.latent_dim={latent_dim}: must be 1 or more.")
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,), None if not conditional, to images (B, C, H, W) in -1..1."""


class Critic(nn.Module):
    """Images to scores of how real they look.

    Attributes:
        normalizes_batches: whether an image's score depends on the other images of its batch.
    """

    normalizes_batches: bool = False

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score images (B, C, H, W) in -1..1 as images of classes (B,), None if not conditional; higher is more real.

        Returns:
            (B,), float32, before any sigmoid.
        """


def ladder(net: str, image_size: tuple[int, int], width: int, most: int) -> tuple[int, list[int]]:
    """The side of the smallest feature map, and the channels after each halving of the image down to it.

    Args:
        net: its config key, for error messages.
        image_size: height and width.
        width: channels at half the resolution; twice as many after each further halving.
        most: largest number of channels.

    Raises:
        InputError: for images that are not square, or whose side is not in `SIDES`; for channels below 1.
    """
    height, pixels_wide = image_size
    if height != pixels_wide or height not in SIDES:
        raise InputError(
            f"{net}: it takes square images of {', '.join(map(str, SIDES))} pixels, and these have {height} x "
            f"{pixels_wide}: set data.image_size to one of them."
        )
    if width < 1 or most < width:
        raise InputError(f"{net}: width={width}, most={most}: width must be above 0, and `most` not below it.")
    side = 7 if height == 28 else 4
    return side, [min(width * 2**step, most) for step in range((height // side).bit_length() - 1)]


class Conditioning(nn.Module):
    """Appends a learned vector for each class to a layer's input.

    Args:
        classes: number of classes; 0 appends nothing.
        dim: length of the vector.

    Attributes:
        dim: by how much the input grows.
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, dim) if classes else None
        self.dim = dim if classes else 0

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Map (B, D) and classes (B,) to (B, D + dim)."""
        if self.embedding is None:
            return x
        return torch.cat([x, self.embedding(labels).to(x.dtype)], dim=1)
