"""The article's convolutional autoencoder."""

from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.autoencoder.base import CodingNet

_SIZE = (28, 28)


class ArticleAutoencoder(CodingNet):
    """The article's net for grey images of 28 x 28 pixels, whose code is 8 maps of 2 x 2.

    As printed, its decoder (transposed convolutions to 16 maps, kernel 3, stride 2, and to 1 map, kernel 5, stride 3,
    padding 1) ends at 15 x 15 pixels. It is completed here: the second convolution gives 8 maps in place of one, and a
    third (kernel 2, stride 2, padding 1) turns their 15 x 15 pixels into 28 x 28.

    Args:
        in_channels: of the images; 1.
        image_size: their height and width; 28 and 28.

    Raises:
        InputError: for other images.
    """

    latent_dim = 32
    bounded = True

    def __init__(self, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        if in_channels != 1 or image_size != _SIZE:
            raise InputError(
                f"model: the article's autoencoder takes grey images of 28x28 pixels, and these have {in_channels} "
                f"channels and {image_size[0]}x{image_size[1]} pixels: set model.preprocess.image_size=28 and "
                "model.preprocess.channels=1, or choose model=autoencoder."
            )
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(16, 8, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 16, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(16, 8, 5, stride=3, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(8, 1, 2, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, None]:
        """Map images (B, 1, 28, 28) to codes (B, 32)."""
        maps: Tensor = self.encoder(x)
        return maps.flatten(1), None

    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, 32) to images (B, 1, 28, 28) in 0..1."""
        image: Tensor = self.decoder(latent.reshape(-1, 8, 2, 2))
        return image

    def stages(self) -> list[nn.Module]:
        """The encoder's two convolutions, each with what follows it."""
        return [self.encoder[:3], self.encoder[3:]]
