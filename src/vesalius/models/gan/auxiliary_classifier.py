"""A classifier beside a GAN's critic, which sees to it that made images show their classes."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from vesalius.config.errors import InputError
from vesalius.models.gan.differentiable_augment import DifferentiableAugment
from vesalius.models.shard import Shard


class AuxiliaryClassifier(nn.Module):
    """Learns classes from real images, while the generator learns to make images that it tells apart.

    After Odena et al. 2017 (AC-GAN), as a net of its own (Bazrafkan and Corcoran 2018, VAC+GAN): a head of the critic
    learns the training images by heart, as the critic sees them unchanged, and what a generator satisfies it with
    cannot be seen. This one sees real and made images changed, each by a draw of its own, and no made one is learned
    from.

    Args:
        in_channels: of the images.
        num_outputs: classes.
        net: called as `net(in_channels=..., num_outputs=...)`; maps images (B, C, H, W) to logits (B, K).
        optimizer: of the net; called with its parameters.
        augment: what is done to images before the net sees them; None for nothing.
        weight: of the generator's loss by its classes.

    Raises:
        InputError: for a weight that is not above 0.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        net: Callable[..., nn.Module],
        optimizer: Callable[..., Optimizer],
        augment: DifferentiableAugment | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if weight <= 0:
            raise InputError(f"model.classifier.weight={weight}: must be above 0; model.classifier=null leaves it out.")
        self.net = net(in_channels=in_channels, num_outputs=num_outputs)
        self.make_optimizer, self.augment, self.weight = optimizer, augment, weight

    def forward(self, images: Tensor, labels: Tensor, part: Shard) -> Tensor:
        """The mean cross-entropy of images (B, C, H, W) in -1..1, changed at random, and of their classes (B,).

        Args:
            images: a part of a step.
            labels: of them.
            part: which part.
        """
        seen = images if self.augment is None else self.augment(images, part)
        return F.cross_entropy(self.net(seen).float(), labels)
