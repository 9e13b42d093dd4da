"""Ridge regression on products of features: what pairs of them tell together, solved without listing the pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.metrics.baselines.linear_models import Floats, loss, predictions_of

#: Squares that a class, or a continuous target, is predicted from; more do not help on BreastMNIST.
RANK = 128
#: Weights of single features against pairs, of which validation picks one, as it does of the penalties.
OFFSETS = (0.1, 0.3, 1.0)
PENALTIES = (0.01, 1.0)
#: Of more training samples a random part is used: time grows with the cube of their number.
MAX_TRAIN = 3000
# Of scores near -1 and 1, as logits.
_GAINS = 2.0 ** np.arange(-1, 5.5, 0.5)


@dataclass(frozen=True)
class QuadraticModel:
    """A quadratic form of features at length 1, as weighted squares along the directions that matter most.

    Attributes:
        directions: (K, R, D).
        offsets: (K, R), added to the projections.
        weights: (K, R) of their squares; 0 where there are fewer directions.
        bias: (K,), added to the sums of squares; minus infinity for a class that training lacks.
    """

    directions: Floats
    offsets: Floats
    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class _Fit:
    """Kernel ridge regression: duals (N, K) of the training samples for one offset, and the bias (K,)."""

    offset: float
    duals: Floats
    bias: Floats
    gain: float = 1.0


def fit_quadratic(
    train: NDArray[Any], truth: NDArray[Any], val: NDArray[Any], val_truth: NDArray[Any], task: Task
) -> QuadraticModel:
    """Kernel ridge regression with the kernel (offset + cosine)**2; offset and penalty do best on validation.

    The solution is a quadratic form, which keeps no training sample. Classes are regressed on -1 and 1; the gain that
    turns scores into logits is picked on validation, too.

    Args:
        train: (N, D) standardised features, N at least 1.
        truth: (N, K) as `truth_matrix` gives it.
        val: (V, D) features on the same scale.
        val_truth: (V, K).
        task: how classes relate to a sample, or `regression`.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:MAX_TRAIN])
    unit, val_unit, truth = _normalise(train[chosen]), _normalise(val), truth[chosen]
    targets = truth if task == "regression" else 2.0 * truth - 1.0
    mean = targets.mean(axis=0)
    bias = mean if task == "regression" else np.where(truth.any(axis=0), mean, -np.inf)
    products, val_products = unit @ unit.T, val_unit @ unit.T
    best: tuple[float, _Fit] | None = None
    for offset in OFFSETS:
        kernel, val_kernel = (offset + products) ** 2, (offset + val_products) ** 2
        for penalty in PENALTIES:
            duals = np.linalg.solve(kernel + penalty * np.eye(len(kernel)), targets - mean)
            scores = val_kernel @ duals + bias
            for gain in (1.0,) if task == "regression" else _GAINS:
                found = loss(predictions_of(gain * scores, task), val_truth, truth, task)
                if best is None or found < best[0]:
                    best = found, _Fit(offset, duals, bias, float(gain))
    assert best is not None
    return _as_squares(unit, best[1])


def _normalise(features: NDArray[Any]) -> Floats:
    """Rows of (N, D) at length 1; rows of zeros stay."""
    length = np.linalg.norm(features.astype(np.float64, copy=False), axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12))


def _as_squares(unit: Floats, fit: _Fit) -> QuadraticModel:
    """The form of each output, extended' diag(duals) extended, by its eigenvectors."""
    extended = np.column_stack([unit, np.full(len(unit), np.sqrt(fit.offset))])  # products are offset + cosine
    basis, samples = np.linalg.qr(extended.T)  # eigenvectors lie in the span of the samples
    count, dim = fit.duals.shape[1], unit.shape[1]
    directions, weights = np.zeros((count, RANK, dim + 1)), np.zeros((count, RANK))
    for output, duals in enumerate(fit.duals.T):
        values, vectors = np.linalg.eigh((samples * duals) @ samples.T)
        largest = np.argsort(-np.abs(values))[:RANK]
        weights[output, : len(largest)] = fit.gain * values[largest]
        directions[output, : len(largest)] = (basis @ vectors[:, largest]).T
    offsets = directions[..., -1] * np.sqrt(fit.offset)
    return QuadraticModel(directions[..., :-1], offsets, weights, fit.gain * fit.bias)
