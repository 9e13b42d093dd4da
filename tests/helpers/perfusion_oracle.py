"""What is reachable on the `perfusion` phantom: the predictions of an observer who knows how it is generated.

The observer knows the patient's anatomy, motion and noise, so each frame gives an estimate of the lesion's enhancement
with a known error (least squares over the lesion's pixels). The lesion's curve is unknown: amplitude, arrival, rise and
steepness are integrated out over the distributions from which they were drawn. This is Bayes' rule: except by chance,
no classifier of the recorded frames does better.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from vesalius.data.phantoms.kinetics import CURVES, Kinetics
from vesalius.data.phantoms.perfusion import PARAMETERS, Protocol, acquire, draw_series

_SHAPES = 512
_AMPLITUDES = 64


@dataclass(frozen=True)
class Reading:
    """The lesion's enhancement as the observer reads it off a recorded series.

    Attributes:
        curve: (T,) estimates, in grey values.
        error: (T,) their standard deviations, the lesion's own fluctuation not counted.
        times: (T,) seconds since the first frame.
    """

    curve: NDArray[np.float64]
    error: NDArray[np.float64]
    times: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The observer's prediction from a reading.

    Attributes:
        scores: (4,) probabilities in the order of `CURVES`.
        time_to_peak: expected seconds, given that the lesion enhances.
    """

    scores: NDArray[np.float64]
    time_to_peak: float


def read_curve(seed: int, number: int, section: int, protocol: Protocol) -> Reading:
    """Read the lesion's curve off a recorded series, everything else about it being known."""
    recorded = acquire(draw_series(seed, number, section, protocol), seed, number, section).astype(np.float64)
    without = draw_series(seed, number, section, protocol, "none")
    weight = (without.layers.lesion * without.layers.bias).astype(np.float64)
    strength = (weight**2).sum((1, 2))
    curve = (weight * (recorded - without.frames)).sum((1, 2)) / strength
    noise = np.sqrt(PARAMETERS.noise**2 + 1 / 12)  # of the scanner, and of rounding
    return Reading(curve, noise / np.sqrt(strength), without.times)


def classify(reading: Reading, frames: list[int] | None = None) -> Verdict:
    """The prediction of the best possible observer.

    Args:
        reading: from `read_curve`.
        frames: numbers of the frames to be seen; None for all.
    """
    seen = list(range(len(reading.times))) if frames is None else frames
    curve, error, end = reading.curve[seen], reading.error[seen], float(reading.times[-1])
    shapes, amplitudes = _prior()
    marginals, peaks = [float(_log_normal(curve, np.zeros(len(seen)), error**2))], []
    for label in CURVES[1:]:
        unit = np.stack([shape.enhancement(reading.times[seen], end, label) for shape in shapes])
        expected = unit[:, None] * amplitudes[:, None]
        variance = error**2 + (PARAMETERS.kinetics.fluctuation * expected) ** 2
        likelihood = logsumexp(_log_normal(curve, expected, variance), axis=1)
        marginals.append(float(logsumexp(likelihood) - np.log(len(shapes) * len(amplitudes))))
        weights = np.exp(likelihood - likelihood.max())
        peaks.append(float(np.average([shape.time_to_peak(end, label) for shape in shapes], weights=weights)))
    odds = np.exp(np.array(marginals) - max(marginals))
    enhancing = np.exp(np.array(marginals[1:]) - max(marginals[1:]))
    return Verdict(odds / odds.sum(), float(np.average(peaks, weights=enhancing)))


def _log_normal(
    value: NDArray[np.float64], mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of the normal density, summed over frames, but for a constant."""
    total: NDArray[np.float64] = -0.5 * ((value - mean) ** 2 / variance + np.log(variance)).sum(-1)
    return total


def _prior() -> tuple[list[Kinetics], NDArray[np.float64]]:
    """Curves of height 1 and amplitudes, evenly over the distributions that curves are drawn from."""
    ranges = PARAMETERS.kinetics
    generator = np.random.default_rng(0)
    draws = [generator.uniform(*span, _SHAPES) for span in (ranges.arrival, ranges.rise, ranges.change)]
    shapes = [Kinetics(1.0, *map(float, values)) for values in zip(*draws, strict=True)]
    low, high = np.log(ranges.amplitude)
    return shapes, np.exp(low + (high - low) * (np.arange(_AMPLITUDES) + 0.5) / _AMPLITUDES)
