"""Fréchet distance between two samples of features (Heusel et al., NeurIPS 2017)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frechet_distance(one: Floats, other: Floats) -> float:
    """Squared Fréchet distance of normal distributions with the samples' means and covariances.

    Args:
        one: (N, F) features, N at least 2.
        other: (M, F) features, M at least 2.
    """
    first, second = (part - part.mean(axis=0) for part in (one, other))
    first, second = first / np.sqrt(len(one) - 1), second / np.sqrt(len(other) - 1)
    of_means = float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum())
    return of_means + float((first**2).sum() + (second**2).sum()) - 2 * _trace_of_root(first, second)


def _trace_of_root(first: Floats, second: Floats) -> float:
    """Trace of the square root of the product of two covariances, given as centred and scaled samples.

    It is the sum of the singular values of `first @ second.T`; computed in F x F where there are more samples than
    features.
    """
    if first.shape[1] > min(len(first), len(second)):
        return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    values, vectors = np.linalg.eigh(first.T @ first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(root @ (second.T @ second) @ root).clip(0)).sum())
