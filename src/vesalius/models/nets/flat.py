"""A net in which every pixel has its own weights."""

from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net


class FlatNet(Net):
    """A linear map of all pixels, for images that are aligned to each other, so that a pixel's place has a meaning.

    Examples are functional MRI of one brain and images in atlas space; convolutions with pooling would lose the place.

    Args:
        in_channels: of the images.
        num_outputs: of the head.
        image_size: height and width of the images, in pixels.
        width: length of the feature vector.
        dropout: share of the pixels that are left out at each step.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        image_size: list[int],
        width: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_size = (image_size[0], image_size[-1])
        pixels = in_channels * self.image_size[0] * self.image_size[1]
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(pixels, width))
        self.feature_dim = width
        self.head = nn.Linear(width, num_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, width)."""
        features: Tensor = self.body(x)
        return features

    def stages(self) -> list[nn.Module]:
        """One stage: the linear map."""
        return [self.body]

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images of another size.

        Raises:
            InputError: with the size to set.
        """
        if (height, width) != self.image_size:
            raise InputError(
                f"model: the net is built for images of {self.image_size[0]}x{self.image_size[1]} pixels, and these "
                f"have {height}x{width}: set image_size=[{height},{width}] of the net."
            )
