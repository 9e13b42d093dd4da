"""Quality of reconstructed validation images, measured after each epoch to pick a checkpoint."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import MeanMetric

_SMALLEST_MSE = 1e-10  # bounds the PSNR of a perfect image, which would be infinite, at 100 dB


class ReconstructionMetrics(torch.nn.Module):
    """Mean squared error, and peak signal-to-noise ratio in dB of each image, averaged over the epoch's images.

    Not torchmetrics' PSNR, which keeps every image's error until the end of an epoch, and is infinite if one is 0.
    """

    names: ClassVar[tuple[str, ...]] = ("mse", "psnr")

    def __init__(self) -> None:
        super().__init__()
        self.mse, self.psnr = MeanMetric(), MeanMetric()

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Add a batch of images (B, C, H, W) on the scale where white is 1."""
        mse = (reconstruction.float() - original).square().flatten(1).mean(1)
        self.mse.update(mse)
        self.psnr.update(-10 * mse.clamp_min(_SMALLEST_MSE).log10())

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name, and reset for the next epoch."""
        values = {"mse": self.mse.compute(), "psnr": self.psnr.compute()}
        self.mse.reset()
        self.psnr.reset()
        return values
