"""How near made images come to real ones, in the features of some extractor, with intervals.

Both kinds of samples vary: real ones by patients, made ones one by one. A bootstrap would repeat samples, and a sample
that is there twice is its own nearest neighbour, so parts are drawn without replacement:

* Fréchet and kernel distance: delete-a-group jackknife (Shao and Tu 1995, The Jackknife and Bootstrap, ch. 2), in 20
  blocks of patients and 20 of made samples, whose variances add.
* Neighbour metrics, which are not smooth: halves of patients beside halves of made samples (Shao and Tu, ch. 2.3), in
  pairs that complete each other. Half a sample varies about all of it as all of it does about the population.

No number is corrected for the number of samples: Fréchet distances fall as samples grow, so that only numbers from
equally many can be compared. An interval is of what so many samples give on average.

Coverage with 60 and 100 patients of 4 images each, 8 and 32 features, 200 simulated sets a case (`pytest -m proof -s
tests/evaluation/test_synthesis.py`): where made samples are off by half a standard deviation, 92.0 to 98.0 %
(`coverage` up to 99.5 %); where they are drawn as the real ones are, 98.5 to 100 % for Fréchet and kernel distance,
whose intervals are then half as wide again as they need be, and 91.5 to 100 % for the others. Tried and left: the
jackknife for neighbour metrics, up to twice too wide; half-samples for Fréchet and kernel distance, up to 1.9 times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import t_quantile, wilson
from vesalius.metrics.intervals.scales import scale_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SYNTHESIS_METRICS = ("frechet_distance", "kid", "manifold_precision", "manifold_recall", "density", "coverage")
#: Neighbours within which something lies on a manifold; 5 as in Naeem et al. 2020.
NEIGHBOURS = 5
_BLOCKS = 20
_FEWEST_GROUPS = 5
_ROWS = 512  # of a kernel matrix that is held at once
_METHODS = {
    "frechet_distance": "group jackknife, {draws} blocks; not corrected for n",
    "kid": "group jackknife, {draws} blocks",
}


@dataclass(frozen=True)
class Manifold:
    """Which samples lie among those of the other kind.

    Attributes:
        precise: (M,) whether each made sample lies within reach of a real one (Kynkäänniemi et al. 2019).
        recalled: (N,) whether each real sample lies within reach of a made one.
        reached: (M,) how many real samples each made one lies within reach of.
        covered: (N,) whether a made sample lies within reach of each real one (Naeem et al. 2020).
        k: neighbours; a sample's reach is the distance to its k-th among its own kind.
    """

    precise: Flags
    recalled: Flags
    reached: NDArray[np.int64]
    covered: Flags
    k: int

    def told(self) -> dict[str, float]:
        """Precision, recall, density and coverage."""
        return {
            "manifold_precision": float(self.precise.mean()),
            "manifold_recall": float(self.recalled.mean()),
            "density": float(self.reached.mean() / self.k),
            "coverage": float(self.covered.mean()),
        }


def synthesis_metrics(
    real: Floats,
    groups: NDArray[Any],
    made: Floats,
    *,
    no_skill: Mapping[str, float | None],
    made_groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[str, MetricEntry]:
    """Every distance of made from real samples.

    Args:
        real: (N, F) features of real samples.
        groups: (N,) the patient of each.
        made: (M, F) features of made samples.
        no_skill: what images without any skill reach, by metric.
        made_groups: (M,) patients of "made" samples that are real ones, such as training images; None where each was
            made on its own.
        seed: of the blocks.

    Returns:
        An entry for each of `SYNTHESIS_METRICS`; null with a reason where it cannot be computed.
    """
    n, patients, count = len(real), len(np.unique(groups)), len(made)

    def missing(name: str, reason: str) -> MetricEntry:
        return missing_entry(reason, n=n, groups=patients, no_skill=no_skill[name]) | {"synthetic": count}

    if reason := _refusal(real, made):
        return {name: missing(name, reason) for name in SYNTHESIS_METRICS}
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    apart = _Apart(real, made)
    values = _told(real, made, apart)
    made_groups = np.arange(len(made)) if made_groups is None else made_groups
    fewest = min(patients, len(np.unique(made_groups)))
    if fewest < _FEWEST_GROUPS:
        reason = f"samples of {fewest} patients: no interval over patients"
        return {name: missing(name, reason) | {"value": value} for name, value in values.items()}
    draws, both = min(_BLOCKS, fewest), (groups, made_groups)
    errors = _jackknife_errors(real, made, both, draws, seed) | _half_sample_errors(apart, both, draws, seed)
    entries: dict[str, MetricEntry] = {}
    for name, value in values.items():
        interval = _interval(name, value, errors[name], draws)
        entry = metric_entry(value, interval, n=n, groups=patients, no_skill=no_skill[name])
        entries[name] = entry | {"synthetic": count}
    return entries


def distances(real: Floats, made: Floats) -> dict[str, float]:
    """Every distance of made (M, F) from real (N, F) samples, without intervals.

    Raises:
        InputError: for fewer than two samples of either, which have no spread.
    """
    if min(len(real), len(made)) < 2:
        raise InputError(
            f"{len(real)} real and {len(made)} made images cannot be compared: 2 of both are the fewest; give the "
            "validation and test splits more (data.fractions)."
        )
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    return _told(real, made, _Apart(real, made))


def manifold(real: Floats, made: Floats, k: int = NEIGHBOURS) -> Manifold:
    """Which of real (N, F) and made (M, F) samples lie among those of the other kind.

    A sample that has fewer than k others of its kind reaches to the farthest of them.
    """
    return _Apart(real, made).manifold(np.arange(len(real)), np.arange(len(made)), k)


def frechet_distance(one: Floats, other: Floats) -> float:
    """Squared Fréchet distance of normal distributions with the samples' means and covariances (Heusel et al. 2017).

    Args:
        one: (N, F) samples.
        other: (M, F) samples.
    """
    first, second = (part - part.mean(axis=0) for part in (one, other))
    first, second = first / np.sqrt(len(one) - 1), second / np.sqrt(len(other) - 1)
    apart = float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum())
    return apart + float((first**2).sum() + (second**2).sum()) - 2 * _shared(first, second)


def kernel_distance(one: Floats, other: Floats) -> float:
    """Unbiased squared maximum mean discrepancy under (x.y / F + 1)^3, all samples at once (Bińkowski et al. 2018)."""
    kernels = _Kernels(one, np.zeros(len(one), np.int64), other, np.zeros(len(other), np.int64))
    return kernels.distance(np.ones(1), np.ones(1))


class _Apart:
    """Distances among N real samples, among M made ones and between them, in 32 bits: 300 MB for 5,000 of each."""

    def __init__(self, real: Floats, made: Floats) -> None:
        self.real, self.made, self.across = _distances(real, real), _distances(made, made), _distances(real, made)

    def manifold(self, rows: NDArray[np.int64], columns: NDArray[np.int64], k: int) -> Manifold:
        """Of some real and some made samples."""
        across = self.across[np.ix_(rows, columns)]
        within = across < _reach(self.real[np.ix_(rows, rows)], k)[:, None]
        return Manifold(
            precise=np.asarray(within.any(axis=0)),
            recalled=np.asarray((across < _reach(self.made[np.ix_(columns, columns)], k)).any(axis=1)),
            reached=within.sum(axis=0),
            covered=np.asarray(within.any(axis=1)),
            k=k,
        )


class _Kernels:
    """Sums of the kernel between blocks of samples, from which the distance without some blocks is soon told."""

    def __init__(
        self, one: Floats, one_blocks: NDArray[np.int64], other: Floats, other_blocks: NDArray[np.int64]
    ) -> None:
        first, second = np.eye(one_blocks.max() + 1)[one_blocks], np.eye(other_blocks.max() + 1)[other_blocks]
        self.first, self.second = _kernel_sums(one, first, one, first), _kernel_sums(other, second, other, second)
        for sums, samples, member in ((self.first, one, first), (self.second, other, second)):
            sums -= np.diag(_cubic((samples**2).sum(axis=1), samples.shape[1]) @ member)
        self.across = _kernel_sums(one, first, other, second)
        self.sizes = first.sum(axis=0), second.sum(axis=0)

    def distance(self, one_kept: Floats, other_kept: Floats) -> float:
        """Of the blocks whose place holds a 1 and not a 0."""
        n, m = float(self.sizes[0] @ one_kept), float(self.sizes[1] @ other_kept)
        within = one_kept @ self.first @ one_kept / (n * (n - 1)) + other_kept @ self.second @ other_kept / (
            m * (m - 1)
        )
        return float(within - 2 * (one_kept @ self.across @ other_kept) / (n * m))


def _told(real: Floats, made: Floats, apart: _Apart) -> dict[str, float]:
    found = apart.manifold(np.arange(len(real)), np.arange(len(made)), NEIGHBOURS)
    return {"frechet_distance": frechet_distance(real, made), "kid": kernel_distance(real, made), **found.told()}


def _dealt(groups: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """A number below `count` for each sample (N,), the same for all of a group."""
    names, of_group = np.unique(groups, return_inverse=True)
    return np.asarray((generator.permutation(len(names)) % count)[of_group])


def _jackknife_errors(
    real: Floats, made: Floats, groups: tuple[NDArray[Any], NDArray[Any]], count: int, seed: int
) -> dict[str, float]:
    """Standard errors of the distances of distributions."""
    generator = np.random.default_rng(seed)
    real_blocks, made_blocks = (_dealt(own, count, generator) for own in groups)
    kernels, everything, kept = _Kernels(real, real_blocks, made, made_blocks), np.ones(count), 1 - np.eye(count)
    without_real = [
        (frechet_distance(real[real_blocks != block], made), kernels.distance(kept[block], everything))
        for block in range(count)
    ]
    without_made = [
        (frechet_distance(real, made[made_blocks != block]), kernels.distance(everything, kept[block]))
        for block in range(count)
    ]
    variances = sum((count - 1) * np.var(values, axis=0) for values in (without_real, without_made))
    frechet, kernel = np.sqrt(variances)
    return {"frechet_distance": float(frechet), "kid": float(kernel)}


def _half_sample_errors(
    apart: _Apart, groups: tuple[NDArray[Any], NDArray[Any]], pairs: int, seed: int
) -> dict[str, float]:
    """Standard errors of the neighbour metrics."""
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(pairs):
        real_side, made_side = (_dealt(own, 2, generator) for own in groups)
        for side in (0, 1):
            part = apart.manifold(np.flatnonzero(real_side == side), np.flatnonzero(made_side == side), NEIGHBOURS)
            values.append(part.told())
    return {name: float(np.std([value[name] for value in values], ddof=1)) for name in values[0]}


def _interval(name: str, value: float, error: float, draws: int) -> Interval:
    method = _METHODS.get(name, "half-samples of patients, {draws} pairs").format(draws=draws)
    scale = scale_of(name, "synthesis")
    if scale.name == "logit" and error == 0 and value in (0, 1):  # nothing ever went wrong, as far as so few tell
        return Interval(*wilson(value, draws), method)
    half = error * t_quantile(draws - 1)
    low, high = value - half, value + half
    return Interval(max(low, scale.low), min(high, scale.high), method)


def _reach(apart: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    place = min(k, len(apart) - 1)
    return np.asarray(np.partition(apart, place, axis=1)[:, place])  # the nearest is the sample itself


def _shared(first: Floats, second: Floats) -> float:
    """Trace of the square root of the product of two covariances, given as centred and scaled samples.

    It is the sum of the singular values of `first @ second.T`, whichever way is the shortest to them.
    """
    if first.shape[1] > min(len(first), len(second)):
        return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    values, vectors = np.linalg.eigh(first.T @ first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(root @ (second.T @ second) @ root).clip(0)).sum())


def _cubic(products: Floats, dim: int) -> Floats:
    kernel: Floats = (products / dim + 1) ** 3
    return kernel


def _kernel_sums(one: Floats, one_member: Floats, other: Floats, other_member: Floats) -> Floats:
    """(A, B) sums of the kernel between the A blocks of some samples and the B blocks of others."""
    sums = np.zeros((one_member.shape[1], other_member.shape[1]))
    for start in range(0, len(one), _ROWS):
        kernel = _cubic(one[start : start + _ROWS] @ other.T, one.shape[1])
        sums += one_member[start : start + _ROWS].T @ (kernel @ other_member)
    return sums


def _distances(one: Floats, other: Floats) -> NDArray[np.float32]:
    from scipy.spatial.distance import cdist

    apart = np.empty((len(one), len(other)), np.float32)
    for start in range(0, len(one), _ROWS):
        apart[start : start + _ROWS] = cdist(one[start : start + _ROWS], other)
    return apart


def _refusal(real: Floats, made: Floats) -> str | None:
    if min(len(real), len(made)) <= NEIGHBOURS + 1:
        return f"{len(real)} real and {len(made)} made samples are too few for {NEIGHBOURS} neighbours"
    if not (np.isfinite(real).all() and np.isfinite(made).all()):
        return "some features are no numbers"
    return None
