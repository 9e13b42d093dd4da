"""How far a reconstruction is from its image."""

from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError

Kind = Literal["mse", "l1", "bce"]

_EPSILON = 1e-6  # keeps the logarithm of a saturated pixel finite


class ReconstructionLoss(nn.Module):
    """An error of pixels, perhaps mixed with structural similarity.

    Args:
        kind: `mse`: mean squared error; `l1`: mean absolute error, which blurs edges less; `bce`: binary cross-entropy
            of values in 0..1, for nets whose output is bounded by its form.
        ssim: share of 1 - SSIM in the sum (Zhao et al. 2017, Loss Functions for Image Restoration with Neural
            Networks), from 0 to 1.

    Raises:
        InputError: for another kind or share.
    """

    def __init__(self, kind: Kind = "mse", ssim: float = 0.0) -> None:
        super().__init__()
        problems = []
        if kind not in ("mse", "l1", "bce"):
            problems.append(f"model.loss.kind={kind}: expected mse, l1 or bce.")
        if not 0 <= ssim <= 1:
            problems.append(f"model.loss.ssim={ssim}: must lie between 0 and 1.")
        if problems:
            raise InputError(problems)
        self.kind, self.ssim = kind, ssim

    def forward(self, reconstruction: Tensor, original: Tensor) -> Tensor:
        """The mean over pixels and images, both (B, C, H, W); `original` in 0..1."""
        reconstruction = reconstruction.float()  # under autocast, sums of squares need the digits
        if self.ssim == 0:
            return self._pixels(reconstruction, original)
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = structural_similarity_index_measure(reconstruction, original, data_range=1.0)
        assert isinstance(similarity, Tensor)
        return (1 - self.ssim) * self._pixels(reconstruction, original) + self.ssim * (1 - similarity)

    def _pixels(self, reconstruction: Tensor, original: Tensor) -> Tensor:
        if self.kind == "mse":
            return nn.functional.mse_loss(reconstruction, original)
        if self.kind == "l1":
            return nn.functional.l1_loss(reconstruction, original)
        with torch.autocast(original.device.type, enabled=False):
            bounded = reconstruction.clamp(_EPSILON, 1 - _EPSILON)
            return nn.functional.binary_cross_entropy(bounded, original)
