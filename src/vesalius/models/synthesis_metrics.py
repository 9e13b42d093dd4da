"""How far made images are from validation images, measured after each epoch to pick a checkpoint."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vesalius.models.nets.random_features import RandomFeatures

# Names of what `SynthesisMetrics.compute` gives.
NAMES = ("frechet_distance",)


class SynthesisMetrics(torch.nn.Module):
    """Fréchet distance of the epoch's real and made images in features of a net that is never trained."""

    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.extractor = RandomFeatures(channels)
        self.real, self.made = (_Moments(self.extractor.feature_dim) for _ in range(2))

    def update(self, real: Tensor, made: Tensor) -> None:
        """Take in as many real as made images (B, C, H, W) in -1..1."""
        self.real.update(self.extractor(real))
        self.made.update(self.extractor(made))

    def compute(self) -> dict[str, Tensor]:
        """The values by name, and a clean slate for the next epoch."""
        (mean, spread), (made_mean, made_spread) = self.real.compute(), self.made.compute()
        self.real.reset()
        self.made.reset()
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
