"""What every net of the autoencoder family offers: images to codes, and codes to images."""

from abc import abstractmethod

from torch import Tensor

from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.base import Staged


class CodingNet(Staged):
    """An encoder and a decoder.

    Attributes:
        latent_dim: length of a code.
        bounded: whether `decode` gives values in 0..1 by its form, as binary cross-entropy needs.
        starts_linear: whether the net wants to start as the principal components of the training images.
    """

    latent_dim: int
    bounded: bool = False
    starts_linear: bool = False

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map prepared images (B, C, H, W) to codes (B, latent_dim).

        Returns:
            The code, or for a variational net the mean of its distribution; and the logarithm of the variance (B,
            latent_dim), or None.
        """

    @abstractmethod
    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, C, H, W) on the scale where white is 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Map prepared images (B, C, H, W) to their reconstructions, on the scale where white is 1."""
        return self.decode(self.encode(x)[0])

    def start_at(self, components: PrincipalComponents, mean: Tensor, std: Tensor) -> None:
        """Become the projection on principal components, where `starts_linear`.

        Args:
            components: of training images on the scale where white is 1.
            mean: (C,) what preparing an image subtracts, on that scale.
            std: (C,) what it divides by.
        """
