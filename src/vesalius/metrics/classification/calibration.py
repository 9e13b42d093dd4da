"""How far a model's confidence is from the share of its predictions that are correct, free of the bias of bins.

The plain expected calibration error (Guo et al., ICML 2017) takes the absolute gap of each bin of confidence. Chance
makes every gap larger, so that a perfectly calibrated model gets .10 on 60 samples. The *mean square* of the gaps can
be estimated without bias (Kumar, Liang and Ma, Verified uncertainty calibration, NeurIPS 2019): from the products of
gaps of different samples, here of different patients, whose chance parts cancel out. `ece` is its root.

The interval is a score interval, as Wilson's is for a proportion: the mean squares that would explain the estimate,
whose variance is 4 x linear x (mean square) + 2 x quadratic; the second term is that of a calibrated model, where the
first vanishes (a bootstrap has three times that variance there). Both are those of single images, times a design
effect.

Coverage, 1,000 simulated studies per case (`pytest -m proof -s tests/proofs/test_calibration_coverage.py`): 93.0 to
98.6 % over 7 models, calibrated and not, and 60 to 1,000 samples, 1 to 4 per patient; of calibrated models 94.9 to
97.4 %, where the interval of the plain error by a cluster bootstrap lay above 0 in 9 of 10 studies. Means of several
runs have the bootstrap's, which is too wide near 0. With 10 images each of 60 patients, whose outcomes
are one, it is 93.0 to 97.8 %.

N samples, G patients, C cells: bins of confidence, of a multilabel task for each label; R weightings of the patients.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.entry import Interval
from vesalius.metrics.intervals.clustered import Z95
from vesalius.metrics.predictions import Predictions

Floats = NDArray[np.float64]

#: As in Guo et al., ICML 2017.
ECE_BINS = 15

# A bin's gap counts in full once it holds many more patients than this; until then confidence is believed.
_PRIOR_PATIENTS = 2.0
# Draws of what a calibrated model gets by chance: they give its mean within 2 %.
_DRAWS = 4000


def confidence_bins(p: Predictions) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """The confidence of each prediction, whether it is correct, and the bin of `ece` that it falls in.

    Returns:
        Three (N, 1) arrays, of the most probable class; for multilabel (N, K), of the likelier decision per label.
    """
    if p.single_label:
        confidence = p.probabilities.max(axis=1, keepdims=True)
        correct = np.take_along_axis(p.truth, p.probabilities.argmax(axis=1)[:, None], axis=1)
    else:
        confidence = np.maximum(p.probabilities, 1 - p.probabilities)
        correct = (p.probabilities > 0.5) == p.truth
    # Bins are open below and closed above, as in the paper.
    return confidence, correct, np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)


def signed_root(squares: Floats) -> Floats:
    """Root of the magnitude, with the sign: the inverse of `value * abs(value)`."""
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)))


@dataclass(frozen=True)
class CalibrationGaps:
    """Gaps between confidence and truth, by patient and cell.

    Attributes:
        cells: (M,) cell of each of the M predictions.
        groups: (M,) number of their patient.
        confidence: (M,) in 0..1.
        gaps: (M,) 1 or 0 for a correct or wrong prediction, minus its confidence.
        labels: number of labels, over which the mean square is averaged; 1 where each sample has one class.
    """

    cells: NDArray[np.int64]
    groups: NDArray[np.int64]
    confidence: Floats
    gaps: Floats
    labels: int

    @classmethod
    def of(cls, p: Predictions) -> "CalibrationGaps":
        """The gaps of a predictions table."""
        confidence, correct, bins = confidence_bins(p)
        labels = confidence.shape[1]
        cells = (bins + ECE_BINS * np.arange(labels)).ravel()
        groups = np.repeat(p.groups, labels)
        return cls(cells, groups, confidence.ravel(), (correct - confidence).ravel(), labels)

    def mean_square(self, weights: Floats) -> Floats:
        """(R,) estimates of the mean square gap, below 0 by chance, for (R, G) weights of the patients.

        NaN where no two patients of positive weight share a cell. Two copies of one patient are no pair.
        """
        factors = self._factors(weights)
        sums = weights @ self._sums
        squares = (weights**2) @ self._sums**2
        return np.asarray((factors * (sums**2 - squares)).sum(axis=1))

    @property
    def defined(self) -> bool:
        """Whether two patients share a cell, of each label."""
        return bool(np.isfinite(self._factor).all())

    def interval(self) -> Interval:
        """95 % interval of the root mean square gap, in 0..1."""
        theta = float(self.mean_square(np.ones((1, len(self._sums))))[0])
        # The upper end holds if every cell had one more error: no error among few is not none at all.
        low = self._end(theta, self._expected, -1)
        high = self._end(max(theta, 0.0), (self._expected * self._patients + 0.5) / (self._patients + 1), 1)
        low, high = np.clip(signed_root(np.array([low, high])), 0, 1)
        return Interval(float(low), float(high), "clustered U-statistic")

    def calibrated_value(self) -> float:
        """What a calibrated model gets on average that is as confident about as many patients."""
        scales = self._factor * self._sum_cells(self.confidence * (1 - self.confidence)) * np.sqrt(self._effects[1])
        draws = np.random.default_rng(0).standard_normal((_DRAWS, len(scales))) ** 2 - 1
        return float(np.sqrt(np.maximum(draws @ scales, 0)).mean())

    def _end(self, theta: float, expected: Floats, sign: int) -> float:
        """An end of the score interval of the mean square, the predictions being correct as `expected` (M,)."""
        variance = self._sum_cells(expected * (1 - expected))
        slope = self._factor * self._sums.sum(axis=0)
        of_linear, of_quadratic = self._effects
        size = float((slope * self._sums.sum(axis=0)).sum())
        linear = of_linear * float(variance @ slope**2) / size if size > 0 else 0.0
        quadratic = of_quadratic * float(((self._factor * variance) ** 2).sum())
        centre = theta + 2 * linear * Z95**2
        inside = centre**2 - theta**2 + (2 * quadratic + self._of_shares) * Z95**2
        return float(centre + sign * np.sqrt(max(inside, 0.0)))

    def _factors(self, weights: Floats) -> Floats:
        """(R, C) what the sum over pairs of patients in a cell counts: the cell's share over the number of pairs."""
        counts = weights @ self._counts
        pairs = counts**2 - (weights**2) @ self._counts**2
        counts = np.where(pairs > 1e-9, counts, 0.0).reshape(len(weights), self.labels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (counts / counts.sum(axis=2, keepdims=True)).reshape(len(weights), -1)
        return np.asarray(shares / np.where(pairs > 1e-9, pairs, 1.0) / self.labels)

    @cached_property
    def _factor(self) -> Floats:
        return np.asarray(self._factors(np.ones((1, len(self._sums))))[0])

    @cached_property
    def _sums(self) -> Floats:
        return self._by_patient(self.gaps)

    @cached_property
    def _counts(self) -> Floats:
        return self._by_patient(np.ones(len(self.gaps)))

    def _by_patient(self, values: Floats) -> Floats:
        """(G, C) sums of (M,) values."""
        count, cells = int(self.groups.max()) + 1, ECE_BINS * self.labels
        sums = np.bincount(self.groups * cells + self.cells, values, count * cells)
        return sums.reshape(count, cells).astype(np.float64)

    def _sum_cells(self, values: Floats) -> Floats:
        return np.bincount(self.cells, values, ECE_BINS * self.labels).astype(np.float64)

    @cached_property
    def _patients(self) -> Floats:
        """(M,) equally large patients that a prediction's cell is worth."""
        squares = (self._counts**2).sum(axis=0)
        return np.asarray((self._counts.sum(axis=0) ** 2 / np.maximum(squares, 1))[self.cells])

    @cached_property
    def _effective(self) -> float:
        sizes = self._counts.sum(axis=1)
        return float(sizes.sum() ** 2 / (sizes**2).sum())

    @cached_property
    def _mean_gaps(self) -> Floats:
        """(C,) mean gap of each cell."""
        return np.asarray(self._sums.sum(axis=0) / np.maximum(self._counts.sum(axis=0), 1))

    @cached_property
    def _shrunk_gaps(self) -> Floats:
        """(M,) mean gap of a prediction's cell, shrunk towards 0 where patients are few."""
        return np.asarray(self._mean_gaps[self.cells] * self._patients / (self._patients + _PRIOR_PATIENTS))

    @cached_property
    def _expected(self) -> Floats:
        """(M,) share of correct predictions that is expected at each one."""
        return np.clip(self.confidence + self._shrunk_gaps, 0, 1)

    @cached_property
    def _of_shares(self) -> float:
        """Variance of the mean square because the cells' shares of the predictions are themselves a draw."""
        squares = self._by_patient(self._shrunk_gaps**2).sum(axis=1)
        sizes = self._counts.sum(axis=1)
        return float(((squares - sizes * squares.sum() / sizes.sum()) ** 2).sum() / sizes.sum() ** 2)

    @cached_property
    def _effects(self) -> tuple[float, float]:
        """Design effects of the linear and the quadratic term: of patients over single predictions, at least 1.

        What exceeds 1 is enlarged: residuals of a patient are less alike than its gaps, since each filled cell has
        been fitted a mean.
        """
        if self._counts.sum(axis=1).max() == 1:
            return 1.0, 1.0
        single = self.gaps - self._mean_gaps[self.cells]
        residuals, squares = self._by_patient(single), self._by_patient(single**2)
        slope = self._factor * self._sums.sum(axis=0)
        linear = _ratio(((residuals @ slope) ** 2).sum(), (squares @ slope**2).sum())
        scaled = residuals * np.sqrt(self._factor)
        pairs = ((scaled.T @ scaled) ** 2).sum() - ((scaled**2).sum(axis=1) ** 2).sum()
        single_pairs = (self._factor**2 * (squares.sum(axis=0) ** 2 - (squares**2).sum(axis=0))).sum()
        filled = (self._counts.sum(axis=0) > 0).sum() / self.labels
        lost = self._effective / max(self._effective - filled, 1.0)
        return 1 + (linear - 1) * lost, 1 + (_ratio(pairs, single_pairs) - 1) * lost


def _ratio(clustered: float, single: float) -> float:
    return max(1.0, float(clustered / single)) if single > 0 else 1.0
