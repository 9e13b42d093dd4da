"""A residual generator, and a critic of bounded slope (Miyato et al. 2018, Spectral Normalization for GANs).

Neither convolves at full resolution, where layers of few channels cost a CPU the most: the generator's last layer
outputs four pixels at once (Shi et al. 2016, sub-pixel convolution), and the critic's first reads four at once.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vesalius.config.errors import InputError
from vesalius.models.nets.gan.base import Conditioning, Critic, Generator, ladder

_CLASS_DIM = 32


class ResidualGenerator(Generator):
    """A dense layer to a small feature map, then residual blocks that each double it, up to half the resolution.

    Args:
        out_channels: of the image.
        image_size: height and width, which must be equal and one of `base.SIDES`.
        classes: number of classes; 0: unconditional.
        latent_dim: length of a noise vector.
        width: channels at half the resolution; twice as many before each doubling, up to `most`.
        most: largest number of channels.
        shared_blocks: number of first blocks that do not depend on the class, so that only noise determines the coarse
            layout. For classes that differ in details: all classes then share what is learned of anatomy, and none has
            an anatomy of its own. With 0 the first dense layer depends on the class too.

    Raises:
        InputError: for an unsupported image size, a noise vector or widths below 1, or if no block is left that depends
            on the class.
    """

    def __init__(
        self,
        out_channels: int,
        image_size: tuple[int, int],
        classes: int = 0,
        *,
        latent_dim: int = 128,
        width: int = 64,
        most: int = 256,
        shared_blocks: int = 0,
    ) -> None:
        super().__init__(latent_dim)
        self.side, widths = ladder("model.generator", image_size, width, most)
        widths.reverse()
        if not 0 <= shared_blocks < len(widths) - 1:
            raise InputError(
                f"model.generator.shared_blocks={shared_blocks}: for images of {image_size[0]} pixels, choose 0 to "
                f"{len(widths) - 2}."
            )
        self.shared_blocks = shared_blocks
        self.condition = Conditioning(classes, _CLASS_DIM)
        conditioned = latent_dim + self.condition.dim
        self.dense = nn.Linear(latent_dim if shared_blocks else conditioned, widths[0] * self.side**2)
        self.blocks = nn.ModuleList(
            _Up(before, after, latent_dim if number < shared_blocks else conditioned)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.last = nn.Sequential(nn.Conv2d(widths[-1], 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
        self.width = widths[0]

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,) to images (B, C, H, W) in -1..1."""
        conditioned = self.condition(noise, labels)
        x = self.dense(noise if self.shared_blocks else conditioned).view(-1, self.width, self.side, self.side)
        for number, block in enumerate(self.blocks):
            x = block(x, noise if number < self.shared_blocks else conditioned)
        image: Tensor = torch.tanh(self.last(F.relu(self.norm(x))).float())
        return image


class ResidualCritic(Critic):
    """Residual blocks that each halve the image, every weight divided by its largest singular value.

    Conditional by projection: the inner product of an image's features and its class's embedding is added to the score
    (Miyato and Koyama 2018, cGANs with Projection Discriminator).

    Args:
        in_channels: of the image.
        image_size: height and width.
        classes: number of classes; 0: unconditional.
        width: channels at half the resolution; twice as many after each halving, up to `most`.
        most: largest number of channels.
        norm: `spectral` bounds the slope; with `none`, a penalty should (`model.loss.r1`).

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
        most: int = 256,
        norm: Literal["spectral", "none"] = "spectral",
    ) -> None:
        super().__init__()
        normalize: Callable[[nn.Module], nn.Module] = spectral_norm if norm == "spectral" else nn.Identity()
        _, widths = ladder("model.critic", image_size, width, most)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), normalize(nn.Conv2d(4 * in_channels, widths[0], 3, padding=1)))
        self.blocks = nn.ModuleList(_Down(before, after, normalize) for before, after in pairwise(widths))
        self.head = normalize(nn.Linear(widths[-1], 1))
        self.embedding = normalize(nn.Embedding(classes, widths[-1])) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score images (B, C, H, W) in -1..1 as images of classes (B,): (B,)."""
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        features = F.relu(x).sum(dim=(2, 3)).float()
        output: Tensor = self.head(features).squeeze(1).float()
        if self.embedding is not None:
            output = output + (self.embedding(labels) * features).sum(dim=1)
        return output


class _Up(nn.Module):
    """Two convolutions and a shortcut, to twice the resolution; noise and class scale and shift the normalised maps."""

    def __init__(self, before: int, after: int, condition_dim: int) -> None:
        super().__init__()
        self.first_norm = _ConditionalNorm(before, condition_dim)
        self.second_norm = _ConditionalNorm(after, condition_dim)
        # A strided convolution: upsampling first would take more than twice as many multiplications.
        self.first = nn.ConvTranspose2d(before, after, 4, 2, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out = self.first(F.relu(self.first_norm(x, condition)))
        out = self.second(F.relu(self.second_norm(out, condition)))
        shortcut = F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")
        total: Tensor = out + shortcut
        return total


class _ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift are linear in noise and class embedding (de Vries et al. 2017)."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = nn.Linear(condition_dim, channels), nn.Linear(condition_dim, channels)
        for layer in (self.scale, self.shift):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale(condition)[:, :, None, None], self.shift(condition)[:, :, None, None]
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class _Down(nn.Module):
    """Two convolutions and a shortcut, to half the resolution."""

    def __init__(self, before: int, after: int, normalize: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.first = normalize(nn.Conv2d(before, before, 3, padding=1))
        self.second = normalize(nn.Conv2d(before, after, 4, 2, padding=1))
        self.shortcut = normalize(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(F.relu(x))))
        halved: Tensor = out + self.shortcut(F.avg_pool2d(x, 2))
        return halved
