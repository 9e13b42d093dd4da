"""Do 95 % intervals hold the truth in 92 to 98 % of simulated studies? Run with `-s` to see the figures."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.stats import norm

from vesalius.metrics.entry import Interval
from vesalius.metrics.intervals.auroc import auroc_interval
from vesalius.metrics.intervals.clustered import proportion_interval, wilson

Study = tuple[float, Interval, float]  # true value, interval, width of the naive interval


def patients(rng: np.random.Generator, count: int, repeats: bool) -> np.ndarray:
    """Patient of each sample; with repeats, half of the patients have 2 to 5."""
    sizes = np.ones(count, dtype=int)
    if repeats:
        sizes[: count // 2] = rng.integers(2, 6, count // 2)
    return np.repeat(np.arange(count), sizes)


def auroc_study(
    rng: np.random.Generator,
    truth: float,
    count: int,
    repeats: bool,
    *,
    prevalence: float = 0.4,
    correlation: float = 0.6,
    bimodal: bool = False,
) -> Study:
    """Normal scores with a patient effect; or, bimodal, patients that are wholly right or wholly wrong."""
    groups = patients(rng, count, repeats)
    positive = (rng.random(count) < prevalence)[groups]
    noise = np.sqrt(correlation) * rng.normal(size=count)[groups]
    noise += np.sqrt(1 - correlation) * rng.normal(size=len(groups))
    if bimodal:
        scores = noise + np.where(positive, np.where(rng.random(count) < truth, 20, -20)[groups], 0)
    else:
        scores = noise + np.sqrt(2) * norm.ppf(truth) * positive
    interval = auroc_interval(positive[:, None], scores[:, None], groups)
    naive = auroc_interval(positive[:, None], scores[:, None], np.arange(len(groups)))
    return truth, interval, naive.high - naive.low


def chances(rng: np.random.Generator, truth: float, count: int, correlation: float) -> np.ndarray:
    """(count,) how often each patient goes right, so that two images of one correlate so much (beta-binomial)."""
    if correlation == 0:
        return np.full(count, truth)
    if correlation == 1:
        return (rng.random(count) < truth).astype(float)
    spread = (1 - correlation) / correlation
    return rng.beta(truth * spread, (1 - truth) * spread, count)


def proportion_study(
    rng: np.random.Generator, truth: float, count: int, repeats: bool, *, correlation: float = 0.5
) -> Study:
    """Patients differ in how often they go right (beta-binomial)."""
    groups = patients(rng, count, repeats)
    chance = chances(rng, truth, count, correlation)
    right = rng.random(len(groups)) < chance[groups]
    interval = proportion_interval(right[:, None], np.ones((len(groups), 1), dtype=bool), groups)
    low, high = wilson(right.mean(), len(groups))
    return truth, interval, high - low


def coverage(study: Callable[[], Study], replications: int) -> tuple[float, float]:
    """Share of the intervals that hold the truth, and their mean width over that of the naive ones."""

    def run() -> Iterator[tuple[bool, float, float]]:
        for _ in range(replications):
            truth, interval, naive = study()
            yield interval.low <= truth <= interval.high, interval.high - interval.low, naive

    held, width, naive = np.array(list(run()), dtype=float).mean(axis=0)
    return held, width / naive


@pytest.mark.parametrize("repeats", [False, True], ids=["once", "repeated"])
@pytest.mark.parametrize("count", [60, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("simulate", "truth"),
    [(auroc_study, 0.8), pytest.param(auroc_study, 0.9, marks=pytest.mark.slow), (proportion_study, 0.95)],
)
def test_coverage(simulate: Callable[..., Study], truth: float, count: int, repeats: bool) -> None:
    rng = np.random.default_rng(20)
    held, relative_width = coverage(lambda: simulate(rng, truth, count, repeats), 1000)
    print(f"{simulate.__name__} {truth} {count} patients, repeats {repeats}: {held:.1%}, {relative_width:.2f} x naive")
    assert 0.92 <= held <= 0.98
    if repeats:
        assert relative_width > 1.1
    else:
        assert relative_width == pytest.approx(1, abs=1e-9)


@pytest.mark.proof
@pytest.mark.parametrize("repeats", [False, True], ids=["once", "repeated"])
@pytest.mark.parametrize("count", [60, 200])
@pytest.mark.parametrize(
    ("simulate", "truth", "setting"),
    [
        *((auroc_study, auroc, {"prevalence": p}) for auroc in (0.8, 0.9) for p in (0.27, 0.5)),
        *((auroc_study, auroc, {"correlation": c}) for auroc in (0.8, 0.9) for c in (0.2, 0.9)),
        *((auroc_study, auroc, {"bimodal": True}) for auroc in (0.8, 0.9)),
        *((auroc_study, auroc, {}) for auroc in (0.8, 0.9, 0.97, 0.99)),
        *((proportion_study, p, {"correlation": c}) for p in (0.8, 0.95) for c in (0, 0.1, 0.3, 0.6, 1)),
    ],
)
def test_coverage_under_many_settings(
    simulate: Callable[..., Study], truth: float, setting: dict[str, float], count: int, repeats: bool
) -> None:
    rng = np.random.default_rng(21)
    held, relative_width = coverage(lambda: simulate(rng, truth, count, repeats, **setting), 3000)
    print(
        f"{simulate.__name__} {truth} {count} patients, repeats {repeats}, {setting}: {held:.1%}, {relative_width:.2f}"
    )
    # Beyond .90 the issue promises nothing; the interval leans to the safe side there.
    assert 0.92 <= held <= (0.98 if truth <= 0.95 else 0.995)


def sizes_of(rng: np.random.Generator, kind: str, count: int) -> np.ndarray:
    """How many images each patient has."""
    if kind == "1 to 29":
        return rng.integers(1, 30, count)
    if kind == "geometric":  # mostly few, rarely very many; 7 on average
        return rng.geometric(0.15, count)
    sizes = np.full(count, 4 if kind == "4 each" else 1)
    if kind in ("a tenth 30", "a tenth 100"):
        sizes[: count // 10] = int(kind.split()[-1])
    elif kind == "three 60":
        sizes[:3] = 60
    elif kind == "half 2 to 5":
        sizes[: count // 2] = rng.integers(2, 6, count // 2)
    return sizes


def share_held(
    rng: np.random.Generator, truth: float, count: int, kind: str, correlation: float, studies: int
) -> float:
    """Share of cluster-adjusted intervals of a proportion that hold the truth."""
    held = 0
    for _ in range(studies):
        sizes = sizes_of(rng, kind, count)
        chance = chances(rng, truth, count, correlation)
        groups = np.repeat(np.arange(count), sizes)
        right = rng.random(len(groups)) < chance[groups]
        interval = proportion_interval(right[:, None], np.ones((len(groups), 1), dtype=bool), groups)
        held += interval.low <= truth <= interval.high
    return held / studies


@pytest.mark.parametrize(
    ("truth", "count", "kind", "bound"), [(0.97, 60, "1 to 29", 0.935), (0.9, 200, "a tenth 30", 0.91)]
)
def test_very_unequal_patients_are_covered(truth: float, count: int, kind: str, bound: float) -> None:
    """98 % of the first, 91.9 % before degrees of freedom counted; 92 % of the second, 90 % before the jackknife."""
    held = share_held(np.random.default_rng(22), truth, count, kind, 0.6, 1500)
    print(f"{truth} of {count} patients, images: {kind}: {held:.1%}")
    assert held >= bound


@pytest.mark.proof
@pytest.mark.parametrize("count", [20, 60, 200])
@pytest.mark.parametrize(
    "kind", ["4 each", "half 2 to 5", "1 to 29", "geometric", "a tenth 30", "a tenth 100", "three 60"]
)
def test_proportions_of_unequal_patients(kind: str, count: int) -> None:
    """A grid of proportions and of correlations within patients; few of 20 patients, of very unequal size, are left
    to the side that is too wide."""
    rng, studies, correlations = np.random.default_rng(23), 1500, (0, 0.1, 0.3, 0.6, 1)
    print(f"\n{count} patients, images: {kind}; share held at a correlation of {correlations}")
    for truth in (0.5, 0.8, 0.9, 0.95, 0.97, 0.99):
        held = [share_held(rng, truth, count, kind, correlation, studies) for correlation in correlations]
        print(f"{truth:.2f} | " + "  ".join(f"{share:.1%}" for share in held))
        assert min(held) >= (0.90 if kind in ("a tenth 30", "a tenth 100", "three 60") else 0.92)
