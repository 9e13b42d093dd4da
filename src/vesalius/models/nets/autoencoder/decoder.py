"""Decoders: from a code to an image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.residual import ResidualBlock


class ResidualDecoder(nn.Module):
    """A dense layer to a small feature map, then residual blocks that each double its resolution.

    The last doubling rearranges channels into pixels (Shi et al. 2016, Real-Time Single Image and Video
    Super-Resolution, "sub-pixel convolution"), so that no convolution runs at full resolution.

    Args:
        latent_dim: length of a code.
        out_channels: of the image.
        image_size: its height and width; need not be multiples of 2**len(widths), as a larger image is cropped.
        widths: channels from the feature map on; each width doubles the resolution.
        blocks: residual blocks per width.

    Raises:
        InputError: for widths or blocks below 1.
    """

    def __init__(
        self,
        latent_dim: int,
        out_channels: int,
        image_size: tuple[int, int],
        *,
        widths: Sequence[int] = (64, 32),
        blocks: int = 1,
    ) -> None:
        super().__init__()
        if blocks < 1 or not widths or min(widths) < 1:
            raise InputError(f"model.net.decoder: widths={list(widths)}, blocks={blocks}: must be above 0.")
        self.image_size = image_size
        scale = 2 ** len(widths)
        self.grid = (widths[0], -(-image_size[0] // scale), -(-image_size[1] // scale))
        self.dense = nn.Linear(latent_dim, self.grid[0] * self.grid[1] * self.grid[2])
        layers: list[nn.Module] = []
        width = widths[0]
        for position, narrower in enumerate(widths):
            if position:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers += [ResidualBlock(width if block == 0 else narrower, narrower, stride=1) for block in range(blocks)]
            width = narrower
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, 4 * out_channels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, out_channels, H, W) of any values."""
        grid = self.dense(latent).reshape(-1, *self.grid)
        image: Tensor = self.shuffle(self.last(self.layers(grid)))
        return image[:, :, : self.image_size[0], : self.image_size[1]]


class RefiningDecoder(nn.Module):
    """A linear map from the code to an image, corrected by convolutions.

    A linear decoder blurs what moves: it renders an edge that may be at two places as two half edges. Convolutions
    recognise that pattern at any position and sharpen it. They have few weights and learn from every pixel of every
    image, so that a few hundred images suffice: a dense decoder of the same code memorised its training images.

    Args:
        latent_dim: length of a code.
        out_channels: of the image.
        image_size: its height and width.
        width: channels at half the resolution; twice as many at a quarter.
        blocks: residual blocks at a quarter of the resolution.

    Raises:
        InputError: for a width or blocks below 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, latent_dim: int, out_channels: int, image_size: tuple[int, int], *, width: int = 32, blocks: int = 2
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise InputError(f"model.net.decoder: width={width}, blocks={blocks}: must be above 0.")
        self.image = (out_channels, *image_size)
        self.linear = nn.Linear(latent_dim, out_channels * image_size[0] * image_size[1])
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.stem = nn.Conv2d(4 * out_channels, width, 3, padding=1)
        self.fine = ResidualBlock(width, width, stride=1)
        inner = [ResidualBlock(2 * width, 2 * width, stride=1) for _ in range(blocks - 1)]
        self.coarse = nn.Sequential(ResidualBlock(width, 2 * width, stride=2), *inner)
        self.up = nn.Conv2d(2 * width, width, 1)
        self.merge = ResidualBlock(width, width, stride=1)
        self.last = nn.Conv2d(width, 4 * out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # the correction starts at zero
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, out_channels, H, W) of any values."""
        linear = self.linear(latent).reshape(-1, *self.image)
        height, width = self.image[1:]
        even = nn.functional.pad(linear, (0, width % 2, 0, height % 2), mode="replicate")
        fine = self.fine(torch.relu(self.stem(self.unshuffle(even))))
        coarse = self.up(self.coarse(fine))
        merged = fine + nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        correction: Tensor = self.shuffle(self.last(self.merge(merged)))
        image: Tensor = linear + correction[:, :, :height, :width]
        return image

    @torch.no_grad()
    def start_at(self, components: PrincipalComponents, scales: Tensor) -> None:
        """Start the linear map at principal components; further dimensions of the code have no effect at first.

        Args:
            components: of training images on the scale where white is 1.
            scales: (K,) length along each component of a code of 1.
        """
        axes = torch.as_tensor(components.components, dtype=torch.float32)
        self.linear.weight.zero_()
        self.linear.weight[:, : len(axes)] = (axes * scales[:, None]).T
        self.linear.bias.copy_(torch.as_tensor(components.mean, dtype=torch.float32))
