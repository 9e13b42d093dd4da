"""A residual generator, and a critic of bounded slope (Miyato et al. 2018, Spectral Normalization for GANs).

Neither convolves at full resolution, where thin layers cost a CPU the most: the generator's last layer draws four
pixels at once (Shi et al. 2016, sub-pixel convolution), and the critic's first takes four in.
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
    """A dense layer to a small grid, then residual blocks that each double it, up to half the resolution.

    Args:
        out_channels: of the image.
        image_size: height and width, which must be equal and one of `generative.SIDES`.
        classes: how many are told; 0 for none.
        latent_dim: length of a noise vector.
        width: channels at half the resolution; twice as many before each doubling, up to `most`.
        most: channels at most.
        shared_blocks: how many doublings come before classes are told; what they lay out, noise alone decides. With 0
            the first dense layer is told already. Where classes differ in details, all learn the rest together, and
            none has an anatomy of its own.

    Raises:
        InputError: for images that it cannot make, a noise vector or widths below 1, or more shared blocks than would
            leave one.
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
                f"model.generator.shared_blocks={shared_blocks}: of images of {image_size[0]} pixels, 0 to "
                f"{len(widths) - 2} can be shared by all classes."
            )
        self.shared_blocks = shared_blocks
        self.condition = Conditioning(classes, _CLASS_DIM)
        told = latent_dim + self.condition.dim
        self.dense = nn.Linear(latent_dim if shared_blocks else told, widths[0] * self.side**2)
        self.blocks = nn.ModuleList(
            _Up(before, after, latent_dim if number < shared_blocks else told)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.last = nn.Sequential(nn.Conv2d(widths[-1], 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
        self.width = widths[0]

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Map noise (B, latent_dim) and classes (B,) to images (B, C, H, W) in -1..1."""
        told = self.condition(noise, labels)
        x = self.dense(noise if self.shared_blocks else told).view(-1, self.width, self.side, self.side)
        for number, block in enumerate(self.blocks):
            x = block(x, noise if number < self.shared_blocks else told)
        image: Tensor = torch.tanh(self.last(F.relu(self.norm(x))).float())
        return image


class ResidualCritic(Critic):
    """Residual blocks that each halve the image, every weight divided by its largest singular value.

    Classes are told by projection: the output grows with the product of an image's features and its class's embedding
    (Miyato and Koyama 2018, cGANs with Projection Discriminator).

    Args:
        in_channels: of the image.
        image_size: height and width.
        classes: how many are told; 0 for none.
        width: channels at half the resolution; twice as many after each halving, up to `most`.
        most: channels at most.
        norm: `spectral` bounds the slope; `none` leaves that to a penalty (`model.loss.r1`).

    Raises:
        InputError: as the generator, and for a norm that does not exist.
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
        if norm not in ("spectral", "none"):
            raise InputError(f"model.critic.norm={norm}: expected spectral or none.")
        normalize: Callable[[nn.Module], nn.Module] = spectral_norm if norm == "spectral" else nn.Identity()
        _, widths = ladder("model.critic", image_size, width, most)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), normalize(nn.Conv2d(4 * in_channels, widths[0], 3, padding=1)))
        self.blocks = nn.ModuleList(_Down(before, after, normalize) for before, after in pairwise(widths))
        self.head = normalize(nn.Linear(widths[-1], 1))
        self.embedding = normalize(nn.Embedding(classes, widths[-1])) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """How real images (B, C, H, W) in -1..1 look that are said to be of classes (B,): (B,)."""
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        features = F.relu(x).sum(dim=(2, 3)).float()
        output: Tensor = self.head(features).squeeze(1).float()
        if self.embedding is not None:
            output = output + (self.embedding(labels) * features).sum(dim=1)
        return output


class _Up(nn.Module):
    """Two convolutions beside a shortcut, at twice the resolution; normalised as noise and class say."""

    def __init__(self, before: int, after: int, given: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = _GivenNorm(before, given), _GivenNorm(after, given)
        # Twice the resolution in one convolution; upsampling first would take more than twice as many products.
        self.first = nn.ConvTranspose2d(before, after, 4, 2, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        out = self.first(F.relu(self.first_norm(x, given)))
        out = self.second(F.relu(self.second_norm(out, given)))
        beside = F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")
        total: Tensor = out + beside
        return total


class _GivenNorm(nn.Module):
    """Batch normalisation whose scale and shift follow noise and class (de Vries et al. 2017)."""

    def __init__(self, channels: int, given: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = nn.Linear(given, channels), nn.Linear(given, channels)
        for layer in (self.scale, self.shift):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        scale, shift = self.scale(given)[:, :, None, None], self.shift(given)[:, :, None, None]
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class _Down(nn.Module):
    """Two convolutions beside a shortcut, to half the resolution."""

    def __init__(self, before: int, after: int, normalize: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.first = normalize(nn.Conv2d(before, before, 3, padding=1))
        self.second = normalize(nn.Conv2d(before, after, 4, 2, padding=1))
        self.shortcut = normalize(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(F.relu(x))))
        halved: Tensor = out + self.shortcut(F.avg_pool2d(x, 2))
        return halved
