"""Prediction sets that hold the true class of a new patient's sample with a chosen probability.

Split conformal prediction (Vovk, Gammerman and Shafer 2005) counts validation samples as if they were exchangeable;
those of one patient are alike, so that a hundred slices of 25 patients are worth far fewer than a hundred. Here
*patients* are exchangeable: each has the same weight, spread evenly over its samples, and the new patient one more, at
infinity (hierarchical conformal prediction: Lee, Barber and Willett, arXiv:2306.06342, 2023). A random sample of a new
patient is then covered with at least the chosen probability, whatever the model and the correlation within patients,
and at most by about 2 / (patients + 1) more. With one sample per patient it is the usual split conformal prediction.

A class is in the set where its calibrated probability reaches a threshold (Sadinle, Lei and Wasserman, JASA 114:223,
2019): the smallest sets on average. A set may be empty: then no class is as probable as the true one usually is. Of
several labels, a set holds each label that is present with the chosen probability.

N samples, K classes, G patients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import t_quantile, wilson
from vesalius.metrics.predictions import Predictions

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ConformalSets:
    """Thresholds of prediction sets.

    Attributes:
        coverage: that they are fitted for, in 0..1.
        by_class: whether each class has a threshold of its own, so that each is covered.
        thresholds: the K calibrated probabilities from which on a class is in the set; 0: it always is.
    """

    coverage: float
    by_class: bool
    thresholds: tuple[float, ...]

    def contains(self, probabilities: Floats) -> Flags:
        """Which classes are in the sets (N, K) of calibrated probabilities (N, K)."""
        return np.asarray(probabilities >= np.array(self.thresholds))

    def to_dict(self) -> dict[str, Any]:
        """As in `metrics.json`."""
        return {"coverage": self.coverage, "by_class": self.by_class, "thresholds": list(self.thresholds)}

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], classes: int) -> "ConformalSets | None":
        """Those of a run; None of a run without them.

        Args:
            metrics: the content of its `metrics.json`.
            classes: number of its classes.

        Raises:
            InputError: for an entry that is not what a run writes.
        """
        entry = metrics.get("conformal")
        if entry is None:
            return None
        try:
            coverage, thresholds = float(entry["coverage"]), tuple(map(float, entry["thresholds"]))
            whole = len(thresholds) == classes and all(0 <= value <= 1 for value in (coverage, *thresholds))
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise InputError("metrics.json: conformal is not what a run writes: evaluate the run again.")
        return cls(coverage, bool(entry.get("by_class")), thresholds)


def fit_sets(
    truth: Flags, probabilities: Floats, groups: NDArray[np.int64], coverage: float, *, by_class: bool = False
) -> ConformalSets:
    """Prediction sets for new patients like those of validation.

    Args:
        truth: (N, K) whether a sample has a class.
        probabilities: (N, K) calibrated.
        groups: (N,) number of the sample's patient.
        coverage: probability that a set holds the true class, in 0..1.
        by_class: whether the samples of each class are to be covered so, and not only those of all together.
    """
    of_class = np.arange(truth.shape[1])
    if by_class:
        values = [_threshold(probabilities[truth[:, k], k], groups[truth[:, k]], coverage) for k in of_class]
    else:
        rows, columns = np.nonzero(truth)
        values = [_threshold(probabilities[rows, columns], groups[rows], coverage)] * len(of_class)
    return ConformalSets(coverage, by_class, tuple(values))


def _threshold(probabilities: Floats, groups: NDArray[np.int64], coverage: float) -> float:
    """The highest probability that at least `coverage` of the patients' weight reaches, a new one's counted against.

    Args:
        probabilities: (M,) of the true classes.
        groups: (M,) number of their patient.
        coverage: in 0..1.

    Returns:
        0 where there are too few patients for any such probability.
    """
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(1 / sizes[place[order]]) / (len(sizes) + 1)
    enough = np.flatnonzero(reached >= coverage - 1e-9)
    return float(probabilities[order[enough[0]]]) if len(enough) else 0.0


def score_sets(sets: ConformalSets, p: Predictions) -> dict[str, MetricEntry]:
    """What prediction sets come to on test patients: means over patients, each of whom counts once.

    Args:
        sets: fitted on validation.
        p: predictions of the test split with calibrated probabilities.

    Returns:
        `coverage`, for which the chosen one takes the place of the no-skill value; `set_size`, the mean number of
        classes in a set; and `coverage/<class>`.
    """
    inside = sets.contains(p.probabilities)
    entries = {"coverage": _coverage(inside, p.truth, p.groups, sets.coverage)}
    size = inside.sum(axis=1).astype(np.float64)
    entries["set_size"] = _mean_size(size, p.groups, float(len(p.classes)), _size_without_images(sets, p.truth))
    for k, name in enumerate(p.classes):
        of_class = np.zeros_like(p.truth)
        of_class[:, k] = p.truth[:, k]
        entries[f"coverage/{name}"] = _coverage(inside, of_class, p.groups, sets.coverage)
    return entries


def _coverage(inside: Flags, truth: Flags, groups: NDArray[np.int64], wanted: float) -> MetricEntry:
    rows, columns = np.nonzero(truth)
    if not len(rows):
        return missing_entry("no sample of this class", no_skill=wanted)
    shares = patient_means(inside[rows, columns].astype(np.float64), groups[rows])
    value = float(shares.mean())
    interval = Interval(*wilson(value, _effective_patients(shares)), "Wilson over patients")
    return metric_entry(value, interval, n=len(np.unique(rows)), groups=len(shares), no_skill=wanted)


def _mean_size(sizes: Floats, groups: NDArray[np.int64], upper: float, no_skill: float) -> MetricEntry:
    means = patient_means(sizes, groups)
    if len(means) < 2:
        return missing_entry("one patient only: no interval over patients", n=len(sizes), groups=1, no_skill=no_skill)
    half = t_quantile(len(means) - 1) * float(means.std(ddof=1)) / np.sqrt(len(means))
    value = float(means.mean())
    interval = Interval(max(value - half, 0.0), min(value + half, upper), "t over patients")
    return metric_entry(value, interval, n=len(sizes), groups=len(means), no_skill=no_skill)


def _size_without_images(sets: ConformalSets, truth: Flags) -> float:
    """Mean size of the smallest sets of this coverage that hold the same classes, or draws of them, for all samples."""
    shares = np.sort(truth.sum(axis=0) / max(truth.sum(), 1))[::-1]
    if sets.by_class or not truth.any():
        return sets.coverage * len(shares)
    before = np.cumsum(shares) - shares
    with np.errstate(invalid="ignore", divide="ignore"):
        taken = np.where(shares > 0, (sets.coverage - before) / shares, 0.0)
    return float(np.clip(taken, 0, 1).sum())


def patient_means(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """(G,) mean of the values (N,) of each patient that has any."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(place, values) / sizes)


def _effective_patients(shares: Floats) -> float:
    """How many yes-or-no patients the mean of the patients' shares is worth: at least as many as there are.

    The variance of the shares is drawn towards that of patients whose samples are all alike, with the weight of half a
    patient of the rarer outcome, as in `intervals/clustered.py`.
    """
    count, mean = len(shares), float(shares.mean())
    if count < 2 or mean in (0.0, 1.0):
        return float(count)
    informative = min((shares > 0).sum(), (shares < 1).sum())
    ratio = (informative * shares.var(ddof=1) / (mean * (1 - mean)) + 0.5) / (informative + 0.5)
    return float(count / np.clip(ratio, 1e-9, 1))
