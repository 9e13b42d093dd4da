"""What is reachable on the `perfusion` phantom: the classifier of an observer who knows how it is made.

The observer is told the patient's anatomy, motion and noise, so that each frame gives an estimate of the lesion's
enhancement with a known error (least squares over the lesion's pixels). The lesion's curve is not told: amplitude,
arrival, rise and steepness are integrated out over the distributions from which they were drawn. This is Bayes' rule, so no
classifier of the recorded frames does better but by chance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from vesalius.data.phantoms.kinetics import CURVES, Kinetics
from vesalius.data.phantoms.perfusion import PARAMETERS, Protocol, acquire, draw_series

_SHAPES = 2048
_AMPLITUDES = 64


@dataclass(frozen=True)
class Reading:
    """The lesion's enhancement as the observer reads it off a recorded series.

    Attributes:
        curve: (T,) estimates, in grey values.
        error: (T,) their standard deviations.
        times: (T,) seconds since the first frame.
    """

    curve: NDArray[np.float64]
    error: NDArray[np.float64]
    times: NDArray[np.float64]


def read_curve(seed: int, number: int, section: int, protocol: Protocol) -> Reading:
    """Read the lesion's curve off a recorded series, everything else about it being known."""
    recorded = acquire(draw_series(seed, number, section, protocol), seed, number, section).astype(np.float64)
    without = draw_series(seed, number, section, protocol, "none")
    weight = (without.layers.lesion * without.layers.bias).astype(np.float64)
    strength = (weight**2).sum((1, 2))
    curve = (weight * (recorded - without.frames)).sum((1, 2)) / strength
    noise = np.sqrt(PARAMETERS.noise**2 + 1 / 12)  # of the scanner, and of rounding
    return Reading(curve, noise / np.sqrt(strength), without.times)


def oracle_scores(reading: Reading, frames: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
    """Class probabilities of the best possible observer.

    Args:
        reading: from `read_curve`.
        frames: indices of the frames to be seen; None for all.

    Returns:
        (4,) probabilities in the order of `CURVES`.
    """
    seen = np.arange(len(reading.times)) if frames is None else frames
    shapes, amplitudes = _prior(reading)
    curve, weight = reading.curve[seen], reading.error[seen] ** -2
    evidence = [0.0]
    for label in CURVES[1:]:
        unit = np.stack([shape.enhancement(reading.times, float(reading.times[-1]), label) for shape in shapes])[
            :, seen
        ]
        cross, square = unit @ (weight * curve), unit**2 @ weight
        likelihood = cross[:, None] * amplitudes - square[:, None] * amplitudes**2 / 2
        evidence.append(float(logsumexp(likelihood) - np.log(likelihood.size)))
    odds = np.exp(np.array(evidence) - max(evidence))
    scores: NDArray[np.float64] = odds / odds.sum()
    return scores


def _prior(reading: Reading) -> tuple[list[Kinetics], NDArray[np.float64]]:
    """Curves of height 1 and amplitudes, evenly over the distributions that curves are drawn from."""
    ranges = PARAMETERS.kinetics
    generator = np.random.default_rng(0)
    draws = [generator.uniform(*span, _SHAPES) for span in (ranges.arrival, ranges.rise, ranges.change)]
    shapes = [Kinetics(1.0, *map(float, values)) for values in zip(*draws, strict=True)]
    low, high = np.log(ranges.amplitude)
    return shapes, np.exp(low + (high - low) * (np.arange(_AMPLITUDES) + 0.5) / _AMPLITUDES)
