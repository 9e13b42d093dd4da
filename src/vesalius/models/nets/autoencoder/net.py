"""An autoencoder of any encoder of the `cnn` family, with a linear path beside it."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.autoencoder.base import CodingNet
from vesalius.models.nets.autoencoder.decoder import RefiningDecoder
from vesalius.models.nets.base import Net, Staged


class AutoencoderNet(CodingNet):
    """Images to short codes and back, for images of any size and any number of channels.

    On small sets a plain autoencoder of more than a few dimensions reconstructs new images worse than principal
    components do, which are the best linear autoencoder (Baldi and Hornik 1989, Neural Networks and Principal Component
    Analysis). So a linear path runs beside the encoder, and a `RefiningDecoder` draws linearly before it corrects. Both
    start as the principal components of the training images, with networks whose last layers start at zero: training
    begins where PCA ends, and the networks learn what it cannot tell.

    Args:
        in_channels: of the images.
        image_size: their height and width, in pixels.
        encoder: called as `encoder(in_channels=..., num_outputs=...)`, as any net of the `cnn` family is.
        decoder: called as `decoder(latent_dim=..., out_channels=..., image_size=...)`.
        latent_dim: length of a code.
        linear_path: `pca`: principal components, which stay; `learned`: starts as these and learns on; or `none`. Its
            weights are as many as the code is long times the pixels.
        variational: the encoder tells a normal distribution of codes (Kingma and Welling 2014).
        output: `linear`, or `sigmoid`, which keeps values in 0..1.

    Raises:
        InputError: for options that do not go together.
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
        if output not in ("linear", "sigmoid"):
            problems.append(f"model.net.output={output}: expected linear or sigmoid.")
        if linear_path not in ("pca", "learned", "none"):
            problems.append(f"model.net.linear_path={linear_path}: expected pca, learned or none.")
        if linear_path != "none" and output == "sigmoid":
            problems.append("model.net.output=sigmoid bends what a linear path draws: set model.net.linear_path=none.")
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
                f"model.net.linear_path={linear_path}: {type(self.decoder).__name__} does not draw linearly: choose "
                "model/decoder=refining, or set model.net.linear_path=none."
            )
        if linear_path == "pca":
            for layer in (self.linear, self.decoder.linear):
                assert isinstance(layer, nn.Linear)
                layer.requires_grad_(False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map prepared images (B, C, H, W) to codes (B, latent_dim), or to means and logarithms of variances."""
        code: Tensor = self.encoder(x)
        mean, spread = code.chunk(2, dim=1) if self.variational else (code, None)
        if self.linear is not None:
            mean = mean + self.linear(x.flatten(1))
        return mean, spread

    def decode(self, latent: Tensor) -> Tensor:
        """Map codes (B, latent_dim) to images (B, C, H, W) on the scale where white is 1."""
        image: Tensor = self.decoder(latent)
        return image.sigmoid() if self.bounded else image

    @torch.no_grad()
    def start_at(self, components: PrincipalComponents, mean: Tensor, std: Tensor) -> None:
        """Become the projection on principal components; a dimension beyond them draws nothing at first.

        Codes are scaled to a variance of 1 over the training images.
        """
        assert self.linear is not None
        assert isinstance(self.decoder, RefiningDecoder)
        axes = torch.as_tensor(components.components, dtype=torch.float32)
        centre = torch.as_tensor(components.mean, dtype=torch.float32)
        scales = torch.as_tensor(components.scales, dtype=torch.float32).clamp_min(1e-6)
        self.decoder.start_at(components, scales)
        each = axes.shape[1] // len(mean)
        offset, factor = mean.repeat_interleave(each), std.repeat_interleave(each)
        # An image comes prepared: (image - offset) / factor.
        self.linear.weight[: len(axes)] = axes / scales[:, None] * factor
        self.linear.bias[: len(axes)] = (axes @ (offset - centre)) / scales
        last = [part for part in self.encoder.modules() if isinstance(part, nn.Linear)][-1:]
        for layer in last:
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()

    def stages(self) -> list[nn.Module]:
        """The encoder's stages; everything else counts as head.

        Raises:
            InputError: for an encoder that has none.
        """
        if isinstance(self.encoder, Net):
            return self.encoder.stages()
        raise InputError(
            "model.finetune: freeze and lr_decay need an encoder with stages; "
            f"let {type(self.encoder).__name__} inherit from Net."
        )

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the encoder cannot take.

        Raises:
            InputError: with the cure.
        """
        if isinstance(self.encoder, Staged):
            self.encoder.check_image(channels, height, width)

    def load_pretrained(self) -> None:
        """Load the ready-made weights of the encoder, if it was told of any.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """
        if isinstance(self.encoder, Staged):
            self.encoder.load_pretrained()
