"""Ranking metrics of a cross-validation: the means of the folds' own.

A fold is tested by a model of its own, and scores of different models do not compare: pooled, two folds of perfect
ranking whose scores lie apart look bad, and models that predict the class frequencies of their training folds rank
every sample the wrong way round (Parker, Günter and Bedo, BMC Bioinformatics 8:326, 2007). Decisions do compare:
metrics of the confusion matrix are taken over the samples of all folds.

Coverage: `pytest -m proof -s tests/proofs/test_fold_coverage.py`.

N samples, G patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.classification.no_skill import random_average_precision
from vesalius.metrics.entry import Interval
from vesalius.metrics.intervals.auroc import auroc_interval, fold_method, no_spread_interval
from vesalius.metrics.intervals.clustered import logit_interval
from vesalius.metrics.intervals.influence import (
    Influence,
    auroc_gradient,
    average_precision_gradient,
    influence,
    mean_influence,
)
from vesalius.metrics.predictions import Predictions

_GRADIENTS = {"auroc": auroc_gradient, "average_precision": average_precision_gradient}
#: Patients of a class, and without it, that there must be beyond one per fold. With one, the spread within folds rests
#: on a single pair, and 95 % intervals hold the truth in 87 to 91 % where patients have several images.
_SPARE = 2


@dataclass(frozen=True)
class FoldMean:
    """A ranking metric's mean over folds, and over classes where it is of several.

    Attributes:
        moved: its value, and the influence of each patient.
        interval: over patients.
        no_skill: mean over the folds of each one's no-skill value.
    """

    moved: Influence
    interval: Interval
    no_skill: float


def fold_mean(p: Predictions, metric: str, columns: Sequence[int], folds: NDArray[np.int64]) -> FoldMean:
    """The mean over folds of `auroc` or `average_precision`.

    Args:
        p: predictions of all folds, for which `why_no_fold_mean` has no reason.
        metric: its name without a class.
        columns: places of the classes that it is a mean over, each against the rest.
        folds: (N,) number of the fold that tested each sample, 0..F-1.
    """
    truth, scores = p.truth[:, columns], p.probabilities[:, columns]
    gradient = _GRADIENTS[metric]
    moved = mean_influence(
        [influence(gradient, truth[:, k], scores[:, k], p.groups, folds) for k in range(len(columns))]
    )
    if metric == "auroc":
        return FoldMean(moved, auroc_interval(truth, scores, p.groups, folds), 0.5)
    sizes = np.bincount(folds)
    positives = np.stack([np.bincount(folds, truth[:, k]) for k in range(len(columns))], axis=1)
    no_skill = float(random_average_precision(positives, sizes[:, None]).mean())
    method = fold_method(moved)
    if moved.variance < 1e-24:
        return FoldMean(moved, no_spread_interval(moved.value, truth, p.groups, method), no_skill)
    ends = logit_interval(moved.value, float(np.sqrt(moved.variance)), moved.degrees)
    return FoldMean(moved, Interval(*ends, method), no_skill)


def why_no_fold_mean(p: Predictions, metric: str, columns: Sequence[int], folds: NDArray[np.int64]) -> str | None:
    """Why a ranking metric has no mean over folds, or that has no interval; None where it has.

    Args:
        p: predictions of all folds.
        metric: its name without a class.
        columns: places of the classes that it is a mean over.
        folds: (N,) number of the fold that tested each sample, 0..F-1.
    """
    count = int(folds.max()) + 1
    for k in columns:
        for word, side in (("of", p.truth[:, k]), ("without", ~p.truth[:, k])):
            other = p.task == "binary" and word == "without"
            which = f"of class {p.classes[1 - k]}" if other else f"{word} class {p.classes[k]}"
            if lacking := count - len(np.unique(folds[side])):
                return (
                    f"{lacking} of {count} folds have no sample {which}, so there is no {metric} of each, and scores "
                    "of different models cannot be pooled: use fewer folds"
                )
            if (patients := len(np.unique(p.groups[side]))) < count + _SPARE:
                return (
                    f"{count} folds have {patients} patients with samples {which}, too few for an interval of the "
                    f"folds' mean {metric}: use at most {max(patients - _SPARE, 1)} folds"
                )
    return None
