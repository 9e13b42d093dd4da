"""A classifier next to a GAN's critic, from which the generator learns to show the classes."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from vesalius.config.errors import InputError
from vesalius.models.gan.differentiable_augment import DifferentiableAugment
from vesalius.models.shard import Shard


class AuxiliaryClassifier(nn.Module):
    """Learns classes from real images, while the generator learns to draw images that it classifies correctly.

    After Odena et al. 2017 (AC-GAN), as a separate net (Bazrafkan and Corcoran 2018, VAC+GAN): a head of the critic
    would memorise the training images, which the critic sees without augmentation, and one could not tell what the
    generator satisfies it with. This net sees real and synthetic images augmented at random, each by its own draw, and
    never learns from synthetic ones.

    Args:
        in_channels: of the images.
        num_outputs: number of classes.
        net: called as `net(in_channels=..., num_outputs=...)`; maps images (B, C, H, W) to logits (B, K).
        optimizer: called with the parameters of the net.
        augment: applied to images before the net sees them; None for nothing.
        weight: of the classification loss in the generator's loss.

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

    def forward(self, images: Tensor, labels: Tensor, shard: Shard) -> Tensor:
        """The mean cross-entropy of images (B, C, H, W) in -1..1, after augmentation, and of their classes (B,).

        Args:
            images: this device's images of a step.
            labels: their classes.
            shard: which of the step's images they are.
        """
        augmented = images if self.augment is None else self.augment(images, shard)
        return F.cross_entropy(self.net(augmented).float(), labels)
