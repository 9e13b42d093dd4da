"""The interface of every net of the autoencoder family: images to codes, and codes to images."""

from abc import abstractmethod

from torch import Tensor

from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.base import Staged


class CodingNet(Staged):
    """An encoder from images to codes, and a decoder from codes to images.

    Attributes:
        latent_dim: length of a code.
        variational: whether `encode` returns a distribution of codes.
        bounded: whether `decode` ends in a sigmoid or the like, so that binary cross-entropy can be its loss.
        starts_linear: whether `start_at` is to be called with principal components of the training images.
    """

    latent_dim: int
    variational: bool = False
    bounded: bool = False
    starts_linear: bool = False

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map prepared images (B, C, H, W) to codes (B, latent_dim).

        Returns:
            The code, or for a variational net the mean of its distribution; and the logarithm of the variance
            (B, latent_dim), or None.
        """

    @abstractmethod
    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, C, H, W) on the scale where white is 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Map prepared images (B, C, H, W) to their reconstructions, on the scale where white is 1."""
        return self.decode(self.encode(x)[0])

    def start_at(self, components: PrincipalComponents, mean: Tensor, std: Tensor) -> None:
        """Become the projection on principal components; called if `starts_linear`.

        Args:
            components: of training images on the scale where white is 1.
            mean: (C,) that preprocessing subtracts from an image, on that scale.
            std: (C,) that it divides by.
        """
