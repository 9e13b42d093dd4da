"""How well validation images come back, measured after each epoch to pick a checkpoint."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import MeanMetric

# Names of what `ReconstructionMetrics.compute` gives.
NAMES = ("mse", "psnr")
# Of a perfect image, whose PSNR would be infinite.
_SMALLEST = 1e-10


class ReconstructionMetrics(torch.nn.Module):
    """Mean squared error, and peak signal-to-noise ratio of each image, averaged over the epoch's images."""

    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self) -> None:
        super().__init__()
        self.mse, self.psnr = MeanMetric(), MeanMetric()

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Take in a batch of images (B, C, H, W) on the scale where white is 1."""
        mse = (reconstruction.float() - original).square().flatten(1).mean(1)
        self.mse.update(mse)
        self.psnr.update(-10 * mse.clamp_min(_SMALLEST).log10())

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""
        values = {"mse": self.mse.compute(), "psnr": self.psnr.compute()}
        self.mse.reset()
        self.psnr.reset()
        return values
