"""What every net of Vesalius offers, so that others can build on it."""

from abc import abstractmethod

from torch import Tensor, nn


class Staged(nn.Module):
    """A network with parts that can be frozen and released, and perhaps ready-made weights."""

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

    def load_pretrained(self) -> None:
        """Load ready-made weights, if the net was told of any; for a run that starts afresh.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """


class Net(Staged):
    """Images to feature vectors to outputs.

    Freezing and layer-wise learning rates need `stages`; a feature table needs `features`. A user's own net may be any
    module from images to logits, and does without those.

    Attributes:
        feature_dim: length of a feature vector.
        head: what turns feature vectors (B, feature_dim) into outputs (B, num_outputs).
    """

    feature_dim: int
    head: nn.Module

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to outputs (B, num_outputs)."""
        outputs: Tensor = self.head(self.features(x))
        return outputs
