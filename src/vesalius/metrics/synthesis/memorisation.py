"""Whether a generator has copied: synthetic images that lie nearer to training images than held-out real ones do.

That by itself proves nothing: blurred images lie near to everything, and so do normal draws that hold no image at all.
Copies are nearer to training images than to held-out ones. If a generator knew nothing of which patient is in which
split, the patient with the image nearest to a synthetic one would be a training patient as often as any patient is;
this holds too for the synthetic images that are nearest to any real one, among which a few copies are found.
"""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.intervals.clustered import wilson

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Synthetic images are flagged where chance explains their nearness with a probability below this, by either of two
#: criteria.
LEVEL = 0.01
#: Share of synthetic images, those nearest to any real one, among which a few copies are looked for.
CLOSEST = 0.1
# Real images that would be flagged at this level show that training images stand apart without any copying.
_UNLIKE_CHANCE = 0.05


class ShareEntry(TypedDict):
    """Share of synthetic images whose nearest real image is a training image.

    Attributes:
        value: the share.
        ci95: its 95 % interval.
        p_value: probability that chance makes it so large.
        n: number of synthetic images.
        no_skill: share without copying.
    """

    value: float
    ci95: list[float]
    p_value: float
    n: int
    no_skill: float


class MemorisationEntry(TypedDict):
    """The entry `memorisation` of `metrics.json`.

    Attributes:
        value: probability that a synthetic image lies nearer to its nearest training image than a held-out real image
            does to its own; ties count half. .5 without copying; None where it cannot be computed.
        ci95: its 95 % interval.
        p_value: probability that chance makes the value so large.
        n: number of held-out real images.
        synthetic: number of synthetic images.
        train: number of training images.
        groups: number of patients of the held-out images.
        no_skill: .5.
        method: of the interval.
        flagged: whether both `p_value` and that of `training_nearest`, or that of `closest`, are below `LEVEL`.
        training_nearest: of all synthetic images, the share to which a training image is nearer than any held-out one.
        closest: the same for the tenth of the synthetic images that is nearest to any real image.
        reason: why the value is missing.
    """

    value: float | None
    ci95: list[float] | None
    p_value: float | None
    n: int
    synthetic: int
    train: int
    groups: int
    no_skill: float
    method: str
    flagged: bool
    training_nearest: NotRequired[ShareEntry]
    closest: NotRequired[ShareEntry]
    reason: NotRequired[str]


@dataclass(frozen=True)
class Memorisation:
    """Synthetic images and their nearest training images.

    Attributes:
        entry: numbers for `metrics.json`.
        nearest: (M,) for each synthetic image, the place of the nearest training image.
        distance: (M,) distance to it.
        shares: how often a training image is the nearest, of all synthetic images and of the closest; empty where
            unknown.
    """

    entry: MemorisationEntry
    nearest: NDArray[np.int64]
    distance: Floats
    shares: tuple["TrainingShare", ...] = ()


def memorisation(
    train: Floats,
    train_groups: NDArray[Any],
    held_out: Floats,
    groups: NDArray[Any],
    synthetic: Floats,
    synthetic_groups: NDArray[Any] | None = None,
    control: tuple[Floats, NDArray[Any]] | None = None,
) -> Memorisation:
    """Compare distances to the nearest training image, and count whose image is the nearest.

    The probability is the statistic of Mann and Whitney. Its variance is that of its placements (DeLong et al. 1988),
    summed by patient where images are real: images of one patient are alike, and so are their distances. The p-value is
    that of the excess over a half, one-sided, by Student's t with one degree of freedom less than there are patients.

    For `training_nearest` and `closest` the training patients are taken for a random sample of all: mean and variance
    of the number of synthetic images nearest to them are those of sampling without replacement, the tail a binomial
    one. They are no such sample where the features were learned from them, or where a split is by site. Real images
    that nothing was learned from show this: where they would be flagged themselves, at 5 %, the shares of synthetic
    images are compared with theirs instead, and the errors of both count.

    False alarms, 1,000 simulated sets of 40 patients with 3 images (`pytest -m proof -s
    tests/metrics/synthesis/test_memorisation.py`), where synthetic images are independent and where they are those of
    40 other patients: at 5 %, of `value` 4.2 and 6.1 %, of `training_nearest` 4.1 and 3.2 %, of `closest` 1.7 and
    1.2 %; flagged are .2 % of both.

    Args:
        train: (N, F) features or pixels of training images.
        train_groups: (N,) their patients.
        held_out: (V, F) of real images that were not learned from.
        groups: (V,) their patients.
        synthetic: (M, F) of synthetic images.
        synthetic_groups: (M,) patients of "synthetic" images that are real ones, such as another cohort; None where
            each was generated by itself.
        control: (C, F) and (C,) of real images of other patients than the held-out ones, not learned from either, and
            their patients; None where training patients are known to be a random sample, to the features too.

    Returns:
        Its `entry` has no value and a reason where there are fewer than two held-out patients or synthetic images, or
        where features are not finite.
    """
    known = _Known(train, train_groups, held_out, groups, _nearest(held_out, train)[1])
    usual: tuple[TrainingShare, ...] = ()
    if control is not None:
        real = _compare(*control, known)
        usual = real.shares if _are_suspect(real.entry, _UNLIKE_CHANCE) else ()
    synthetic_groups = np.arange(len(synthetic)) if synthetic_groups is None else synthetic_groups
    return _compare(synthetic, synthetic_groups, known, usual)


@dataclass(frozen=True)
class _Known:
    """Features of real images and their patients.

    Attributes:
        train: (N, F) of training images.
        train_groups: (N,).
        held_out: (V, F).
        groups: (V,).
        usual: (V,) distance of each held-out image to its nearest training image.
    """

    train: Floats
    train_groups: NDArray[Any]
    held_out: Floats
    groups: NDArray[Any]
    usual: Floats


def _compare(
    images: Floats, image_groups: NDArray[Any], known: _Known, usual: tuple["TrainingShare", ...] = ()
) -> Memorisation:
    """Compare images (M, F) of patients (M,) with known ones; `usual`: the shares that are theirs without copying."""
    from scipy.stats import t

    nearest, distance = _nearest(images, known.train)
    patients = len(np.unique(known.groups))
    entry: MemorisationEntry = {
        "value": None,
        "ci95": None,
        "p_value": None,
        "n": len(known.held_out),
        "synthetic": len(images),
        "train": len(known.train),
        "groups": patients,
        "no_skill": 0.5,
        "method": "none",
        "flagged": False,
    }
    if reason := _why_undefined(distance, known.usual, patients, len(np.unique(image_groups))):
        return Memorisation(entry | {"reason": reason}, nearest, distance)
    # Of each held-out image the share of images that lie nearer, and of each image the share that it undercuts.
    by_held_out = _share_below(distance, known.usual)
    by_image = 1 - _share_below(known.usual, distance)
    value = float(by_held_out.mean())
    error = float(np.sqrt(_mean_variance(by_held_out, known.groups) + _mean_variance(by_image, image_groups)))
    excess = value - 0.5
    p_value = float(t.sf(excess / error, patients - 1)) if error > 0 else float(excess <= 0)
    shares = _training_shares(images, (nearest, distance), known)
    everyone, closest = (share.entry(real) for share, real in zip(shares, usual or (None, None), strict=True))
    entry |= {
        "value": value,
        "ci95": list(wilson(value, value * (1 - value) / error**2 if error > 0 else patients)),
        "p_value": p_value,
        "method": "Mann-Whitney, cluster-robust over patients, one-sided",
        "training_nearest": everyone,
        "closest": closest,
    }
    return Memorisation(entry | {"flagged": _are_suspect(entry, LEVEL)}, nearest, distance, shares)


def _are_suspect(entry: MemorisationEntry, level: float) -> bool:
    """Whether images lie nearer to training images than chance explains at a level, by either criterion."""
    if entry["p_value"] is None:
        return False
    both = max(entry["p_value"], entry["training_nearest"]["p_value"])
    return bool(both < level or entry["closest"]["p_value"] < level)


@dataclass(frozen=True)
class TrainingShare:
    """How many of some images are nearest to training patients.

    Attributes:
        value: share of the images.
        chance: share that chance gives, over all ways to choose the training patients.
        error: standard deviation of the share over these.
        count: number of the images.
    """

    value: float
    chance: float
    error: float
    count: int

    def entry(self, control: "TrainingShare | None" = None) -> ShareEntry:
        """With the probability that it is so large by chance, or by whatever makes that of `control` large."""
        usual, error = self.chance, self.error
        if control is not None and control.value > usual:
            usual, error = control.value, float(np.hypot(error, control.error))
        independent = self.chance * (1 - self.chance) / self.error**2 if self.error > 0 else self.count
        ci95, p_value = wilson(self.value, independent), self._tail(usual, error)
        return {"value": self.value, "ci95": list(ci95), "p_value": p_value, "n": self.count, "no_skill": usual}

    def _tail(self, usual: float, error: float) -> float:
        """Probability of a share at least this large where `usual` is expected, by a binomial with this error."""
        from scipy.special import betainc

        spread = usual * (1 - usual)
        if error == 0 or spread == 0:
            return float(self.value <= usual)
        independent = spread / error**2
        above = self.value * independent
        return float(betainc(above, independent - above + 1, usual)) if above > 0 else 1.0


def _training_shares(
    images: Floats, to_train: tuple[NDArray[np.int64], Floats], known: _Known
) -> tuple[TrainingShare, ...]:
    """Of all images (M, F), and of those nearest to any; `to_train`: their nearest training images and distances."""
    (nearest, distance), (other, other_distance) = to_train, _nearest(images, known.held_out)
    learned = distance < other_distance
    owners = np.where(learned, known.train_groups[nearest].astype(str), known.groups[other].astype(str))
    patients = len(np.unique(known.train_groups)), len(np.unique(known.groups))
    first = np.argsort(np.minimum(distance, other_distance), kind="stable")[: max(1, round(CLOSEST * len(images)))]
    return tuple(_training_share(learned[some], owners[some], patients) for some in (slice(None), first))


def _training_share(learned: Flags, owners: NDArray[Any], patients: tuple[int, int]) -> TrainingShare:
    """How many images are nearest to training patients.

    Args:
        learned: (M,) whether the nearest real image is a training image.
        owners: (M,) its patient.
        patients: how many there are in training, and held out.
    """
    everyone = sum(patients)
    counts = np.unique(owners, return_counts=True)[1]
    mean = len(learned) / everyone
    spread = float((counts**2).sum() - everyone * mean**2) / (everyone - 1)
    error = float(np.sqrt(max(0.0, patients[0] * patients[1] / everyone * spread))) / len(learned)
    return TrainingShare(float(learned.mean()), patients[0] / everyone, error, len(learned))


def _mean_variance(values: Floats, groups: NDArray[Any]) -> float:
    """Variance of the mean of values (N,) that are alike within groups (N,)."""
    names, of_group = np.unique(groups, return_inverse=True)
    residuals = np.bincount(of_group, values - values.mean())
    return float(len(names) / (len(names) - 1) * (residuals**2).sum() / len(values) ** 2)


def _why_undefined(distance: Floats, usual: Floats, patients: int, synthetic: int) -> str | None:
    if patients < 2:
        return "held-out images come from one patient: no test over patients"
    if synthetic < 2:
        return "one synthetic image: nothing to test"
    if not (np.isfinite(distance).all() and np.isfinite(usual).all()):
        return "some features are not finite"
    return None


def _nearest(queries: Floats, pool: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Place of and distance to the nearest of a pool, block by block."""
    from scipy.spatial.distance import cdist

    places, nearest = [], []
    for part in np.array_split(queries, max(1, len(queries) * len(pool) // 2**24 + 1)):
        distances = cdist(part, pool)
        places.append(distances.argmin(axis=1))
        nearest.append(distances.min(axis=1))
    return np.concatenate(places), np.concatenate(nearest)


def _share_below(values: Floats, bounds: Floats) -> Floats:
    """For each bound, the share of values below it; equal ones count half."""
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, bounds, side=side) for side in ("left", "right"))
    return np.asarray((below + upto) / 2 / len(values))
