"""The losses of a generator and its critic."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.models.shard import Shard


@dataclass(frozen=True)
class GANLoss:
    """Losses of critic and generator on the critic's scores (B,), and penalties that keep the critic smooth.

    Attributes:
        kind: `bce`, binary cross-entropy of the scores as logits, non-saturating for the generator (Goodfellow et al.
            2014); `hinge` (Lim and Ye 2017); or `wasserstein` (Arjovsky et al. 2017), which needs `gradient_penalty`.
        gradient_penalty: weight of the squared distance of the gradient's norm from 1, between real and synthetic
            images (Gulrajani et al. 2017); 10 is usual.
        r1: weight of half the squared gradient at real images (Mescheder et al. 2018).
        r1_every: the R1 penalty is added at every such step of the critic, multiplied by this (Karras et al. 2020).

    Raises:
        InputError: for negative weights, or a Wasserstein loss without gradient penalty.
    """

    kind: Literal["bce", "hinge", "wasserstein"] = "hinge"
    gradient_penalty: float = 0.0
    r1: float = 0.0
    r1_every: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"model.loss.{name}={value}: must not be below 0."
            for name in ("gradient_penalty", "r1")
            if (value := getattr(self, name)) < 0
        ]
        if self.r1_every < 1:
            problems.append(f"model.loss.r1_every={self.r1_every}: must be 1 or more.")
        if self.kind == "wasserstein" and self.gradient_penalty == 0:
            problems.append(
                "model.loss.kind=wasserstein: it needs a smooth critic: set model.loss.gradient_penalty=10."
            )
        if problems:
            raise InputError(problems)

    @property
    def differentiates_images(self) -> bool:
        """Whether a penalty needs the critic's gradient at single images, which batch normalisation would mix."""
        return self.gradient_penalty > 0 or self.r1 > 0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, from its scores (B,) of real and of synthetic images, without penalties."""
        match self.kind:
            case "bce":
                return F.softplus(-real).mean() + F.softplus(fake).mean()
            case "hinge":
                return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            case "wasserstein":
                return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss, from the critic's scores (B,) of synthetic images."""
        return F.softplus(-fake).mean() if self.kind == "bce" else -fake.mean()

    def penalty(
        self, critic: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None, step: int, shard: Shard
    ) -> Tensor:
        """The penalties that are added to the critic's loss at a step, float32.

        Args:
            critic: scores images and labels.
            real: images (B, C, H, W).
            fake: as many synthetic images.
            labels: (B,) classes of both; None if not conditional.
            step: number of the critic's step.
            shard: which of the step's images these are.
        """
        total = real.new_zeros((), dtype=torch.float32)
        with torch.autocast(real.device.type, enabled=False):
            if self.gradient_penalty:
                share = shard.draw(len(real), lambda rows: torch.rand(rows, 1, 1, 1, device=real.device))
                between = torch.lerp(fake.detach().float(), real.float(), share)
                norm = _gradient(critic, between, labels).flatten(1).norm(dim=1)
                total = total + self.gradient_penalty * (norm - 1).square().mean()
            if self.r1 and step % self.r1_every == 0:
                squared = _gradient(critic, real.float(), labels).square().flatten(1).sum(1)
                total = total + self.r1 * self.r1_every / 2 * squared.mean()
        return total


def _gradient(critic: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
    """The critic's gradient at each image, which can itself be differentiated."""
    images = images.detach().requires_grad_()
    scores = critic(images, labels)
    return torch.autograd.grad(scores.sum(), images, create_graph=True)[0]
