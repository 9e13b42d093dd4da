"""The loss of an autoencoder: pixel errors and structural similarity."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError

Kind = Literal["mse", "l1", "bce"]

_EPSILON = 1e-6  # keeps the logarithm of a saturated pixel finite


class ReconstructionLoss(nn.Module):
    """A mean error of pixels, optionally mixed with structural similarity.

    Args:
        kind: `mse`: mean squared error; `l1`: mean absolute error, which blurs edges less; `bce`: binary cross-entropy
            of values in 0..1, for nets with a bounded output.
        ssim: share of 1 - SSIM in the sum, from 0 to 1 (Zhao et al. 2017, Loss Functions for Image Restoration with
            Neural Networks).

    Raises:
        InputError: for a share out of range.
    """

    def __init__(self, kind: Kind = "mse", ssim: float = 0.0) -> None:
        super().__init__()
        if not 0 <= ssim <= 1:
            raise InputError(f"model.loss.ssim={ssim}: must be from 0 to 1.")
        self.kind, self.ssim = kind, ssim
        self.pixel_loss = _PIXEL_LOSSES[kind]

    def forward(self, reconstruction: Tensor, original: Tensor) -> Tensor:
        """The mean over pixels and images, both (B, C, H, W); `original` in 0..1."""
        reconstruction = reconstruction.float()  # under autocast, sums of squares need the digits
        pixels = self.pixel_loss(reconstruction, original)
        if self.ssim == 0:
            return pixels
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = structural_similarity_index_measure(reconstruction, original, data_range=1.0)
        assert isinstance(similarity, Tensor)
        return (1 - self.ssim) * pixels + self.ssim * (1 - similarity)


def _binary_cross_entropy(reconstruction: Tensor, original: Tensor) -> Tensor:
    with torch.autocast(original.device.type, enabled=False):
        loss: Tensor = F.binary_cross_entropy(reconstruction.clamp(_EPSILON, 1 - _EPSILON), original)
        return loss


_PIXEL_LOSSES: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "bce": _binary_cross_entropy,
}
