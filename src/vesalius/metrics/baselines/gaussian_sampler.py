"""The cheapest generator: normal draws of principal components, which a GAN has to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.baselines.principal_components import PrincipalComponents

Floats = NDArray[np.float32]

#: Numbers of components to pick from.
COUNTS = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class GaussianSampler:
    """A normal distribution of images for each class, in the space of principal components of all.

    Attributes:
        components: of the training images.
        means: (K, D), one per class.
        roots: (K, D, D) square roots of the covariances, one per class.
    """

    components: PrincipalComponents
    means: NDArray[np.float64]
    roots: NDArray[np.float64]

    @classmethod
    def fit(
        cls, components: PrincipalComponents, images: Floats, labels: NDArray[np.int64] | None
    ) -> "GaussianSampler":
        """Fit to training images (N, C, H, W) in 0..1 of classes (N,), none of them empty; None: one class.

        Covariances of classes are shrunk after Ledoit and Wolf (2004), so that a class of few images has one too.
        """
        from sklearn.covariance import ledoit_wolf

        codes = components.project(images).astype(np.float64)
        labels = np.zeros(len(codes), np.int64) if labels is None else labels
        means, roots = [], []
        for label in range(int(labels.max()) + 1):
            own = codes[labels == label]
            covariance = ledoit_wolf(own)[0] if len(own) > 1 else np.zeros((codes.shape[1],) * 2)
            values, vectors = np.linalg.eigh(covariance)
            means.append(own.mean(axis=0))
            roots.append(vectors * np.sqrt(values.clip(0)))
        return cls(components, np.stack(means), np.stack(roots))

    @property
    def count(self) -> int:
        """Number of components."""
        return len(self.components.components)

    def sample(self, labels: NDArray[np.int64], generator: np.random.Generator) -> Floats:
        """Draw images (N, C, H, W) in 0..1 of classes (N,); zeros if fitted without classes."""
        normal = generator.standard_normal((len(labels), self.count))
        codes = np.empty_like(normal)
        for label in np.unique(labels):
            own = labels == label
            codes[own] = normal[own] @ self.roots[label].T + self.means[label]
        return self.components.reconstruct(codes).clip(0, 1)


def best_gaussian_sampler(
    images: Floats,
    labels: NDArray[np.int64] | None,
    score: Callable[[GaussianSampler], float],
    *,
    counts: Sequence[int] = COUNTS,
    seed: int = 0,
) -> GaussianSampler:
    """The sampler with the lowest score among those of several numbers of components.

    Args:
        images: of training, (N, C, H, W) in 0..1.
        labels: (N,) classes, none of them empty; None: one class.
        score: on validation data; lower is better.
        counts: numbers of components to try, as far as N and pixels allow.
        seed: of the principal components.
    """
    most = PrincipalComponents.fit(images, max(counts), seed=seed)
    possible = sorted({min(count, len(most.components)) for count in counts})
    samplers = [GaussianSampler.fit(_first(most, count), images, labels) for count in possible]
    return min(samplers, key=score)


def _first(components: PrincipalComponents, count: int) -> PrincipalComponents:
    return PrincipalComponents(
        components.mean, components.components[:count], components.scales[:count], components.shape
    )
