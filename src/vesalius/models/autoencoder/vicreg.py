"""An objective for codes without labels or reconstructions: two views of one image agree, and images differ."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError

_EPSILON = 1e-4  # keeps the gradient of a constant dimension's standard deviation finite


class VICReg(nn.Module):
    """Variance, invariance and covariance of projected codes (Bardes et al. 2022, VICReg).

    Codes of two views of one image are to be equal; each dimension is to vary over the images of a batch, with a
    standard deviation of 1 at least, so that codes do not collapse; and dimensions are not to be correlated. All three
    are of a projection of the codes by a small network, which is not used after training.

    Args:
        latent_dim: length of a code.
        width: of the projection, and of the two hidden layers before it.
        invariance: weight of the mean squared difference of the two projections.
        variance: weight of what the standard deviations lack.
        covariance: weight of the squared covariances.

    Raises:
        InputError: for values out of range.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        width: int = 256,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__()
        weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        problems = [
            f"model.agreement.{name}={value}: must not be below 0." for name, value in weights.items() if value < 0
        ]
        if width < 2:
            problems.append(f"model.agreement.width={width}: must be 2 or more.")
        if problems:
            raise InputError(problems)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.projector = nn.Sequential(
            *(_layer(latent_dim, width)), *(_layer(width, width)), nn.Linear(width, width, bias=False)
        )

    def forward(self, codes: Tensor, others: Tensor) -> Tensor:
        """The loss of the codes (B, D) of two views of B images, 0 or more."""
        one, other = (part.float() for part in self.projector(torch.cat([codes, others])).chunk(2))
        loss = self.invariance * F.mse_loss(one, other)
        for part in (one, other):
            centred = part - part.mean(dim=0)
            covariance = centred.T @ centred / max(1, len(part) - 1)
            lacking = F.relu(1 - (covariance.diagonal() + _EPSILON).sqrt()).mean()
            correlated = (covariance.square().sum() - covariance.diagonal().square().sum()) / len(covariance)
            loss = loss + self.variance / 2 * lacking + self.covariance * correlated
        return loss


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)
