"""Whether a generator has copied: made images that lie nearer to training images than held-out real ones do.

That alone proves nothing: blurred images lie near to everything, and so do normal draws that hold no image at all.
Copies are nearer to training images than to held-out ones. Were a generator told nothing of who is in which split, the
patient whose image is nearest to a made one, of all, would be a training patient as often as any patient is; so
too among the images nearest to any, which is where some copies among many images are found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.intervals.clustered import wilson

Floats = NDArray[np.float64]

Flags = NDArray[np.bool_]

#: Where chance alone makes made images lie so near with a probability below this, in either of two ways, they are
#: flagged.
LEVEL = 0.01
#: The share of made images among which some copies are looked for.
CLOSEST = 0.1
# Real images that would be flagged at this level show that training images stand apart without any copying.
_UNLIKE_CHANCE = 0.05


@dataclass(frozen=True)
class Memorisation:
    """What nearest training images say.

    Attributes:
        told: `value`, the probability that a made image lies nearer to its nearest training image than a held-out one
            does to its own (ties count half; .5 is what no copying gives); `ci95` of it; `p_value` that chance alone
            makes it so large; `n`, `made`, `train`, `groups` and `method`; `training_nearest`, the share of made images
            to which a training image is nearer than any held-out one, and `closest`, the same of the tenth that is
            nearest to any, each with its own `ci95`, `p_value` and `no_skill`. `flagged` where both of the first two
            p-values, or the last, are below `LEVEL`.
        nearest: (M,) for each made image, the place of the nearest training image.
        apart: (M,) and how far it is.
        shares: how often a training image is the nearest, of all made images and of the closest; none where unknown.
    """

    told: dict[str, Any]
    nearest: NDArray[np.int64]
    apart: Floats
    shares: tuple["_TrainingShare", ...] = ()


def memorisation(
    train: Floats,
    train_groups: NDArray[Any],
    held_out: Floats,
    groups: NDArray[Any],
    made: Floats,
    made_groups: NDArray[Any] | None = None,
    control: tuple[Floats, NDArray[Any]] | None = None,
) -> Memorisation:
    """Compare distances to the nearest training image, and ask whose image is the nearest.

    The probability is the statistic of Mann and Whitney. Its variance is that of its placements (DeLong et al. 1988),
    summed by patient where images are real: images of one patient are alike, and so are their distances. The p-value is
    that of the excess over a half, one-sided, by Student's t with a degree of freedom less than there are patients.

    For `training_nearest` and `closest` the training patients are taken for a random sample of all: mean and variance
    of how many made images are nearest to them are those of sampling without replacement, the tail a binomial one. They
    are no such sample where the features were learned from them, or where a split is by site. Real images that nothing
    was learned from tell: where they would be flagged themselves, at 5 %, their shares are what those of made images
    are compared with instead, and the errors of both count.

    False alarms, 1,000 simulated sets of 40 patients with 3 images (`pytest -m proof -s
    tests/evaluation/test_memorisation.py`), where made images stand alone and where they are those of 40 other
    patients: at 5 %, of `value` 4.2 and 6.1 %, of `training_nearest` 4.1 and 3.2 %, of `closest` 1.7 and 1.2 %; flagged
    are .2 % of both.

    Args:
        train: (N, F) features or pixels of training images.
        train_groups: (N,) their patients.
        held_out: (V, F) of real images that were not learned from.
        groups: (V,) their patients.
        made: (M, F).
        made_groups: (M,) patients of "made" images that are real ones, such as another cohort; None where each was made
            on its own.
        control: (C, F) and (C,) of real images of other patients than the held-out ones, not learned from either, and
            their patients; None where training patients are known to be a random sample, to the features too.

    Returns:
        Its `told` has a null value and a reason where there are fewer than two held-out patients or made images, or
        where features are no numbers.
    """
    known = _Known(train, train_groups, held_out, groups, _nearest(held_out, train)[1])
    usually: tuple[_TrainingShare, ...] = ()
    if control is not None:
        real = _judged(*control, known)
        usually = real.shares if _are_suspect(real.told, _UNLIKE_CHANCE) else ()
    return _judged(made, np.arange(len(made)) if made_groups is None else made_groups, known, usually)


@dataclass(frozen=True)
class _Known:
    """Features of real images and their patients: of training, and held out, with the distances of these to those."""

    train: Floats
    train_groups: NDArray[Any]
    held_out: Floats
    groups: NDArray[Any]
    usual: Floats


def _judged(
    made: Floats, made_groups: NDArray[Any], known: _Known, usually: tuple["_TrainingShare", ...] = ()
) -> Memorisation:
    """What nearest training images say of images (M, F); `usually`: the shares that are theirs without copying."""
    from scipy.stats import t

    nearest, apart = _nearest(made, known.train)
    counts = {"n": len(known.held_out), "synthetic": len(made), "train": len(known.train)}
    counts["groups"] = len(np.unique(known.groups))
    if reason := _refusal(apart, known.usual, counts["groups"], len(np.unique(made_groups))):
        unknown = {"value": None, "ci95": None, "p_value": None, "flagged": False, "no_skill": 0.5, "method": "none"}
        return Memorisation({**unknown, **counts, "reason": reason}, nearest, apart)
    # Of each held-out image the share of made ones that lie nearer, and of each made one the share that it undercuts.
    by_held_out = _share_below(apart, known.usual)
    by_made = 1 - _share_below(known.usual, apart)
    value = float(by_held_out.mean())
    error = float(np.sqrt(_mean_variance(by_held_out, known.groups) + _mean_variance(by_made, made_groups)))
    excess = value - 0.5
    p_value = float(t.sf(excess / error, counts["groups"] - 1)) if error > 0 else float(excess <= 0)
    shares = _training_shares(made, (nearest, apart), known)
    everyone, closest = (share.told(real) for share, real in zip(shares, usually or (None, None), strict=True))
    told = {
        "value": value,
        "ci95": list(wilson(value, value * (1 - value) / error**2 if error > 0 else counts["groups"])),
        "p_value": p_value,
        **counts,
        "no_skill": 0.5,
        "method": "Mann-Whitney, cluster-robust over patients, one-sided",
        "training_nearest": everyone,
        "closest": closest,
    }
    return Memorisation({**told, "flagged": _are_suspect(told, LEVEL)}, nearest, apart, shares)


def _are_suspect(told: Mapping[str, Any], level: float) -> bool:
    """Whether chance makes images lie so near to training ones with a probability below `level`, in either way."""
    if told["value"] is None:
        return False
    both = max(told["p_value"], told["training_nearest"]["p_value"])
    return bool(both < level or told["closest"]["p_value"] < level)


@dataclass(frozen=True)
class _TrainingShare:
    """How many of some images are nearest to training patients.

    Attributes:
        value: share of the images.
        chance: share that chance gives, of all ways to choose the training patients.
        error: standard deviation of the share over these.
        count: of the images.
    """

    value: float
    chance: float
    error: float
    count: int

    def told(self, control: "_TrainingShare | None" = None) -> dict[str, Any]:
        """With the probability that chance makes it so large, or what makes it large for the control too."""
        usual, error = self.chance, self.error
        if control is not None and control.value > usual:
            usual, error = control.value, float(np.hypot(error, control.error))
        independent = self.chance * (1 - self.chance) / self.error**2 if self.error > 0 else self.count
        ci95, p_value = wilson(self.value, independent), self.tail(usual, error)
        return {"value": self.value, "ci95": list(ci95), "p_value": p_value, "n": self.count, "no_skill": usual}

    def tail(self, usual: float, error: float) -> float:
        """Probability of a share so large where it is usually another, by a binomial distribution of as much error."""
        from scipy.special import betainc

        spread = usual * (1 - usual)
        if error == 0 or spread == 0:
            return float(self.value <= usual)
        independent = spread / error**2
        above = self.value * independent
        return float(betainc(above, independent - above + 1, usual)) if above > 0 else 1.0


def _training_shares(
    images: Floats, to_train: tuple[NDArray[np.int64], Floats], known: _Known
) -> tuple[_TrainingShare, ...]:
    """Of all images (M, F), and of those that are nearest to any; `to_train`: their nearest training images."""
    (nearest, apart), (beside, beside_apart) = to_train, _nearest(images, known.held_out)
    learned = apart < beside_apart
    owners = np.where(learned, known.train_groups[nearest].astype(str), known.groups[beside].astype(str))
    patients = len(np.unique(known.train_groups)), len(np.unique(known.groups))
    first = np.argsort(np.minimum(apart, beside_apart), kind="stable")[: max(1, round(CLOSEST * len(images)))]
    return tuple(_training_share(learned[some], owners[some], patients) for some in (slice(None), first))


def _training_share(learned: Flags, owners: NDArray[Any], patients: tuple[int, int]) -> _TrainingShare:
    """How many images are nearest to training patients.

    Args:
        learned: (M,) whether the nearest real image is a training image.
        owners: (M,) its patient.
        patients: how many there are to learn from, and held out.
    """
    everyone = sum(patients)
    counts = np.unique(owners, return_counts=True)[1]
    mean = len(learned) / everyone
    spread = float((counts**2).sum() - everyone * mean**2) / (everyone - 1)
    error = float(np.sqrt(max(0.0, patients[0] * patients[1] / everyone * spread))) / len(learned)
    return _TrainingShare(float(learned.mean()), patients[0] / everyone, error, len(learned))


def _mean_variance(values: Floats, groups: NDArray[Any]) -> float:
    """Variance of the mean of values (N,) that are alike within groups (N,)."""
    names, of_group = np.unique(groups, return_inverse=True)
    residuals = np.bincount(of_group, values - values.mean())
    return float(len(names) / (len(names) - 1) * (residuals**2).sum() / len(values) ** 2)


def _refusal(apart: Floats, usual: Floats, patients: int, makers: int) -> str | None:
    if patients < 2:
        return "held-out images come from one patient: chance cannot be told"
    if makers < 2:
        return "one made image or patient: chance cannot be told"
    if not (np.isfinite(apart).all() and np.isfinite(usual).all()):
        return "some features are no numbers"
    return None


def _nearest(queries: Floats, pool: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Place of and distance to the nearest of a pool, block by block."""
    from scipy.spatial.distance import cdist

    places, apart = [], []
    for part in np.array_split(queries, max(1, len(queries) * len(pool) // 2**24 + 1)):
        distances = cdist(part, pool)
        places.append(distances.argmin(axis=1))
        apart.append(distances.min(axis=1))
    return np.concatenate(places), np.concatenate(apart)


def _share_below(values: Floats, bounds: Floats) -> Floats:
    """For each bound, the share of values below it; equal ones count half."""
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, bounds, side=side) for side in ("left", "right"))
    return np.asarray((below + upto) / 2 / len(values))
