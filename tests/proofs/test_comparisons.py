"""How often comparisons of models of equal skill name a better one, and of unequal models the right one.

Run with `pytest -m proof -s tests/proofs/test_comparisons.py`: it prints the grids. Scores are normal: a part of each
patient and of each image is hard for all models, a part for one arm, and a part for one seed of one arm (patient and
image); the separation of the classes is 1.5 and varies between seeds by the seed effect. The models predict the class
by argmax. All differences are computed by `difference_of` from `Predictions`, as `compare`, `gain` and `report` do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from vesalius.metrics.comparison.repeats import difference_of
from vesalius.metrics.comparison.resampled_metric import MIN_PATIENTS, ResampledMetric, classification_metric
from vesalius.metrics.comparison.verdict import shows_gain_or_loss
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.intervals import clustered
from vesalius.metrics.predictions import Predictions

METRICS = ("auroc", "average_precision", "balanced_accuracy", "recall/malignant", "accuracy")
SEEDS = (1, 2, 3, 5)
REPLICATES = 200
#: Standard deviations of the scores: of patients and images for all models, of patients for an arm, for a seed's model.
PATIENT, IMAGE, ARM, MODEL_PATIENT, MODEL_IMAGE = 0.8, 0.6, 0.3, 0.35, 0.35
SPREAD = float(np.sqrt(sum(sd**2 for sd in (PATIENT, IMAGE, ARM, MODEL_PATIENT, MODEL_IMAGE))))

#: Patients, of whom with the rarer class, images of each.
LAYOUTS = [(20, 5, 1), (20, 10, 1), (60, 5, 1), (60, 10, 1), (60, 30, 1), (200, 5, 1), (200, 50, 1)]
LAYOUTS += [(60, 5, 4), (60, 30, 4)]


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered, "REPLICATES", REPLICATES)


class Study:
    """Predictions of arms with 5 seeds each for the same patients."""

    def __init__(
        self, rng: np.random.Generator, layout: tuple[int, int, int], effect: float, gains: Sequence[float]
    ) -> None:
        patients, rare, images = layout
        groups = np.repeat(np.arange(patients), images)
        target = groups < rare
        shape = (len(gains), max(SEEDS))

        def of_patients(*wanted: int) -> np.ndarray:
            return rng.normal(size=(*wanted, patients))[..., groups]

        noise = PATIENT * of_patients(1, 1) + IMAGE * rng.normal(size=len(groups)) + ARM * of_patients(shape[0], 1)
        noise = noise + MODEL_PATIENT * of_patients(*shape) + MODEL_IMAGE * rng.normal(size=(*shape, len(groups)))
        #: (arms, seeds) how far apart each model's classes are.
        self.separation = 1.5 + np.asarray(gains)[:, None] + effect * rng.normal(size=shape)
        malignant = norm.cdf(noise + self.separation[..., None] * (target - 0.5))
        self.arms = [[_read(table, target, groups) for table in arm] for arm in malignant]

    def resampled(self, metric: str, arms: Sequence[int]) -> ResampledMetric:
        """The metric of all models of these arms, computed once however many of their seeds are taken."""
        whole = classification_metric([table for arm in arms for table in self.arms[arm]], metric)
        known: dict[int, np.ndarray] = {}

        def compute(weights: np.ndarray) -> np.ndarray:
            if len(weights) not in known:
                known[len(weights)] = whole.compute(weights)
            return known[len(weights)]

        return replace(whole, compute=compute)


def _read(malignant: np.ndarray, target: np.ndarray, groups: np.ndarray) -> Predictions:
    probabilities, truth = np.stack([1 - malignant, malignant], 1), np.stack([~target, target], 1)
    return Predictions("binary", ("benign", "malignant"), truth, probabilities, probabilities > 0.5, groups)


def difference(whole: ResampledMetric, first: int, second: int, seeds: int, differences: int = 1) -> MetricEntry:
    """Of two arms (their places), by their first seeds."""
    rows = [arm * max(SEEDS) + seed for arm in (first, second) for seed in range(seeds)]
    pair = replace(whole, compute=lambda weights: whole.compute(weights)[rows])
    return difference_of(pair, differences=differences)


def true_value(metric: str, separation: np.ndarray, layout: tuple[int, int, int]) -> np.ndarray:
    """AUROC, or the share of right decisions in each class, of models with this separation."""
    return norm.cdf(separation / SPREAD / (np.sqrt(2) if metric == "auroc" else 2))


def at_most(count: int, studies: int, share: float, looks: int) -> bool:
    """Whether a count is no proof, at 5 % over all looks, that the probability is above `share`."""
    return bool(binom.sf(count - 1, studies, share) > 0.05 / looks)


def show(title: str, rows: Iterator[str] | Sequence[str]) -> None:
    print("\n" + title)
    for row in rows:
        print(row)


def count_winners(
    metric: str,
    layout: tuple[int, int, int],
    effect: float,
    counts: Sequence[int],
    studies: int,
    rng: np.random.Generator,
) -> tuple[dict[int, int], dict[int, float]]:
    """For each number of seeds: studies of two equal arms that name one better, and the intervals' median half width.

    With one seed each no arm is called better; there it is the number of intervals which miss the true difference of
    the two models that were trained.
    """
    wrong, widths = dict.fromkeys(counts, 0), {seeds: [] for seeds in counts}
    for _ in range(studies):
        study = Study(rng, layout, effect, (0.0, 0.0))
        whole = study.resampled(metric, (0, 1))
        for seeds in counts:
            found = difference(whole, 0, 1, seeds)
            low, high = found["ci95"]
            assert high > low
            widths[seeds].append((high - low) / 2)
            if seeds > 1:
                wrong[seeds] += shows_gain_or_loss(found)
                continue
            assert not shows_gain_or_loss(found)
            truth = true_value(metric, study.separation[:, 0], layout)
            truth = 0.0 if metric == "average_precision" else truth[0] - truth[1]
            wrong[1] += metric != "average_precision" and not low <= truth <= high
    return wrong, {seeds: float(np.median(of)) for seeds, of in widths.items()}


@pytest.mark.proof
@pytest.mark.parametrize("metric", METRICS)
def test_equal_arms_have_a_winner_in_at_most_6_percent_of_studies(metric: str) -> None:
    """Two arms. Among a hundred cells some lie above 6 % by chance: those are simulated again, by ten times as many
    studies of their own, and that share counts."""
    studies, more, rng = 300, 3000, np.random.default_rng(17)
    rows, again, largest = [], [], 0.0
    for layout in LAYOUTS:
        for effect in (0.0, 0.3, 1.0):
            wrong, widths = count_winners(metric, layout, effect, SEEDS, studies, rng)
            cells = (f"{wrong[s] / studies:6.1%} ±{widths[s]:.2f}" for s in SEEDS)
            rows.append(f"{layout[0]:>8} {layout[1]:>5} {layout[2]:>6} {effect:>6} | {'  '.join(cells)}")
            above = [seeds for seeds in SEEDS if wrong[seeds] / studies > 0.06]
            largest = max(largest, *(wrong[seeds] / studies for seeds in SEEDS if seeds not in above))
            if above:
                recounted, _ = count_winners(metric, layout, effect, above, more, rng)
                again += [(layout, effect, seeds, wrong[seeds] / studies, recounted[seeds] / more) for seeds in above]
    head = f"{'patients':>8} {'rarer':>5} {'images':>6} {'effect':>6} | " + "  ".join(
        f"{s} seeds (±)   " for s in SEEDS
    )
    show(
        f"{metric}: winners among two equal arms, and median half width of the interval, {studies} studies",
        [head, *rows],
    )
    for layout, effect, seeds, before, after in again:
        print(f"{layout}, effect {effect}, {seeds} seeds: {before:.1%}; in {more} other studies {after:.1%}")
    largest = max([largest, *(after for *_, after in again)])
    print(f"largest: {largest:.1%}")
    assert largest <= 0.06


@pytest.mark.proof
def test_fewer_patients_than_the_smallest_number_have_no_verdict() -> None:
    rng = np.random.default_rng(18)
    for patients, rare in ((20, 2), (60, 3), (200, MIN_PATIENTS - 1)):
        found = difference(Study(rng, (patients, rare, 4), 0.0, (0.0, 0.0)).resampled("auroc", (0, 1)), 0, 1, 3)
        print(f"{patients} patients, {rare} of the rarer class: {found['reason']}")
        assert found["reason"].startswith("too few patients to compare")


@pytest.mark.proof
@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy"])
def test_a_large_difference_is_named_and_its_interval_covers_it(metric: str) -> None:
    """The better arm separates the classes by 2.5 instead of 1.5: AUROC .82 to .94, balanced accuracy .74 to .86."""
    studies, rng, rows = 300, np.random.default_rng(19), []
    for layout in ((60, 30, 1), (200, 50, 1), (200, 100, 1)):
        for effect in (0.0, 0.3):
            # Over seeds, the mean of a normal distribution function is one of a wider normal distribution.
            scale = 2 if metric == "auroc" else 4
            wide = np.sqrt(scale * SPREAD**2 + effect**2)
            truth = norm.cdf(2.5 / wide) - norm.cdf(1.5 / wide)
            named, held = dict.fromkeys(SEEDS[1:], 0), dict.fromkeys(SEEDS[1:], 0)
            for _ in range(studies):
                whole = Study(rng, layout, effect, (1.0, 0.0)).resampled(metric, (0, 1))
                for seeds in SEEDS[1:]:
                    found = difference(whole, 0, 1, seeds)
                    named[seeds] += shows_gain_or_loss(found) and found["value"] > 0
                    held[seeds] += found["ci95"][0] <= truth <= found["ci95"][1]
            cells = (f"{named[s] / studies:6.1%} {held[s] / studies:6.1%}" for s in named)
            rows.append(f"{layout[0]:>8} {layout[1]:>5} {effect:>6} | {'  '.join(cells)}")
            assert all(at_most(studies - held[seeds], studies, 0.07, 18) for seeds in held)
            if layout[0] == 200:
                assert named[3] / studies > (0.8 if effect == 0 else 0.5)
                assert named[5] / studies > 0.9
    head = f"{'patients':>8} {'rarer':>5} {'effect':>6} | " + "  ".join(f"{s} seeds       " for s in SEEDS[1:])
    show(f"{metric}: the better arm is named, and the interval holds the true difference", [head, *rows])


#: Seeds, arms, and the reference of all: the first arm, by single intervals or together; or the best on validation.
ManyArms = tuple[int, int, str]


def count_named(
    metric: str, layout: tuple[int, int, int], effect: float, cells: Sequence[ManyArms], studies: int, seed: int
) -> dict[ManyArms, int]:
    """Studies of equal arms that call any of them better or worse than the reference."""
    rng, most, named = np.random.default_rng(seed), max(arms for _, arms, _ in cells), dict.fromkeys(cells, 0)
    for _ in range(studies):
        study = Study(rng, layout, effect, (0.0,) * most)
        whole = study.resampled(metric, range(most))
        noise = 0.04 * rng.normal(size=study.separation.shape)
        validation = true_value(metric, study.separation, layout) + noise
        for seeds, arms, kind in cells:
            reference = int(validation[:arms, :seeds].mean(axis=1).argmax()) if kind == "best" else 0
            together = {"one": 1, "all": arms - 1, "best": arms * (arms - 1) // 2}[kind]
            others = (arm for arm in range(arms) if arm != reference)
            named[seeds, arms, kind] += any(
                shows_gain_or_loss(difference(whole, arm, reference, seeds, together)) for arm in others
            )
    return named


@pytest.mark.proof
@pytest.mark.parametrize("metric", ["auroc", "accuracy"])
def test_any_of_many_equal_arms_is_named_in_at_most_6_percent_of_studies(metric: str) -> None:
    """Two to nine arms against one reference: the first, as in `compare` and `gain`, or the one that is best by its
    seeds on a validation set of as many patients, as in `report`, by the intervals of all pairs. Cells above 6 % are
    simulated again, as above."""
    studies, more, layout, rows, again, largest = 300, 3000, (120, 40, 1), [], [], 0.0
    numbers, kinds = (2, 3, 6, 9), ("one", "all", "best")
    for effect in (0.0, 0.5):
        cells = [(seeds, arms, kind) for seeds in (3, 5) for arms in numbers for kind in kinds]
        named = count_named(metric, layout, effect, cells, studies, seed=20)
        for seeds in (3, 5):
            shares = (" ".join(f"{named[seeds, a, kind] / studies:6.1%}" for kind in kinds) for a in numbers)
            rows.append(f"{layout[0]:>8} {layout[1]:>5} {effect:>6} {seeds:>5} | {'  '.join(shares)}")
        together = [cell for cell in cells if cell[2] != "one"]
        above = [cell for cell in together if named[cell] / studies > 0.06]
        largest = max(largest, *(named[cell] / studies for cell in together if cell not in above))
        if above:
            recounted = count_named(metric, layout, effect, above, more, seed=21)
            again += [(effect, cell, named[cell] / studies, recounted[cell] / more) for cell in above]
    head = f"{'patients':>8} {'rarer':>5} {'effect':>6} {'seeds':>5} | " + "  ".join(
        f"{a} arms" + " " * 14 for a in numbers
    )
    show(
        f"{metric}: studies that call any arm better or worse: single intervals, together, together from the best",
        [head, *rows],
    )
    for effect, (seeds, arms, kind), before, after in again:
        print(f"effect {effect}, {seeds} seeds, {arms} arms, {kind}: {before:.1%}; in {more} other studies {after:.1%}")
    largest = max([largest, *(after for *_, after in again)])
    print(f"largest of those together: {largest:.1%}")
    assert largest <= 0.06
