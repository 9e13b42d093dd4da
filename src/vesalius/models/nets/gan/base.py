"""What the nets of every GAN share: the shapes of images they can make, classes that they are told of."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError

#: Sides that the convolutional nets can make, in pixels.
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
        """Map noise (B, latent_dim) and classes (B,), None where they are not told, to images (B, C, H, W) in -1..1."""


class Critic(nn.Module):
    """Images to how real they look.

    Attributes:
        normalizes_batches: whether an image's output depends on the others of its batch.
    """

    normalizes_batches: bool = False

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """How real images (B, C, H, W) in -1..1 look that are said to be of classes (B,), None where they are not told.

        Returns:
            (B,), float32, before any sigmoid.
        """


def ladder(net: str, image_size: tuple[int, int], width: int, most: int) -> tuple[int, list[int]]:
    """The side of the smallest grid, and the channels after each halving of the image down to it.

    Args:
        net: the config key to name in a refusal.
        image_size: height and width.
        width: channels at half the resolution; twice as many after each further halving.
        most: channels at most.

    Raises:
        InputError: for images that are not square, or of a side that is not in `SIDES`; for channels below 1.
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
    """Tells what a class is by a learned vector beside whatever else a layer is given.

    Args:
        classes: 0 adds nothing.
        dim: length of the vector.

    Attributes:
        dim: by how much the input grows.
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, dim) if classes else None
        self.dim = dim if classes else 0

    def forward(self, given: Tensor, labels: Tensor | None) -> Tensor:
        """Map (B, D) and classes (B,) to (B, D + dim)."""
        if self.embedding is None:
            return given
        return torch.cat([given, self.embedding(labels).to(given.dtype)], dim=1)
