"""Distance of synthetic from validation images, measured after each epoch to pick a checkpoint."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vesalius.models.nets.random_features import RandomFeatures


class SynthesisMetrics(torch.nn.Module):
    """Fréchet distance of the epoch's real and synthetic images, by default in features of an untrained net.

    Not torchmetrics' FID, which divides covariances by n - 1 and raises an error for non-finite features.

    Args:
        channels: of the images.
    """

    names: ClassVar[tuple[str, ...]] = ("frechet_distance",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.random = RandomFeatures(channels)
        self.set_feature_extractor(lambda images: self.random(images * 2 - 1), self.random.feature_dim)

    def set_feature_extractor(self, embed: Callable[[Tensor], Tensor], dim: int) -> None:
        """Compare other features, such as those of a classifier of the same kind of images.

        Args:
            embed: maps images (B, C, H, W) in 0..1 to features (B, dim), on the images' device.
            dim: length of a feature vector.
        """
        self.embed = embed
        self.real, self.fake = _Moments(dim), _Moments(dim)

    def update(self, real: Tensor, fake: Tensor) -> None:
        """Add a batch of real and of synthetic images, each (B, C, H, W) in 0..1."""
        with torch.autocast(real.device.type, enabled=False):
            self.real.update(self.embed(real.float()))
            self.fake.update(self.embed(fake.float()))

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name, and reset for the next epoch."""
        (mean, covariance), (fake_mean, fake_covariance) = self.real.compute(), self.fake.compute()
        self.real.reset()
        self.fake.reset()
        if not fake_covariance.isfinite().all():  # the weights diverged, and eigenvalues cannot be computed
            return {"frechet_distance": torch.full((), torch.nan, device=fake_mean.device)}
        root = _root(covariance)
        shared = torch.linalg.eigvalsh(root @ fake_covariance @ root).clamp_min(0).sqrt().sum()
        distance = (mean - fake_mean).square().sum() + covariance.trace() + fake_covariance.trace() - 2 * shared
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
