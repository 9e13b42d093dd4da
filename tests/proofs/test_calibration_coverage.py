"""Whether the interval of `ece` covers the truth, of calibrated models and of others; minutes: `pytest -m proof -s`."""

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from vesalius.metrics.classification.calibration import ECE_BINS, CalibrationGaps

pytestmark = pytest.mark.proof

Floats = np.ndarray
STUDIES = 1000

#: Spread of the logits, then intercept and slope of the truth's logit over that of the score.
MODELS = {
    "calibrated, unsure": (1.0, 0.0, 1.0),
    "calibrated, sure": (4.0, 0.0, 1.0),
    "overconfident": (2.0, 0.0, 0.6),
    "very overconfident": (4.0, 0.0, 0.25),
    "certain, too often": (9.0, 0.0, 0.3),
    "underconfident": (1.0, 0.0, 2.0),
    "shifted": (4.0, 1.5, 1.0),
}
#: Samples, samples per patient, and how far the outcomes of a patient are one: 1 of all like samples.
DESIGNS = [(60, 1, 0.0), (200, 1, 0.0), (1000, 1, 0.0), (120, 2, 1.0), (240, 4, 0.5), (240, 4, 1.0), (1000, 4, 0.8)]


def scores(rng: np.random.Generator, model: str, count: int, per: int, alike: float) -> tuple[Floats, ...]:
    """Confidence, whether it is correct, the probability of that, and the patient; alike samples have alike scores."""
    spread, intercept, slope = MODELS[model]
    groups = np.repeat(np.arange(count // per), per)

    def mixed(share: float) -> Floats:
        own = rng.standard_normal(count)
        return np.sqrt(share) * rng.standard_normal(count // per)[groups] + np.sqrt(1 - share) * own

    score = expit(spread * mixed(0.8 if per > 1 else 0.0) + 0.5)
    probability = expit(intercept + slope * logit(score.clip(1e-12, 1 - 1e-12)))
    positive = ndtr(mixed(alike)) < probability
    above = score > 0.5
    return (
        np.where(above, score, 1 - score),
        positive == above,
        np.where(above, probability, 1 - probability),
        groups,
    )


def cells(confidence: Floats) -> Floats:
    return np.ceil(confidence * ECE_BINS).astype(np.int64) - 1


def plain(confidence: Floats, correct: Floats) -> float:
    """The sum over bins of Guo et al. 2017."""
    return float(np.abs(np.bincount(cells(confidence), correct - confidence, ECE_BINS)).sum() / len(confidence))


@pytest.mark.parametrize("model", MODELS)
def test_the_interval_covers_the_truth(model: str) -> None:
    rng = np.random.default_rng(0)
    confidence, _, probability, _ = scores(rng, model, 2_000_000, 1, 0.0)
    counts = np.bincount(cells(confidence), minlength=ECE_BINS)
    gaps = np.bincount(cells(confidence), probability - confidence, ECE_BINS)
    square = (gaps**2 / np.maximum(counts, 1)).sum() / counts.sum()
    truth = np.sqrt(square)
    print(f"\n{model}: truth {truth:.3f}, its square {square:.5f}")
    for count, per, alike in DESIGNS:
        found, before, usual = [], [], []
        for _ in range(STUDIES):
            confidence, correct, _, groups = scores(rng, model, count, per, alike)
            study = CalibrationGaps(cells(confidence), groups, confidence, correct - confidence, 1)
            estimate = study.mean_square(np.ones((1, groups.max() + 1)))[0]
            low, high, _ = study.interval()
            found.append((estimate, np.sqrt(max(estimate, 0)), low <= truth <= high, low > 0))
            before.append(plain(confidence, correct))
            if len(usual) < 20:
                usual.append(study.calibrated_value())
        estimate, value, covered, above = np.mean(found, axis=0)
        error = np.std([each[0] for each in found]) / np.sqrt(STUDIES)
        print(
            f"  {count:4d} samples, {per} per patient, alike {alike:.1f}: value {value:.3f} (calibrated:"
            f" {np.mean(usual):.3f}; plain sum over bins {np.mean(before):.3f}), square {estimate:.5f},"
            f" covers {covered:.3f}, above 0 in {above:.3f}"
        )
        assert abs(estimate - square) < 4 * error
        # Of 1,000 studies at 92 to 98 %, a share beyond these comes up by chance once in 200 cases.
        assert 0.895 <= covered <= 0.995
        if truth == 0:
            assert above <= 0.08
            assert np.mean(usual) == pytest.approx(value, rel=0.25)
