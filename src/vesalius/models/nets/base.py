"""What every net of Vesalius offers, so that others can build on it."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.models.nets.weight_record import WeightRecord


class Staged(nn.Module):
    """A network whose parts can be frozen and released in stages, and which may have pretrained weights."""

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The parts that are frozen and released together, from the stem to the last before the head.

        Together they hold each parameter outside the head exactly once.
        """

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the net cannot take.

        Raises:
            InputError: with the cure.
        """

    def load_pretrained(self) -> WeightRecord | None:
        """Load the pretrained weights that the config names, if any; for a run that starts from scratch.

        Returns:
            What is known of them; None without weights.

        Raises:
            InputError: if they cannot be read or downloaded, or do not fit.
        """
        return None


class Net(Staged):
    """Images to feature vectors to outputs.

    Freezing and layer-wise learning rates need `stages`; a feature table needs `features`. A user's own net may be any
    module from images to logits, and works without those.

    Attributes:
        feature_dim: length of a feature vector.
        head: maps feature vectors (B, feature_dim) to outputs (B, num_outputs).
    """

    feature_dim: int
    head: nn.Module

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""

    def feature_maps(self, x: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Map images (B, C, H, W) to the outputs (B, D, h, w) of some stages, counted from 0, in rising order.

        Raises:
            InputError: for a net that does not have them.
        """
        raise InputError(f"model.net: {type(self).__name__} gives no feature maps: choose EfficientNetLite0.")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to outputs (B, num_outputs)."""
        outputs: Tensor = self.head(self.features(x))
        return outputs


class EncoderBased(Staged):
    """A network around an image encoder, whose stages and pretrained weights are its own; all else counts as head.

    Attributes:
        encoder: any module from images (B, C, H, W) to vectors (B, F); stages need a `Net`.
    """

    encoder: nn.Module

    def stages(self) -> list[nn.Module]:
        """The encoder's stages.

        Raises:
            InputError: for an encoder without stages.
        """
        if isinstance(self.encoder, Net):
            return self.encoder.stages()
        raise InputError(
            "model.finetune: freeze and lr_decay need an encoder with stages; "
            f"let {type(self.encoder).__name__} inherit from Net."
        )

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the encoder cannot take."""
        if isinstance(self.encoder, Staged):
            self.encoder.check_image(channels, height, width)

    def load_pretrained(self) -> WeightRecord | None:
        """Load the pretrained weights of the encoder, if its config names any, and return their record."""
        return self.encoder.load_pretrained() if isinstance(self.encoder, Staged) else None
