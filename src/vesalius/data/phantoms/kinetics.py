"""How contrast agent enters a lesion and leaves it: the kinetic curve types of breast MRI.

A curve has an initial phase, in which it rises from nothing, and a delayed phase, which names its type: persistent
(type I) rises on, plateau (II) stays, wash-out (III) falls (Kuhl et al., Radiology 1999, 211:101-110); a lesion may
also take up nothing at all. Amplitude, arrival, rise and steepness are drawn alike for all types, and the delayed
phases of types I and III are mirror images of each other in time, about the same geometric mean: so neither the height
of a curve at one moment nor the set of its values without their order reveals much about the type.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CURVES = ("none", "persistent", "plateau", "washout")
_DIRECTION = {"none": 0, "persistent": 1, "plateau": 0, "washout": -1}


@dataclass(frozen=True)
class KineticParameters:
    """How much curves differ; times in seconds, heights in grey values.

    Attributes:
        amplitude: range of the height, log-uniform; the geometric mean of the delayed phase.
        arrival: range of the time at which the curve leaves zero.
        rise: range of the length of the initial phase.
        change: range of the logarithm of the delayed phase's last value over its first, or of the inverse.
        fluctuation: standard deviation, relative, of a curve's value from frame to frame: each breath moves the lesion
            a little out of the section.
    """

    amplitude: tuple[float, float] = (15.0, 120.0)
    arrival: tuple[float, float] = (20.0, 75.0)
    rise: tuple[float, float] = (15.0, 40.0)
    change: tuple[float, float] = (0.4, 0.6)
    fluctuation: float = 0.07


@dataclass(frozen=True)
class Kinetics:
    """One lesion's curve, drawn whether or not the lesion enhances; the label decides its type."""

    amplitude: float
    arrival: float
    rise: float
    change: float

    def enhancement(self, times: NDArray[np.float64], end: float, label: str) -> NDArray[np.float64]:
        """Grey values over the first frame's at `times`, without fluctuation.

        Args:
            times: seconds since the first frame, any shape.
            end: seconds until the series ends, when the delayed phase has changed by all of `change`.
            label: one of `CURVES`.
        """
        if label == "none":
            return np.zeros_like(times)
        peak = self.arrival + self.rise
        part = np.clip((times - self.arrival) / self.rise, 0, 1)
        delayed = np.clip((times - peak) / (end - peak), 0, 1)
        slope = _DIRECTION[label] * self.change
        curve: NDArray[np.float64] = self.amplitude * part * (2 - part) * np.exp(slope * (delayed - 0.5))
        return curve

    def time_to_peak(self, end: float, label: str) -> float:
        """Seconds since the first frame until the curve first reaches its maximum; NaN without a curve."""
        if label == "none":
            return math.nan
        return end if label == "persistent" else self.arrival + self.rise


def draw_kinetics(generator: np.random.Generator, parameters: KineticParameters) -> Kinetics:
    """A random curve, without a type."""
    low, high = parameters.amplitude
    return Kinetics(
        amplitude=math.exp(generator.uniform(math.log(low), math.log(high))),
        arrival=float(generator.uniform(*parameters.arrival)),
        rise=float(generator.uniform(*parameters.rise)),
        change=float(generator.uniform(*parameters.change)),
    )
