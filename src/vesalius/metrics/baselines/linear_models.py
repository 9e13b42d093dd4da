"""Cheap models on the same split, which a network has to beat.

`majority` predicts the class frequencies of the training set. `logistic_pixels` is logistic regression on the pixels,
averaged down to at most 28 x 28 and standardised; `logistic_pca` on their first 64 principal components, standardised.
Continuous targets have `mean_target`, `ridge_pixels` and `ridge_pca`. A series counts as an image whose channels are
its frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Task

Floats = NDArray[np.float64]

#: Images of at most this height and width go into the regressions.
POOLED_SIZE = 28
#: More training images than this change a linear model little and cost time: a random part is used.
MAX_TRAIN = 5000
COMPONENTS = 64
ITERATIONS = 200
#: scikit-learn's `C`; each regression takes the one with the lowest validation loss. Ridge takes 1 / C as its `alpha`.
PENALTIES = (0.001, 0.01, 0.1, 1.0)
RIDGE_PENALTIES = (1e-5, 1e-4, *PENALTIES)


def fit_baselines(
    train_x: NDArray[Any],
    train_y: NDArray[Any],
    val_x: NDArray[Any],
    val_y: NDArray[Any],
    eval_x: NDArray[Any],
    *,
    task: Task,
    classes: tuple[str, ...] | list[str],
    seed: int = 0,
    features: Mapping[str, tuple[Floats, Floats, Floats]] | None = None,
) -> dict[str, Floats | str]:
    """Fit cheap models on training images and predict others.

    Args:
        train_x: (N, C, H, W) training images in any unit.
        train_y: (N,) class indices, (N, K) zeros and ones for multilabel, or (N, K) values for regression.
        val_x: (V, C, H, W) validation images, on which the strength of the penalty is picked.
        val_y: their targets, like `train_y`.
        eval_x: (M, C, H, W) images in the same unit.
        task: how classes relate to a sample, or `regression`.
        classes: the K names of classes or continuous targets.
        seed: of the choice of training images and of the principal components.
        features: further baselines by name: training, validation and other features, (samples, D) each.

    Returns:
        By baseline, (M, K) probabilities or continuous values, or the reason why it cannot be fitted. A class that
        training lacks has probability 0.
    """
    from threadpoolctl import threadpool_limits

    constant, method = ("mean_target", "ridge") if task == "regression" else ("majority", "logistic")
    names = [f"{method}_pixels", f"{method}_pca", *(f"{method}_{name}" for name in features or {})]
    truth, val_truth = (truth_matrix(target, task, len(classes)) for target in (train_y, val_y))
    predictions: dict[str, Floats | str] = {}
    if len(truth) == 0:
        return dict.fromkeys((constant, *names), "no training image")
    predictions[constant] = np.tile(truth.mean(axis=0), (len(eval_x), 1))

    chosen = np.sort(np.random.default_rng(seed).permutation(len(truth))[:MAX_TRAIN])
    truth, train, others = truth[chosen], pool(train_x[chosen]), pool(np.concatenate([val_x, eval_x]))
    if task not in ("multilabel", "regression") and (truth.any(axis=0)).sum() < 2:
        return predictions | dict.fromkeys(names, f"training holds one class only ({classes[int(truth[0].argmax())]})")
    if not (np.isfinite(train).all() and np.isfinite(others).all()):
        return predictions | dict.fromkeys(names, "images hold NaN or infinite pixels")
    # One thread: these products are small, and threads that wait for a busy core make them twenty times slower.
    with threadpool_limits(1):
        inputs = [standardise(train, others), _components(train, others, seed)]
        inputs += [standardise(a[chosen], np.concatenate([b, c])) for a, b, c in (features or {}).values()]
        for name, (fitted, others) in zip(names, inputs, strict=True):
            val, rest = others[: len(val_truth)], others[len(val_truth) :]
            predictions[name] = fit_linear(fitted, truth, val, val_truth, task)(rest)
    return predictions


def truth_matrix(target: NDArray[Any], task: Task, count: int) -> NDArray[Any]:
    """(N, count) zeros and ones, or continuous values."""
    if task == "regression":
        return np.asarray(target, dtype=np.float64)
    truth = np.asarray(target, dtype=np.int64)
    return truth if task == "multilabel" else (truth[:, None] == np.arange(count)).astype(np.int64)


def pool(images: NDArray[Any]) -> Floats:
    """(N, C, H, W) averaged over square blocks, so that no side exceeds 28: (N, features).

    Sides that are not a multiple of the block are padded with their last row or column.
    """
    images = np.asarray(images)
    height, width = images.shape[-2:]
    block = max(1, -(-max(height, width) // POOLED_SIZE))
    padding = [(0, 0), (0, 0), (0, -height % block), (0, -width % block)]
    pooled = []
    for part in np.array_split(images, max(1, len(images) // 512)):  # in parts, because padding copies
        part = np.pad(part, padding, mode="edge")
        blocks = part.reshape(*part.shape[:2], part.shape[2] // block, block, part.shape[3] // block, block)
        pooled.append(blocks.mean(axis=(3, 5), dtype=np.float64).reshape(len(part), -1))
    return np.concatenate(pooled)


def standardise(train: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Both at mean 0 and standard deviation 1 of training; constant features become 0."""
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-9 * (np.abs(mean) + 1), std, np.inf)
    return (train - mean) / scale, (others - mean) / scale


def _components(train: Floats, others: Floats, seed: int) -> tuple[Floats, Floats]:
    """Projections on the principal components of the training features."""
    from sklearn.decomposition import PCA

    pca = PCA(min(COMPONENTS, *train.shape), svd_solver="randomized", random_state=seed).fit(train)
    return standardise(pca.transform(train), pca.transform(others))


@dataclass(frozen=True)
class LinearModel:
    """Logistic or ridge regression.

    Attributes:
        weight: (K, D).
        bias: (K,); minus infinity for a class that training lacks.
        task: how outputs become predictions.
    """

    weight: Floats
    bias: Floats
    task: Task

    def __call__(self, features: NDArray[Any]) -> Floats:
        """Probabilities or continuous values (M, K) from features (M, D) on the scale of those of training."""
        return predictions_of(features.astype(np.float64, copy=False) @ self.weight.T + self.bias, self.task)


def predictions_of(outputs: Floats, task: Task) -> Floats:
    """Probabilities, or continuous values as they are, (N, K) from outputs (N, K)."""
    from scipy.special import expit, softmax

    if task == "regression":
        return outputs
    return np.asarray(expit(outputs) if task == "multilabel" else softmax(outputs, axis=1))


def fit_linear(
    train: NDArray[Any], truth: NDArray[Any], val: NDArray[Any], val_truth: NDArray[Any], task: Task
) -> LinearModel:
    """Logistic or ridge regression with the penalty that does best on validation.

    Args:
        train: (N, D) standardised features.
        truth: (N, K) as `truth_matrix` gives it, N at least 1.
        val: (V, D) features on the same scale.
        val_truth: (V, K).
        task: how classes relate to a sample; `regression` for ridge.
    """
    if task == "regression":
        fits = [_ridge(train, truth, penalty) for penalty in RIDGE_PENALTIES]
    else:
        fits = [_logistic(train, truth, task, penalty) for penalty in PENALTIES]
    return fits[int(np.argmin([loss(fit(val), val_truth, truth, task) for fit in fits]))]


def loss(predictions: Floats, truth: NDArray[Any], train_truth: NDArray[Any], task: Task) -> float:
    """Validation loss by which hyperparameters are picked; 0 without samples.

    The mean log-loss, per label for multilabel; the mean squared error of continuous targets, in units of their
    variance in training.
    """
    if not len(truth):
        return 0.0
    if task == "regression":
        scale = np.where((spread := train_truth.std(axis=0)) > 0, spread, 1.0)
        return float((((predictions - truth) / scale) ** 2).mean())
    of_truth = np.where(truth > 0, predictions, 1 - predictions)
    return float(-np.log(np.clip(of_truth, 1e-12, None)).mean())


def _ridge(train: NDArray[Any], truth: Floats, penalty: float) -> LinearModel:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / penalty).fit(train, truth)
    return LinearModel(np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_), "regression")


def _logistic(train: NDArray[Any], one_hot: NDArray[np.int64], task: Task, penalty: float) -> LinearModel:
    """One multinomial regression, or one binary regression per label."""
    if task != "multilabel":
        return LinearModel(*_fit(train, one_hot.argmax(axis=1), one_hot.shape[1], penalty), task)
    # Of two classes the first has output 0, so that the second's is the log-odds.
    fits = [_fit(train, one_hot[:, k], 2, penalty) for k in range(one_hot.shape[1])]
    weight = np.stack([weight[1] - weight[0] for weight, _ in fits])
    return LinearModel(weight, np.stack([bias[1] - bias[0] for _, bias in fits]), task)


def _fit(train: NDArray[Any], target: NDArray[np.int64], count: int, penalty: float) -> tuple[Floats, Floats]:
    """Weights (count, D) and biases of a softmax over the values 0..count-1 of `target`."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(target)
    weight, bias = np.zeros((count, train.shape[1])), np.full(count, -np.inf)
    bias[present] = 0.0
    if len(present) > 1:
        with warnings.catch_warnings():
            # On separable classes the weights never converge; the ranking does, long before.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=penalty, max_iter=ITERATIONS).fit(train.astype(np.float32, copy=False), target)
        fitted = present if len(present) > 2 else present[1:]
        weight[fitted], bias[fitted] = model.coef_, model.intercept_
    return weight, bias
