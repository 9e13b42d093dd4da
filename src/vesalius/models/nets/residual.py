"""A small residual net for small images, quick enough for a laptop's CPU."""

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net
from vesalius.models.nets.heads import build_head


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Deep Residual Learning).

    Where the block halves the resolution, the shortcut averages before its 1x1 convolution instead of dropping three
    pixels of four (He et al. 2019, Bag of Tricks, ResNet-D). The last normalisation starts at zero, so that an
    untrained net consists of its shortcuts only (Goyal et al. 2017).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        last_norm = nn.BatchNorm2d(out_channels)
        nn.init.zeros_(last_norm.weight)
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            last_norm,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity(),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


class GridPool(nn.AdaptiveAvgPool2d):
    """Averages a feature map to a grid, as its parent does.

    A GPU adds up the parent's gradients in no fixed order and refuses it under `trainer.deterministic=true`; means of
    slices are in order there, and slower.

    Args:
        side: of the grid.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, side, side)."""
        if self.side > 1 and x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return self.in_order(x)
        return super().forward(x)

    def in_order(self, x: Tensor) -> Tensor:
        """The same averages, to rounding, one after another."""
        rows, columns = (
            [slice(at * size // self.side, -(-(at + 1) * size // self.side)) for at in range(self.side)]
            for size in x.shape[-2:]
        )
        averages = [x[..., row, column].mean((-2, -1)) for row in rows for column in columns]
        return torch.stack(averages, dim=-1).view(*x.shape[:-2], self.side, self.side)


class SmallResNet(Net):
    """A residual net for images of about 28 to 96 pixels; as it is by default, of 0.7 million parameters.

    On a CPU, layers of few channels at full resolution cost the most, as memory limits them and not arithmetic. So the
    stem has stride 2 and is as wide as the first stage; 64 pixels become 32, 16 and 8, and 28 become 14, 7 and 4.

    Args:
        in_channels: channels of the image.
        num_outputs: number of logits.
        widths: channels of each stage; each stage after the first halves the resolution.
        blocks: residual blocks of each stage.
        stem_stride: 2, or 1 to keep the full resolution through the first stage (about four times slower).
        dropout: probability before the last layer.
        pool_size: side of the grid that the last feature map is averaged to: 1 discards positions, as a classifier
            should; the encoder of an autoencoder needs them.

    Attributes:
        feature_dim: length of a feature vector.
        head: maps feature vectors to logits.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        widths: list[int] | tuple[int, ...] = (32, 64, 128),
        blocks: int = 2,
        stem_stride: int = 2,
        dropout: float = 0.0,
        pool_size: int = 1,
    ) -> None:
        super().__init__()
        if blocks < 1 or not widths or min(widths) < 1 or stem_stride not in (1, 2) or pool_size < 1:
            raise InputError(
                f"model.net: widths={list(widths)}, blocks={blocks}, stem_stride={stem_stride}, "
                f"pool_size={pool_size}: widths, blocks and pool_size must be above 0, and the stride 1 or 2."
            )
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.ModuleList()
        width = widths[0]
        for position, wider in enumerate(widths):
            first = ResidualBlock(width, wider, stride=1 if position == 0 else 2)
            rest = [ResidualBlock(wider, wider, stride=1) for _ in range(blocks - 1)]
            self.layers.append(nn.Sequential(first, *rest))
            width = wider
        self.pool = GridPool(pool_size)
        self.feature_dim = width * pool_size**2
        self.head = build_head("linear", self.feature_dim, num_outputs, dropout)

    def stages(self) -> list[nn.Module]:
        """The parts that are frozen and released together, from the stem to the last before the head."""
        return [self.stem, *self.layers]

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        pooled: Tensor = self.pool(x)
        return pooled.flatten(1)
