"""DCGAN (Radford et al. 2016, Unsupervised Representation Learning with Deep Convolutional GANs)."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vesalius.models.nets.gan.base import Conditioning, Critic, Generator, ladder

_CLASS_DIM = 32


class DCGANGenerator(Generator):
    """A dense layer to a small feature map, then transposed convolutions that each double its resolution.

    Args:
        out_channels: of the image.
        image_size: height and width, which must be equal and one of `base.SIDES`.
        classes: number of classes; 0: unconditional.
        latent_dim: length of a noise vector.
        width: channels at half the resolution; twice as many before each doubling, up to `most`.
        most: largest number of channels.

    Raises:
        InputError: for an unsupported image size, or a noise vector or widths below 1.
    """

    def __init__(
        self,
        out_channels: int,
        image_size: tuple[int, int],
        classes: int = 0,
        *,
        latent_dim: int = 100,
        width: int = 64,
        most: int = 512,
    ) -> None:
        super().__init__(latent_dim)
        self.side, widths = ladder("model.generator", image_size, width, most)
        widths.reverse()
        self.width = widths[0]
        self.condition = Conditioning(classes, _CLASS_DIM)
        self.dense = nn.Linear(latent_dim + self.condition.dim, widths[0] * self.side**2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.ConvTranspose2d(widths[-1], out_channels, 4, 2, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(_init_weights)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,) to images (B, C, H, W) in -1..1."""
        grid = self.dense(self.condition(noise, labels)).view(-1, self.width, self.side, self.side)
        image: Tensor = torch.tanh(self.layers(grid).float())
        return image


class DCGANCritic(Critic):
    """Convolutions that each halve the image; a class is a further channel of the image.

    Args:
        in_channels: of the image.
        image_size: height and width.
        classes: number of classes; 0: unconditional.
        width: channels at half the resolution; twice as many after each halving, up to `most`.
        most: largest number of channels.
        norm: `batch`, as in the paper; `spectral`; or `none`.

    Raises:
        InputError: for an unsupported image size, or widths below 1.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        classes: int = 0,
        *,
        width: int = 64,
        most: int = 512,
        norm: Literal["batch", "spectral", "none"] = "batch",
    ) -> None:
        super().__init__()
        self.normalizes_batches = norm == "batch"
        self.image_size = image_size
        side, widths = ladder("model.critic", image_size, width, most)
        self.embedding = nn.Embedding(classes, image_size[0] * image_size[1]) if classes else None
        layers: list[nn.Module] = []
        before = in_channels + (1 if classes else 0)
        for number, after in enumerate(widths):
            normalized = norm == "batch" and number > 0  # the paper does not normalise the first layer
            layers.append(nn.Conv2d(before, after, 4, 2, padding=1, bias=not normalized))
            layers += [*([nn.BatchNorm2d(after)] if normalized else []), nn.LeakyReLU(0.2, inplace=True)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(before * side**2, 1)
        self.apply(_init_weights)
        if norm == "spectral":
            for layer in (*self.layers, self.head):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score images (B, C, H, W) in -1..1 as images of classes (B,): (B,)."""
        if self.embedding is not None:
            plane = self.embedding(labels).view(-1, 1, *self.image_size)
            images = torch.cat([images, plane.to(images.dtype)], dim=1)
        output: Tensor = self.head(self.layers(images)).squeeze(1).float()
        return output


def _init_weights(module: nn.Module) -> None:
    """The paper's initial weights: normal, with a standard deviation of .02."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
