"""What cheap methods reach on the same split: the bar that a network has to clear.

`majority` answers the class frequencies of the training set. `logistic_pixels` is logistic regression on the pixels,
averaged down to at most 28 x 28 and standardised; `logistic_pca` on their first 64 principal components, standardised.
Quantities are answered by `mean_target`, `ridge_pixels` and `ridge_pca`. A series counts as an image whose channels are
its frames.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Task

Floats = NDArray[np.float64]

#: Images of at most this height and width go into the regressions.
POOLED_SIZE = 28
#: Training images beyond this number change a linear model little and cost time: a random part is used.
MAX_TRAIN = 5000
COMPONENTS = 64
ITERATIONS = 200
#: scikit-learn's C; each regression takes the one whose validation loss is lowest. Ridge takes its reciprocals, for the
#: sum over samples that scikit-learn weighs against the penalty is of squares there.
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
    """Fit on training images, answer for others.

    Args:
        train_x: (N, C, H, W) training images in any unit.
        train_y: (N,) class indices, (N, K) zeros and ones for multilabel, or (N, K) quantities for regression.
        val_x: (V, C, H, W) validation images, which pick the strength of the penalty.
        val_y: their targets, like `train_y`.
        eval_x: (M, C, H, W) images in the same unit.
        task: what the classes are to each other.
        classes: the K class names.
        seed: of the choice of training images and of the principal components.
        features: further arms: training, validation and other features, (samples, D) each.

    Returns:
        By baseline, (M, K) probabilities (or quantities), or one sentence that says why there are none. A class that
        training lacks has probability 0.
    """
    from threadpoolctl import threadpool_limits

    constant, method = ("mean_target", "ridge") if task == "regression" else ("majority", "logistic")
    names = [f"{method}_pixels", f"{method}_pca", *(f"{method}_{name}" for name in features or {})]
    truth, val_truth = (_truth(target, task, len(classes)) for target in (train_y, val_y))
    answers: dict[str, Floats | str] = {}
    if len(truth) == 0:
        return dict.fromkeys((constant, *names), "no training image")
    answers[constant] = np.tile(truth.mean(axis=0), (len(eval_x), 1))

    chosen = np.sort(np.random.default_rng(seed).permutation(len(truth))[:MAX_TRAIN])
    truth, train, others = truth[chosen], pool(train_x[chosen]), pool(np.concatenate([val_x, eval_x]))
    if task not in ("multilabel", "regression") and (truth.any(axis=0)).sum() < 2:
        return answers | dict.fromkeys(names, f"training holds one class only ({classes[int(truth[0].argmax())]})")
    if not (np.isfinite(train).all() and np.isfinite(others).all()):
        return answers | dict.fromkeys(names, "images hold NaN or infinite pixels")
    # One thread: these products are small, and threads that wait for a busy core make them twenty times slower.
    with threadpool_limits(1):
        inputs = [_standardise(train, others), _components(train, others, seed)]
        inputs += [_standardise(a[chosen], np.concatenate([b, c])) for a, b, c in (features or {}).values()]
        for name, (fitted, answered) in zip(names, inputs, strict=True):
            answers[name] = _picked(fitted, answered, truth, val_truth, task)
    return answers


def _truth(target: NDArray[Any], task: Task, count: int) -> NDArray[Any]:
    """(N, count) zeros and ones, or quantities."""
    if task == "regression":
        return np.asarray(target, dtype=np.float64)
    truth = np.asarray(target, dtype=np.int64)
    return truth if task == "multilabel" else (truth[:, None] == np.arange(count)).astype(np.int64)


def pool(images: NDArray[Any]) -> Floats:
    """(N, C, H, W) averaged over square blocks, so that no side exceeds 28: (N, features).

    Sides that the block does not divide are continued with their last row or column.
    """
    images = np.asarray(images)
    height, width = images.shape[-2:]
    block = max(1, -(-max(height, width) // POOLED_SIZE))
    padding = [(0, 0), (0, 0), (0, -height % block), (0, -width % block)]
    pooled = []
    for part in np.array_split(images, max(1, len(images) // 512)):  # a part at a time: padding copies
        part = np.pad(part, padding, mode="edge")
        blocks = part.reshape(*part.shape[:2], part.shape[2] // block, block, part.shape[3] // block, block)
        pooled.append(blocks.mean(axis=(3, 5), dtype=np.float64).reshape(len(part), -1))
    return np.concatenate(pooled)


def _standardise(train: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Mean 0 and standard deviation 1 in training; constant pixels become 0."""
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-9 * (np.abs(mean) + 1), std, np.inf)
    return (train - mean) / scale, (others - mean) / scale


def _components(train: Floats, others: Floats, seed: int) -> tuple[Floats, Floats]:
    """Projections on the principal components of the training features."""
    from sklearn.decomposition import PCA

    pca = PCA(min(COMPONENTS, *train.shape), svd_solver="randomized", random_state=seed).fit(train)
    return _standardise(pca.transform(train), pca.transform(others))


def _picked(train: Floats, others: Floats, truth: NDArray[Any], val_truth: NDArray[Any], task: Task) -> Floats:
    """(M, K) answers of the regression that does best on validation, which `others` begins with."""
    size = len(val_truth)
    if task == "regression":
        fits = [_ridge(train, others, truth, penalty) for penalty in RIDGE_PENALTIES]
        scale = np.where((spread := truth.std(axis=0)) > 0, spread, 1.0)
        losses = [float((((fit[:size] - val_truth) / scale) ** 2).mean()) if size else 0.0 for fit in fits]
    else:
        fits = [_logistic(train, others, truth, task, penalty) for penalty in PENALTIES]
        losses = [_log_loss(fit[:size], val_truth) for fit in fits]
    return fits[int(np.argmin(losses))][size:]


def _log_loss(probabilities: Floats, truth: NDArray[np.int64]) -> float:
    """Mean log-loss, of labels on their own for multilabel; 0 without samples."""
    right = np.where(truth > 0, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(right, 1e-12, None)).mean()) if len(truth) else 0.0


def _ridge(train: Floats, others: Floats, truth: Floats, penalty: float) -> Floats:
    """(M, K) quantities."""
    from sklearn.linear_model import Ridge

    answers = Ridge(alpha=1 / penalty).fit(train, truth).predict(others)
    return np.asarray(answers).reshape(len(others), -1)


def _logistic(train: Floats, others: Floats, one_hot: NDArray[np.int64], task: Task, penalty: float) -> Floats:
    """(M, K) probabilities of a multinomial regression, or of one regression a label."""
    if task != "multilabel":
        return _fit(train, one_hot.argmax(axis=1), others, one_hot.shape[1], penalty)
    return np.column_stack([_fit(train, one_hot[:, k], others, 2, penalty)[:, 1] for k in range(one_hot.shape[1])])


def _fit(train: Floats, target: NDArray[np.int64], others: Floats, count: int, penalty: float) -> Floats:
    """(M, count) probabilities of the values 0..count-1 of `target`; of a single value, certainty."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(target)
    probabilities = np.zeros((len(others), count))
    if len(present) == 1:
        probabilities[:, present[0]] = 1.0
        return probabilities
    with warnings.catch_warnings():
        # On separable classes the weights grow slowly for ever; the ranking is settled long before.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=penalty, max_iter=ITERATIONS).fit(train.astype(np.float32), target)
    probabilities[:, present] = model.predict_proba(others.astype(np.float32))
    return probabilities
