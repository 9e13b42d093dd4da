"""What is kept of validation, and computed of new data, to compare the two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Of the distribution of a statistic over samples, so many quantiles are kept at most.
MOST_QUANTILES = 200
#: Probabilities of single classes are compared up to so many classes; of more only the largest one.
MOST_CLASSES = 12


@dataclass
class Observations:
    """Statistics of N samples.

    Attributes:
        values: (N,) numbers by name, such as `intensity/mean`, `probability/cyst` or `distance`.
        decided: (N, K) whether a class is predicted; None for continuous targets.
        gaps: (N, K) truth minus calibrated probability; None without labels.
        groups: (N,) the patient of each sample; None where patients are not known.
    """

    values: dict[str, Floats] = field(default_factory=dict)
    decided: NDArray[np.bool_] | None = None
    gaps: Floats | None = None
    groups: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), ()))


def image_statistics(images: NDArray[np.generic], value_max: float) -> dict[str, float]:
    """Brightness, contrast and sharpness of one image or series.

    Args:
        images: (T, C, H, W) stored values.
        value_max: top of their range.

    Returns:
        By name, on the scale where `value_max` is 1: mean, standard deviation, 1st and 99th percentile of the pixels,
        and the mean difference between neighbouring pixels.
    """
    pixels = np.asarray(images, dtype=np.float32) / np.float32(value_max)
    low, high = np.percentile(pixels, [1, 99])
    steps = [np.abs(np.diff(pixels, axis=axis)).mean() if pixels.shape[axis] > 1 else 0.0 for axis in (-1, -2)]
    numbers = {"mean": pixels.mean(), "contrast": pixels.std(), "dark end": low, "bright end": high}
    numbers["sharpness"] = np.mean(steps)
    return {f"intensity/{name}": float(number) for name, number in numbers.items()}


def output_statistics(classes: Sequence[str], outputs: Floats, *, regression: bool) -> dict[str, Floats]:
    """(N,) numbers by name, of calibrated probabilities or continuous targets (N, K)."""
    if regression:
        return {f"value/{name}": outputs[:, k] for k, name in enumerate(classes)}
    found = {"confidence": outputs.max(axis=1)} if len(classes) > 2 else {}
    if len(classes) <= MOST_CLASSES:
        chosen = range(1, 2) if len(classes) == 2 else range(len(classes))
        found |= {f"probability/{classes[k]}": outputs[:, k] for k in chosen}
    return found


def stacked(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    """Statistics of single samples as one array by name."""
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else {})}


def quantiles(values: Floats) -> list[float]:
    """The values in order where they are few, else quantiles at equally spaced probabilities; six digits of each."""
    count = min(len(values), MOST_QUANTILES)
    found = np.quantile(values, (np.arange(count) + 0.5) / count, method="inverted_cdf")
    return [float(f"{value:.6g}") for value in found]
