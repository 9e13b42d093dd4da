"""Simple classifiers on features, with few labels and with many: how useful the features are for a later task.

There are two probes: `logistic` regression (`ridge`, for continuous targets), and `knn`, the k nearest neighbours. The
strength of the penalty, k and the kind of distance are picked on validation. Test features are used once all of these
are chosen, and test targets are never given.

Features are standardised over all training samples, which needs no label; only the labels of a draw are used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.baselines.linear_models import Floats, fit_linear, standardise, truth_matrix
from vesalius.metrics.baselines.nearest_neighbours import Rows, Single, nearest_neighbours

Features = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Draws = Mapping[float, Sequence[Rows]]


def probe(
    features: Mapping[str, Features],
    targets: tuple[NDArray[Any], NDArray[Any]],
    draws: Draws,
    *,
    task: Task,
    classes: Sequence[str],
    seed: int = 0,
) -> dict[str, dict[float, list[Floats]]]:
    """Predictions of both probes on every kind of features, for every draw of labels.

    Args:
        features: by kind, such as `latent`, those of training (N, D), validation (V, D) and test samples (M, D).
        targets: of training and validation: class indices, (samples, K) zeros and ones for multilabel, or
            (samples, K) values for regression.
        draws: by part of the labels, such as 0.05, the training rows whose labels are used, one array per draw.
        task: how classes relate to a sample, or `regression`.
        classes: the K names of classes or continuous targets.
        seed: decides among neighbours that are equally far.

    Returns:
        By `<kind>/<probe>` and part, for each draw (M, K) probabilities or values. A class that a draw lacks has
        probability 0.

    Raises:
        InputError: for features that are not finite or do not fit the targets, and for a draw without samples.
    """
    from threadpoolctl import threadpool_limits

    truth, val_truth = (truth_matrix(target, task, len(classes)) for target in targets)
    _check(features, (len(truth), len(val_truth)), draws)
    linear = "ridge" if task == "regression" else "logistic"
    predictions: dict[str, dict[float, list[Floats]]] = {}
    # One thread: these products are small, and threads that wait for a busy core make them twenty times slower.
    with threadpool_limits(1):
        for kind, parts in features.items():
            train, val, test = standardised = _standardised(parts)
            predictions[f"{kind}/{linear}"] = {
                part: [fit_linear(train[rows], truth[rows], val, val_truth, task)(test) for rows in drawn]
                for part, drawn in draws.items()
            }
            neighbours = nearest_neighbours(
                [standardised, _centred(parts)],
                (truth, val_truth),
                [rows for drawn in draws.values() for rows in drawn],
                task=task,
                seed=seed,
            )
            each = iter(neighbours)
            predictions[f"{kind}/knn"] = {part: [next(each) for _ in drawn] for part, drawn in draws.items()}
    return predictions


def _standardised(parts: Features) -> tuple[Single, Single, Single]:
    """On the scale where training has mean 0 and standard deviation 1."""
    train, val, test = (part.astype(np.float64, copy=False) for part in parts)
    scaled, others = standardise(train, np.concatenate([val, test]))
    return scaled.astype(np.float32), others[: len(val)].astype(np.float32), others[len(val) :].astype(np.float32)


def _centred(parts: Features) -> tuple[Single, Single, Single]:
    """Relative to the training mean, so that distances lose no digits in 32 bits."""
    mean = parts[0].mean(axis=0)
    train, val, test = ((part - mean).astype(np.float32) for part in parts)
    return train, val, test


def _check(features: Mapping[str, Features], sizes: tuple[int, int], draws: Draws) -> None:
    problems = []
    for kind, parts in features.items():
        for name, part, size in zip(("training", "validation", "test"), parts, (*sizes, len(parts[2])), strict=True):
            if len(part) != size:
                problems.append(f"{kind}: {len(part)} {name} features for {size} targets; give one row per sample.")
            if bad := int((~np.isfinite(part)).any(axis=1).sum()):
                problems.append(
                    f"{kind}: {name} features of {bad} samples are NaN or infinite; the model has diverged or its input"
                    " is broken: lower the learning rate or inspect the images."
                )
    for fraction, drawn in draws.items():
        if not all(len(rows) for rows in drawn):
            problems.append(f"{fraction:.0%} of the labels: a draw has no samples; use a larger part.")
    if problems:
        raise InputError(problems)
