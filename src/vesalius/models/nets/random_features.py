"""A net that is never trained, whose features tell kinds of images apart all the same."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RandomFeatures(nn.Module):
    """Mean and spread, over a coarse grid, of what random convolutions answer.

    Networks without training compare sets of images that resemble no photograph as fairly as ones trained on
    photographs do (Naeem et al. 2020, Reliable Fidelity and Diversity Metrics). They are the same in every run.

    Args:
        in_channels: of the image.
        widths: channels of the layers, each at half the resolution of the one before.

    Attributes:
        feature_dim: length of a feature vector.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        before = in_channels
        for number, width in enumerate(widths):
            weight = torch.empty(width, before, 3, 3)
            nn.init.orthogonal_(weight, gain=2**0.5, generator=generator)
            self.register_buffer(f"kernel_{number}", weight, persistent=False)
            before = width
        self.layers = len(widths)
        self.feature_dim = 2 * sum(widths)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in -1..1 to feature vectors (B, feature_dim)."""
        with torch.autocast(images.device.type, enabled=False):
            x, told = images.float(), []
            for number in range(self.layers):
                x = F.relu(F.conv2d(x, getattr(self, f"kernel_{number}"), stride=2, padding=1))
                told += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
            return torch.cat(told, dim=1)
