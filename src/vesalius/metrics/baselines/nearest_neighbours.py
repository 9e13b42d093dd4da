"""k nearest neighbours, fitted on several draws of the same training samples at once.

Two distances are tried, Euclidean on standardised features and on the features as they are: the first weighs all
features equally, which suits codes, the second keeps the lengths of principal components. k and the distance are picked
on validation for each draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.metrics.baselines.linear_models import Floats, loss

Rows = NDArray[np.int64]
Single = NDArray[np.float32]

#: Numbers of neighbours to pick from, as far as a draw has so many samples.
NEIGHBOURS = (1, 3, 5, 10, 20, 50)
#: Distances in memory at once: 64 MB.
MAX_DISTANCES = 2**24


@dataclass(frozen=True)
class _Choice:
    """Hyperparameters that do best on validation for one draw."""

    loss: float
    scale: int
    k: int


def nearest_neighbours(
    scales: Sequence[tuple[Single, Single, Single]],
    targets: tuple[NDArray[Any], NDArray[Any]],
    draws: Sequence[Rows],
    *,
    task: Task,
    seed: int = 0,
) -> list[Floats]:
    """Predictions for test samples, for each draw.

    Probabilities are smoothed votes: the class frequencies of the draw count as one more neighbour, so that none is 0
    for a class that the draw has. Continuous targets are the mean of the neighbours'.

    Args:
        scales: by distance to try, features of training (N, D), validation (V, D) and test (M, D).
        targets: of training (N, K) and validation (V, K), as `truth_matrix` gives them.
        draws: rows of the training samples whose targets are used, at least one per draw.
        task: how classes relate to a sample, or `regression`.
        seed: decides among neighbours that are equally far.

    Returns:
        (M, K) for each draw.
    """
    truth, val_truth = targets
    generator = np.random.default_rng(seed)
    draws = [generator.permutation(rows) for rows in draws]
    chosen = [_Choice(np.inf, 0, 1)] * len(draws)
    for scale, (train, val, _) in enumerate(scales):
        for number, near in enumerate(_neighbours(val, train, draws)):
            own = truth[draws[number]]
            for k in [k for k in NEIGHBOURS if k <= len(own)]:
                found = _Choice(loss(_vote(near, own, k, task), val_truth, own, task), scale, k)
                chosen[number] = min(chosen[number], found, key=lambda choice: choice.loss)
    predictions: list[Floats] = [np.empty((0, 0))] * len(draws)
    for scale, (train, _, test) in enumerate(scales):
        numbers = [number for number, choice in enumerate(chosen) if choice.scale == scale]
        near_each = _neighbours(test, train, [draws[number] for number in numbers]) if numbers else []
        for number, near in zip(numbers, near_each, strict=True):
            predictions[number] = _vote(near, truth[draws[number]], chosen[number].k, task)
    return predictions


def _neighbours(queries: Single, train: Single, draws: Sequence[Rows]) -> list[Rows]:
    """For each draw, places within it of the nearest samples of each query, nearest first."""
    found: list[list[Rows]] = [[] for _ in draws]
    squares = (train**2).sum(axis=1)
    for part in np.array_split(queries, max(1, -(-len(queries) * len(train) // MAX_DISTANCES))):
        # The square of the query is the same for all neighbours, so that it changes no order.
        distances = squares - 2 * (part @ train.T)
        for near, rows in zip(found, draws, strict=True):
            own, most = distances[:, rows], min(max(NEIGHBOURS), len(rows))
            places = np.argpartition(own, most - 1, axis=1)[:, :most]
            order = np.argsort(np.take_along_axis(own, places, axis=1), axis=1, kind="stable")
            near.append(np.take_along_axis(places, order, axis=1))
    return [np.concatenate(near) for near in found]


def _vote(near: Rows, truth: NDArray[Any], k: int, task: Task) -> Floats:
    """(Q, K) predictions from the k nearest."""
    total = truth[near[:, :k]].sum(axis=1, dtype=np.float64)
    if task == "regression":
        return np.asarray(total / k)
    return np.asarray((total + truth.mean(axis=0)) / (k + 1))
