"""What a generator and its critic learn from."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.models.shard import Shard


@dataclass(frozen=True)
class GANLoss:
    """Losses of critic and generator on the critic's outputs (B,), and what keeps the critic smooth.

    Attributes:
        kind: `bce`, the logits' binary cross-entropy, the generator's not saturating (Goodfellow et al. 2014); `hinge`
            (Lim and Ye 2017); or `wasserstein` (Arjovsky et al. 2017), which asks for a `gradient_penalty`.
        gradient_penalty: weight of the squared distance of the gradient's norm from 1, between real and made images
            (Gulrajani et al. 2017); 10 is usual.
        r1: weight of half the squared gradient at real images (Mescheder et al. 2018).
        r1_every: critic steps between two of R1, which then weighs as many times more (Karras et al. 2020).

    Raises:
        InputError: for a kind that does not exist, or weights that make no sense.
    """

    kind: Literal["bce", "hinge", "wasserstein"] = "hinge"
    gradient_penalty: float = 0.0
    r1: float = 0.0
    r1_every: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in ("bce", "hinge", "wasserstein"):
            problems.append(f"model.loss.kind={self.kind}: expected bce, hinge or wasserstein.")
        problems += [
            f"model.loss.{name}={value}: must not be below 0."
            for name in ("gradient_penalty", "r1")
            if (value := getattr(self, name)) < 0
        ]
        if self.r1_every < 1:
            problems.append(f"model.loss.r1_every={self.r1_every}: must be 1 or more.")
        if self.kind == "wasserstein" and self.gradient_penalty == 0:
            problems.append("model.loss.kind=wasserstein: its critic must be smooth: set gradient_penalty=10.")
        if problems:
            raise InputError(problems)

    @property
    def differentiates_images(self) -> bool:
        """Whether a penalty takes the critic's gradient at single images, which normalising over a batch spoils."""
        return self.gradient_penalty > 0 or self.r1 > 0

    def critic(self, real: Tensor, made: Tensor) -> Tensor:
        """The critic's loss on how real it finds real and made images (B,), without penalties."""
        if self.kind == "bce":
            return F.softplus(-real).mean() + F.softplus(made).mean()
        if self.kind == "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + made).mean()
        return made.mean() - real.mean()

    def generator(self, made: Tensor) -> Tensor:
        """The generator's loss on how real the critic finds made images (B,)."""
        return F.softplus(-made).mean() if self.kind == "bce" else -made.mean()

    def penalty(
        self, critic: nn.Module, real: Tensor, made: Tensor, labels: Tensor | None, step: int, part: Shard
    ) -> Tensor:
        """What is added to the critic's loss at a step, in 32 bits.

        Args:
            critic: judges images and labels.
            real: images (B, C, H, W).
            made: as many.
            labels: (B,) of the real ones.
            step: the critic's.
            part: which of the step's images these are.
        """
        total = real.new_zeros((), dtype=torch.float32)
        with torch.autocast(real.device.type, enabled=False):
            if self.gradient_penalty:
                share = part.of(len(real), lambda rows: torch.rand(rows, 1, 1, 1, device=real.device))
                between = torch.lerp(made.detach().float(), real.float(), share)
                norm = _gradient(critic, between, labels).flatten(1).norm(dim=1)
                total = total + self.gradient_penalty * (norm - 1).square().mean()
            if self.r1 and step % self.r1_every == 0:
                squared = _gradient(critic, real.float(), labels).square().flatten(1).sum(1)
                total = total + self.r1 * self.r1_every / 2 * squared.mean()
        return total


def _gradient(critic: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
    """The critic's gradient at each image, which can itself be differentiated."""
    images = images.detach().requires_grad_()
    output = critic(images, labels)
    return torch.autograd.grad(output.sum(), images, create_graph=True)[0]
