"""A net in which every pixel has weights of its own."""

from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net


class FlatNet(Net):
    """A linear map of all pixels, for images that are aligned to each other, so that a pixel's place means something.

    Functional MRI of one brain and images in atlas space are such; convolutions with pooling would forget the place.

    Args:
        in_channels: of the images.
        num_outputs: of the head.
        image_size: height and width of the images, in pixels.
        width: length of the feature vector.
        dropout: part of the pixels that are left out at each step.
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
        """The linear map alone."""
        return [self.body]

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images of another size.

        Raises:
            InputError: with the size to set.
        """
        if (height, width) != self.image_size:
            raise InputError(
                f"model: every pixel has weights of its own, and images are {height}x{width} where "
                f"{self.image_size[0]}x{self.image_size[1]} were announced: set image_size=[{height},{width}]."
            )
