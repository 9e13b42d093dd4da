"""Interval of an AUROC, or of the mean over classes of one-against-the-rest AUROCs, over patients.

Cluster DeLong variance (Obuchowski, Biometrics 53:567, 1997: the influence of each sample, summed by patient), logit
scale, t quantile with Satterthwaite's degrees of freedom from the effective number of patients on each side. Over the
folds of a cross-validation it is the interval of the mean of the folds' AUROCs (`influence.py`).

A quarter of the variance is that of binormal scores with the same AUROC (Hanley & McNeil, Radiology 143:29, 1982,
times the design effect) where this is larger: near 1, few samples are misranked and the plain estimate vanishes.

Coverage at AUROC .80 and .90 with 60 and 200 patients, 27 to 50 % positive, without repeats or half the patients with
2 to 5 images, 3,000 simulated sets per case (`pytest -m proof -s tests/metrics/intervals/test_coverage.py`): 94.3 to
96.9 % for normal scores and 93.7 to 97.7 % for bimodal ones, as a confident network gives; at .97 and .99, 96.0 to
98.6 %. Tried and rejected: no binormal share (at .97 down to 91.5 %); half (at .90 up to 98.2 %); only the binormal
score interval (Newcombe, Stat Med 25:559, 2006: bimodal scores 66 to 86 %).
"""

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import Interval
from vesalius.metrics.groups import effective_groups
from vesalius.metrics.intervals.clustered import logit_interval, wilson
from vesalius.metrics.intervals.influence import Influence, auroc_gradient, influence, mean_influence

Floats = NDArray[np.float64]

#: Weight of the binormal variance where it is the larger one.
BINORMAL_SHARE = 0.25


def auroc_interval(
    truth: NDArray[np.bool_], scores: Floats, groups: NDArray[np.int64], folds: NDArray[np.int64] | None = None
) -> Interval:
    """Interval of the mean AUROC of K columns.

    Args:
        truth: (N, K) positives of each column; each has positives and negatives of at least 2 patients.
        scores: (N, K), higher for positives.
        groups: (N,) number of the sample's patient.
        folds: (N,) number of the fold that tested it, 0..F-1, where the value is a mean over folds; see `influence` for
            what each must hold.
    """
    folds = np.zeros(len(groups), dtype=np.int64) if folds is None else folds
    columns = [influence(auroc_gradient, truth[:, k], scores[:, k], groups, folds) for k in range(truth.shape[1])]
    moved = mean_influence(columns)
    method = fold_method(moved) if folds.any() else "cluster DeLong, logit"
    if moved.variance < 1e-24 and (moved.value in (0, 1) or np.ptp(moved.fold_values) == 0):
        return no_spread_interval(moved.value, truth, groups, method)
    images = np.arange(len(groups))
    of_images = [influence(auroc_gradient, truth[:, k], scores[:, k], images, folds) for k in range(truth.shape[1])]
    per_image = sum(column.variance for column in of_images)
    repeats = max(1.0, moved.variance * len(columns) ** 2 / per_image) if per_image else 1.0
    binormal = repeats * _binormal_variance(np.array([column.value for column in columns]), truth, folds)
    variance = max(moved.variance, (1 - BINORMAL_SHARE) * moved.variance + BINORMAL_SHARE * binormal)
    return Interval(*logit_interval(moved.value, float(np.sqrt(variance)), moved.degrees), method)


def no_spread_interval(value: float, truth: NDArray[np.bool_], groups: NDArray[np.int64], method: str) -> Interval:
    """Interval of a ranking metric that no patient moves; parameters as in `auroc_interval`."""
    if 0 < value < 1:  # scores that are all equal: every resample gives the same value
        return Interval(value, value, method)
    fewest = min(effective_groups(side[:, k], groups) for side in (truth, ~truth) for k in range(truth.shape[1]))
    return Interval(*wilson(value, min(fewest * truth.shape[1], float(groups.max() + 1))), method)


def fold_method(moved: Influence) -> str:
    """Name of the method of the interval of a mean over folds."""
    return f"mean of {len(moved.fold_values)} folds, influence functions over patients"


def _binormal_variance(values: Floats, truth: NDArray[np.bool_], folds: NDArray[np.int64]) -> float:
    """Variance over images of the mean over columns and folds of AUROCs; (K,) values of the columns."""
    positives = np.stack([truth[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])
    negatives = np.bincount(folds)[:, None] - positives
    return float(_hanley_mcneil(values, positives, negatives).sum()) / positives.size**2


def _hanley_mcneil(value: Floats, m: NDArray[np.int64], n: NDArray[np.int64]) -> Floats:
    """Variance of an AUROC under exponential scores, with equal m and n in its last terms (Newcombe 2006)."""
    extra = (m + n) / 2 - 1
    return np.asarray(
        value * (1 - value) / (m * n) * (1 + extra * (1 - value) / (2 - value) + extra * value / (1 + value))
    )
