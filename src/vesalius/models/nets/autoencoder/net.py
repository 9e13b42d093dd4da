"""An autoencoder around any encoder of the `cnn` family, with a linear path next to it."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.autoencoder.base import CodingNet
from vesalius.models.nets.autoencoder.decoder import RefiningDecoder
from vesalius.models.nets.base import EncoderBased


class AutoencoderNet(EncoderBased, CodingNet):
    """Images to short codes and back, for images of any size and any number of channels.

    On small sets a plain autoencoder of more than a few dimensions reconstructs new images worse than principal
    components do, which are the best linear autoencoder (Baldi and Hornik 1989, Neural Networks and Principal Component
    Analysis). So a linear path is added to the encoder's output, and a `RefiningDecoder` decodes linearly before it
    corrects. Both start as the principal components of the training images, and the networks' last layers start at
    zero: training begins at the reconstructions of PCA, and the networks learn what PCA cannot represent.

    Args:
        in_channels: of the images.
        image_size: their height and width, in pixels.
        encoder: called as `encoder(in_channels=..., num_outputs=...)`, as any net of the `cnn` family is.
        decoder: called as `decoder(latent_dim=..., out_channels=..., image_size=...)`.
        latent_dim: length of a code.
        linear_path: `pca`: fixed principal components; `learned`: starts as these and is trained; or `none`. It has
            `latent_dim` weights per pixel.
        variational: the encoder outputs a normal distribution of codes (Kingma and Welling 2014).
        output: `linear`, or `sigmoid`, which keeps values in 0..1.

    Raises:
        InputError: for options that contradict each other.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent_dim: int = 64,
        linear_path: Literal["pca", "learned", "none"] = "pca",
        variational: bool = False,
        output: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__()
        problems = []
        if latent_dim < 1:
            problems.append(f"model.net.latent_dim={latent_dim}: must be 1 or more.")
        if linear_path != "none" and output == "sigmoid":
            problems.append("model.net.output=sigmoid: a linear path needs output=linear; or set linear_path=none.")
        if problems:
            raise InputError(problems)
        self.latent_dim, self.variational = latent_dim, variational
        self.bounded = output == "sigmoid"
        self.encoder = encoder(in_channels=in_channels, num_outputs=latent_dim * (2 if variational else 1))
        self.decoder = decoder(latent_dim=latent_dim, out_channels=in_channels, image_size=image_size)
        pixels = in_channels * image_size[0] * image_size[1]
        self.linear = None if linear_path == "none" else nn.Linear(pixels, latent_dim)
        self.starts_linear = linear_path != "none"
        if self.starts_linear and not isinstance(self.decoder, RefiningDecoder):
            raise InputError(
                f"model.net.linear_path={linear_path}: {type(self.decoder).__name__} has no linear path: choose "
                "model/decoder=refining, or set model.net.linear_path=none."
            )
        if linear_path == "pca":
            for layer in (self.linear, self.decoder.linear):
                assert isinstance(layer, nn.Linear)
                layer.requires_grad_(False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map prepared images (B, C, H, W) to codes (B, latent_dim), or to means and logarithms of variances."""
        code: Tensor = self.encoder(x)
        mean, log_variance = code.chunk(2, dim=1) if self.variational else (code, None)
        if self.linear is not None:
            mean = mean + self.linear(x.flatten(1))
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, C, H, W) on the scale where white is 1."""
        image: Tensor = self.decoder(latent)
        return image.sigmoid() if self.bounded else image

    @torch.no_grad()
    def start_at(self, components: PrincipalComponents, mean: Tensor, std: Tensor) -> None:
        """Become the projection on principal components; further dimensions of the code have no effect at first.

        Codes are scaled to a variance of 1 over the training images. Arguments are as in `CodingNet`.
        """
        assert self.linear is not None
        assert isinstance(self.decoder, RefiningDecoder)
        axes = torch.as_tensor(components.components, dtype=torch.float32)
        centre = torch.as_tensor(components.mean, dtype=torch.float32)
        scales = torch.as_tensor(components.scales, dtype=torch.float32).clamp_min(1e-6)
        self.decoder.start_at(components, scales)
        pixels = axes.shape[1] // len(mean)
        offset, factor = mean.repeat_interleave(pixels), std.repeat_interleave(pixels)
        # The input is a prepared image: (image - offset) / factor.
        self.linear.weight[: len(axes)] = axes / scales[:, None] * factor
        self.linear.bias[: len(axes)] = (axes @ (offset - centre)) / scales
        last = [part for part in self.encoder.modules() if isinstance(part, nn.Linear)][-1:]
        for layer in last:
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
