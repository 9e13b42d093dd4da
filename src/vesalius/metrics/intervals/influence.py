"""How much each patient moves a ranking metric, of one class against the rest: its influence function.

Models of different folds do not share a scale of scores, so the metric of a cross-validation is the mean of the folds'
own, and so is its influence function (LeDell, Petersen and van der Laan, Electronic Journal of Statistics 9:1583, 2015,
here with the influences of a patient's samples summed). A single split is one fold.

N samples, G patients, F folds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.groups import effective_groups

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
#: (N,) positives and (N,) scores to the metric, and (N,) its derivatives by the weights of the samples.
Gradient = Callable[[Flags, Floats], tuple[float, Floats]]


def auroc_gradient(truth: Flags, scores: Floats) -> tuple[float, Floats]:
    """The AUROC, ties counting half, and its derivatives by the weights of the samples: DeLong's components."""
    positives, negatives = np.sort(scores[truth]), np.sort(scores[~truth])
    m, n = len(positives), len(negatives)
    wins = _share_below(scores[truth], negatives)  # share of the negatives each positive beats
    losses = 1 - _share_below(scores[~truth], positives)
    value = float(wins.mean())
    gradient = np.empty(len(truth))
    gradient[truth], gradient[~truth] = (wins - value) / m, (losses - value) / n
    return value, gradient


def _share_below(scores: Floats, others: Floats) -> Floats:
    """Share of the sorted others that each score exceeds; equal ones count half."""
    below, upto = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * len(others)))


def average_precision_gradient(truth: Flags, scores: Floats) -> tuple[float, Floats]:
    """The average precision, equal scores being one step, and its derivatives by the weights of the samples."""
    levels, place = np.unique(-scores, return_inverse=True)
    positives = np.bincount(place, truth, len(levels))
    called = np.bincount(place, minlength=len(levels)).cumsum()
    precision = positives.cumsum() / called
    m = positives.sum()
    value = float((positives * precision).sum() / m)
    # A sample is called positive at its own score and at every lower one, and changes the precision there.
    gained = (positives / called)[::-1].cumsum()[::-1]
    lost = (positives * precision / called)[::-1].cumsum()[::-1]
    gradient = truth * (precision[place] - value + gained[place]) - lost[place]
    return value, np.asarray(gradient / m)


@dataclass(frozen=True)
class Influence:
    """A ranking metric's mean over folds, and what it varies with.

    Attributes:
        fold_values: (F,) the metric of each fold.
        of_patients: (G,) influence of each patient; the squares sum to the variance over patients.
        sides: of positives and of negatives, the variance that comes from them and its degrees of freedom.
    """

    fold_values: Floats
    of_patients: Floats
    sides: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """Mean over the folds."""
        return float(self.fold_values.mean())

    @property
    def variance(self) -> float:
        """Variance of the value over patients."""
        return float((self.of_patients**2).sum())

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance (Satterthwaite)."""
        total = sum(part for part, _ in self.sides)
        if total == 0:
            return min(degrees for _, degrees in self.sides)
        return total**2 / sum(part**2 / degrees for part, degrees in self.sides)


def mean_influence(classes: Sequence[Influence]) -> Influence:
    """That of the mean over classes of one metric."""
    return Influence(
        np.mean([one.fold_values for one in classes], axis=0),
        np.mean([one.of_patients for one in classes], axis=0),
        tuple((part / len(classes) ** 2, degrees) for one in classes for part, degrees in one.sides),
    )


def influence(gradient_of: Gradient, truth: Flags, scores: Floats, groups: Numbers, folds: Numbers) -> Influence:
    """The influence of each patient on the mean over folds of a metric of one class.

    Args:
        gradient_of: the metric of one fold.
        truth: (N,) positives; each fold has positives and negatives, and there are more patients with positives, and
            with negatives, than folds.
        scores: (N,), higher for positives.
        groups: (N,) number of the sample's patient.
        folds: (N,) number of the fold that tested it, 0..F-1.
    """
    count = int(folds.max()) + 1
    values, gradient = np.empty(count), np.empty(len(truth))
    for fold in range(count):
        own = folds == fold
        values[fold], gradient[own] = gradient_of(truth[own], scores[own])
    gradient /= count
    of_patients, sides = np.zeros(int(groups.max()) + 1), []
    for side in (truth, ~truth):
        members = [side & (folds == fold) for fold in range(count)]
        patients = [np.flatnonzero(np.bincount(groups[member])) for member in members]
        wider = np.sqrt(_widening([len(owners) for owners in patients]))
        sums, degrees = np.zeros(len(of_patients)), 0.0
        for member, owners in zip(members, patients, strict=True):
            of_each = np.bincount(groups[member], gradient[member])[owners]
            mean = of_each.mean()
            sums[owners] += mean + wider * (of_each - mean)
            degrees += effective_groups(member, groups) - 1
        of_patients += sums
        sides.append((float((sums**2).sum()), max(degrees, 1.0)))
    return Influence(values, of_patients, tuple(sides))


def _widening(counts: Sequence[int]) -> float:
    """Factor on squares about the means of parts with these counts, since the means were estimated from them too.

    It is n / (n - 1) for one part. The variance within parts is taken to be equal, so that a part of one patient, whose
    own cannot be seen, gets that of the others.
    """
    n = np.array(counts, dtype=np.float64)
    return float((1 / n).sum() / ((n - 1) / n**2).sum())
