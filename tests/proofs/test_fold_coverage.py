"""Do intervals over folds hold the truth in 92 to 98 % of simulated studies? Run with `-s` to see the figures."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from vesalius.metrics.classification.folds import fold_mean, why_no_fold_mean
from vesalius.metrics.intervals.influence import auroc_gradient
from vesalius.metrics.predictions import Predictions

STUDIES = 600
OFFSET = 2.0  # between models, in standard deviations of their scores
AUROC = 0.85
CORRELATION = 0.6  # of a patient's images
#: Two standard errors of a share of .95 over the studies: what simulation itself adds.
NOISE = 2 * np.sqrt(0.05 * 0.95 / STUDIES)

Study = tuple[Predictions, np.ndarray, float]


def study(random: Any, patients: int, prevalence: float, folds: int, images: int, skill_sd: float) -> Study:
    """Predictions, folds, and the mean over folds of the true AUROC of their models; patients dealt by class."""
    positive = random.random(patients) < prevalence
    fold = np.empty(patients, dtype=np.int64)
    order = np.argsort(positive, kind="stable")
    fold[order] = np.arange(patients) % folds
    sizes = np.ones(patients, dtype=int) if images == 1 else random.integers(1, 2 * images, patients)
    groups = np.repeat(np.arange(patients), sizes)
    noise = np.sqrt(CORRELATION) * random.normal(size=patients)[groups]
    noise += np.sqrt(1 - CORRELATION) * random.normal(size=len(groups))
    skill = np.sqrt(2) * norm.ppf(AUROC) + skill_sd * random.normal(size=folds)
    truth, model = positive[groups], fold[groups]
    scores = noise + skill[model] * truth + OFFSET * random.normal(size=folds)[model]
    both = np.stack([~truth, truth], axis=1)
    p = Predictions("binary", ("healthy", "sick"), both, np.stack([-scores, scores], axis=1), both, groups)
    return p, model, float(norm.cdf(skill / np.sqrt(2)).mean())


def grid() -> Iterator[tuple[int, float, int, int]]:
    """Patients, prevalence, folds and images of a patient on average."""
    for patients, prevalence, folds in (
        (30, 0.5, 3),
        (30, 0.5, 5),
        (60, 0.2, 3),
        (60, 0.2, 5),
        (60, 0.5, 5),
        (60, 0.5, 10),
        (200, 0.2, 5),
        (200, 0.2, 10),
    ):
        for images in (1, 4):
            yield patients, prevalence, folds, images


@pytest.mark.proof
@pytest.mark.parametrize("metric", ["auroc", "average_precision"])
def test_coverage_over_folds(metric: str) -> None:
    print(f"\n{metric}, scores of the folds' models {OFFSET:g} sd apart, {STUDIES} studies a row")
    print("patients  prevalence  folds  images   coverage   mean value   pooled   width   without value")
    outside = []
    for patients, prevalence, folds, images in grid():
        random = np.random.default_rng([patients, round(10 * prevalence), folds, images])
        rows, missing = [], 0
        for _ in range(STUDIES):
            # The average precision of a few samples has no closed form: its truth is the mean over the studies.
            setting = (patients, prevalence, folds, images, 0.3 if metric == "auroc" else 0.0)
            p, fold, truth = study(random, *setting)
            if why_no_fold_mean(p, metric, [1], fold):
                missing += 1
                continue
            found = fold_mean(p, metric, [1], fold)
            pooled, _ = auroc_gradient(p.truth[:, 1], p.probabilities[:, 1])
            rows.append((truth, found.moved.value, *found.interval[:2], pooled))
        values = np.array(rows)
        truth = values[:, 0] if metric == "auroc" else values[:, 1].mean()
        held = float(((values[:, 2] <= truth) & (truth <= values[:, 3])).mean())
        pooled = f"{values[:, 4].mean():.3f}" if metric == "auroc" else "    –"
        print(
            f"{patients:8d}  {prevalence:10.1f}  {folds:5d}  {images:6d}   {held:8.1%}   {values[:, 1].mean():10.3f}   "
            f"{pooled}   {(values[:, 3] - values[:, 2]).mean():.3f}   {missing / STUDIES:.1%}",
            flush=True,
        )
        if not 0.92 - NOISE <= held <= 0.98 + NOISE:
            outside.append((patients, prevalence, folds, images, held))
    assert not outside
