"""How far made images are from validation images, measured after each epoch to pick a checkpoint."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vesalius.models.nets.random_features import RandomFeatures

# Names of what `SynthesisMetrics.compute` gives.
NAMES = ("frechet_distance",)


class SynthesisMetrics(torch.nn.Module):
    """Fréchet distance of the epoch's real and made images, by default in features of a net that is never trained.

    Args:
        channels: of the images.
    """

    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.random = RandomFeatures(channels)
        self.compare_in(lambda images: self.random(images * 2 - 1), self.random.feature_dim)

    def compare_in(self, embed: Callable[[Tensor], Tensor], dim: int) -> None:
        """Take other features, which tell more of what matters in the images.

        Args:
            embed: maps images (B, C, H, W) in 0..1 to (B, dim), on the device where they are.
            dim: length of a feature vector.
        """
        self.embed = embed
        self.real, self.made = _Moments(dim), _Moments(dim)

    def update(self, real: Tensor, made: Tensor) -> None:
        """Take in as many real as made images (B, C, H, W) in 0..1."""
        with torch.autocast(real.device.type, enabled=False):
            self.real.update(self.embed(real.float()))
            self.made.update(self.embed(made.float()))

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""
        (mean, spread), (made_mean, made_spread) = self.real.compute(), self.made.compute()
        self.real.reset()
        self.made.reset()
        if not made_spread.isfinite().all():  # weights that diverged; no eigenvalue could be had
            return {"frechet_distance": torch.full((), torch.nan, device=made_mean.device)}
        root = _root(spread)
        shared = torch.linalg.eigvalsh(root @ made_spread @ root).clamp_min(0).sqrt().sum()
        distance = (mean - made_mean).square().sum() + spread.trace() + made_spread.trace() - 2 * shared
        return {"frechet_distance": distance.float()}


class _Moments(Metric):
    """Mean and covariance of feature vectors, over all devices."""

    full_state_update = False
    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        features = features.double()
        self.count += len(features)
        self.total += features.sum(0)
        self.products += features.T @ features

    def compute(self) -> tuple[Tensor, Tensor]:
        mean = self.total / self.count
        return mean, self.products / self.count - mean.outer(mean)


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
