"""A fully connected generator and critic, as introductory articles build them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.gan.base import Conditioning, Critic, Generator


class ArticleGenerator(Generator):
    """Dense layers from noise to pixels.

    Args:
        out_channels: of the image.
        image_size: height and width, any.
        classes: number of classes, each a learned vector that is appended to the noise; 0: unconditional.
        latent_dim: length of a noise vector.
        widths: of the hidden layers.

    Raises:
        InputError: for a noise vector or widths below 1.
    """

    def __init__(
        self,
        out_channels: int,
        image_size: tuple[int, int],
        classes: int = 0,
        *,
        latent_dim: int = 100,
        widths: Sequence[int] = (256, 512, 1024),
    ) -> None:
        super().__init__(latent_dim)
        self.shape = (out_channels, *image_size)
        self.condition = Conditioning(classes, classes)
        self.layers = _dense("model.generator", latent_dim + self.condition.dim, widths, math.prod(self.shape))

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,) to images (B, C, H, W) in -1..1."""
        pixels: Tensor = torch.tanh(self.layers(self.condition(noise, labels)).float())
        return pixels.view(-1, *self.shape)


class ArticleCritic(Critic):
    """Dense layers from pixels to one score.

    Args:
        in_channels: of the image.
        image_size: height and width, any.
        classes: number of classes, each a learned vector that is appended to the pixels; 0: unconditional.
        widths: of the hidden layers.

    Raises:
        InputError: for widths below 1.
    """

    def __init__(
        self, in_channels: int, image_size: tuple[int, int], classes: int = 0, *, widths: Sequence[int] = (512, 256)
    ) -> None:
        super().__init__()
        self.condition = Conditioning(classes, classes)
        pixels = in_channels * math.prod(image_size)
        self.layers = _dense("model.critic", pixels + self.condition.dim, widths, 1)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score images (B, C, H, W) in -1..1 as images of classes (B,): (B,)."""
        output: Tensor = self.layers(self.condition(images.flatten(1), labels)).squeeze(1).float()
        return output


def _dense(name: str, inputs: int, widths: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with leaky rectifiers of slope .2 between them."""
    if not widths or min(widths) < 1:
        raise InputError(f"{name}.widths={list(widths)}: must be above 0.")
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *widths[:-1]], widths, strict=True):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
