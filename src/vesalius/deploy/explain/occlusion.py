"""Relevance of places and time points from what a prediction loses without them; works for whatever computes it.

A place is hidden by a blurred copy of the image, which takes away its details but adds none (Fong and Vedaldi,
Interpretable explanations of black boxes, ICCV 2017); a grey square (Zeiler and Fergus 2014) could be taken for a
lesion. Of a series the place is hidden in all frames at once, since neighbouring frames hold nearly the same, and a
time point is weighed by leaving its frame out.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.deploy.backend import Backend
from vesalius.deploy.inputs import ModelInput

Floats = NDArray[np.float64]

#: Side of a hidden square, and how far squares lie apart, in parts of the image's shorter side.
PATCH, STEP = 1 / 8, 1 / 16
#: Inputs that are computed at once.
_BATCH = 32


def occlusion(backend: Backend, one: ModelInput, target: int) -> Floats:
    """(H, W) mean loss of the prediction over the squares that cover each pixel; below 0 where it gains.

    Args:
        backend: the model.
        one: image or series.
        target: number of the class or continuous target.
    """
    height, width = one.images.shape[-2:]
    blurred = _blur(one.images, max(2, round(PATCH * min(height, width))))
    squares = list(_squares(height, width))
    hidden = (ModelInput(_covered(one.images, blurred, square), one.seconds) for square in squares)
    losses = _losses(backend, one, hidden, target)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for (rows, columns), loss in zip(squares, losses, strict=True):
        total[rows, columns] += loss
        count[rows, columns] += 1
    return total / count


def time_point_losses(backend: Backend, one: ModelInput, target: int) -> Floats:
    """(T,) loss of the prediction without each frame, while the others keep their times; 1 for a single frame."""
    count = len(one.images)
    if count == 1:
        return np.ones(1)
    return np.asarray(_losses(backend, one, (_without(one, frame) for frame in range(count)), target), np.float64)


def _without(one: ModelInput, frame: int) -> ModelInput:
    """A series without a frame; the others keep their times, also where the first is gone."""
    seconds = None if one.seconds is None else np.delete(one.seconds, frame)
    return ModelInput(np.delete(one.images, frame, axis=0), seconds)


def _losses(backend: Backend, one: ModelInput, changed: Iterator[ModelInput], target: int) -> list[float]:
    """How much lower the target's value is for each changed input: the log-probability of a class."""
    whole = _values(backend, [one], target)[0]
    losses: list[float] = []
    while batch := list(islice(changed, _BATCH)):
        losses += (whole - _values(backend, batch, target)).tolist()
    return losses


def _values(backend: Backend, inputs: Sequence[ModelInput], target: int) -> Floats:
    values = backend.compute(inputs).values[:, target].astype(np.float64)
    return values if backend.facts.task == "regression" else np.log(np.maximum(values, 1e-6))


def _squares(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Overlapping squares that together cover the image."""
    side, step = (max(1, round(part * min(height, width))) for part in (PATCH, STEP))
    tops, lefts = ([*range(0, size - side, step), size - side] for size in (height, width))
    for top in tops:
        for left in lefts:
            yield slice(top, top + side), slice(left, left + side)


def _covered(images: NDArray[Any], blurred: NDArray[Any], square: tuple[slice, slice]) -> NDArray[Any]:
    changed = images.copy()
    changed[..., square[0], square[1]] = blurred[..., square[0], square[1]]
    return changed


def _blur(images: NDArray[Any], radius: int) -> NDArray[Any]:
    """Images (..., H, W) of the same type, each pixel the mean of a square around it, twice."""
    blurred = images.astype(np.float64)
    for axis in (-2, -1):
        for _ in range(2):
            blurred = _mean_along(blurred, axis, radius)
    return np.rint(blurred).astype(images.dtype) if images.dtype.kind in "ui" else blurred.astype(images.dtype)


def _mean_along(values: Floats, axis: int, radius: int) -> Floats:
    """The mean over 2 * radius + 1 pixels along an axis; the border repeats."""
    moved = np.moveaxis(values, axis, -1)
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(radius + 1, radius)], mode="edge")
    sums = np.cumsum(padded, axis=-1)
    width = 2 * radius + 1
    return np.moveaxis((sums[..., width:] - sums[..., :-width]) / width, -1, axis)
