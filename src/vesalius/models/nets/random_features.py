"""A net that is never trained, whose features still separate kinds of images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (16, 32, 64)  # channels of the layers, each at half the resolution of the one before


class RandomFeatures(nn.Module):
    """Mean and standard deviation of random convolutions' outputs, three layers deep.

    Networks without training compare sets of images that resemble no photograph as fairly as ones trained on
    photographs do (Naeem et al. 2020, Reliable Fidelity and Diversity Metrics). The weights are the same in every run.

    Args:
        in_channels: of the image.

    Attributes:
        feature_dim: length of a feature vector.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        before = in_channels
        for number, width in enumerate(_WIDTHS):
            weight = torch.empty(width, before, 3, 3)
            nn.init.orthogonal_(weight, gain=2**0.5, generator=generator)
            self.register_buffer(f"kernel_{number}", weight, persistent=False)
            before = width
        self.feature_dim = 2 * sum(_WIDTHS)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in -1..1 to feature vectors (B, feature_dim)."""
        with torch.autocast(images.device.type, enabled=False):
            x, features = images.float(), []
            for number in range(len(_WIDTHS)):
                x = F.relu(F.conv2d(x, getattr(self, f"kernel_{number}"), stride=2, padding=1))
                features += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
            return torch.cat(features, dim=1)
