"""Masks what is drawn over a clip: pixels that are bright and never move while the image beneath them does."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from vesalius.data.formats.printed_text import fill, mask_text, shows_text

#: Part of the fingerprint of data that are masked: raise it whenever a byte may come out different.
MASK_VERSION = 1
#: Frames below which nothing is known to stand still.
MIN_FRAMES = 8
_STILL = 0.03  # of the range: what lossy compression changes
_BRIGHT = 0.5
_MOVING = 0.05  # of all pixels, below which a clip has nothing to stand still against
_LARGEST = 0.02  # of all pixels: larger ones are edges of the sector or bars, which a box around them would not leave
_MARGIN = 2


def mask_print(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """An image, (C, H, W), without text, or a series, (T, C, H, W), without text and static overlays."""
    return mask_text(pixels) if pixels.ndim == 3 else mask_overlays(pixels)


def shows_print(pixels: NDArray[np.generic]) -> bool:
    """Whether an image, (C, H, W), shows text, or a series, (T, C, H, W), text or static overlays."""
    return shows_text(pixels) if pixels.ndim == 3 else shows_overlay(pixels)


def mask_overlays(series: NDArray[np.generic]) -> NDArray[np.generic]:
    """A clip with text, and static bright marks, filled with the grey values around them.

    Args:
        series: (T, C, H, W).

    Returns:
        The same array where nothing is found, else a changed copy. `shows_overlay` finds what is left.
    """
    boxes = list(_static_marks(series))
    if boxes:
        series = series.copy()
        for rows, columns in boxes:
            fill(series, rows, columns)
    for view in _views(series):
        changed = (mask_text(view) != view).any(axis=0)
        if changed.any():
            series = series.copy()
            for rows, columns in find_objects(label(changed)[0]):
                fill(series, rows, columns)
    return series


def shows_overlay(series: NDArray[np.generic]) -> bool:
    """Whether a clip, (T, C, H, W), shows text in some frames, or static bright marks of the size of print."""
    return any(shows_text(view) for view in _views(series)) or next(_static_marks(series), None) is not None


def _views(series: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Images, (C, H, W), in which print shows: the first, the middle and the last frame, and what stands still."""
    for at in dict.fromkeys((0, len(series) // 2, len(series) - 1)):
        yield series[at]
    still = _still(series)
    if still is not None:
        yield np.where(still, series[0], series.min())


def _still(series: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """(H, W), which pixels never move; None for a clip that moves too little, or is too short, to tell."""
    low, high = float(series.min()), float(series.max())
    if len(series) < MIN_FRAMES or not high > low:
        return None
    spread = series.max(axis=0).astype(np.float64) - series.min(axis=0)
    still: NDArray[np.bool_] = (spread <= _STILL * (high - low)).all(axis=0)
    return still if 1 - still.mean() >= _MOVING else None


def _static_marks(series: NDArray[np.generic]) -> Iterator[tuple[slice, slice]]:
    still = _still(series)
    if still is None:
        return
    low, high = float(series.min()), float(series.max())
    bright = (series[0].astype(np.float64) - low).max(axis=0) >= _BRIGHT * (high - low)
    largest = _LARGEST * still.size
    for rows, columns in find_objects(label(still & bright, np.ones((3, 3)))[0]):
        if (rows.stop - rows.start) * (columns.stop - columns.start) <= largest:
            yield (
                slice(max(0, rows.start - _MARGIN), rows.stop + _MARGIN),
                slice(max(0, columns.start - _MARGIN), columns.stop + _MARGIN),
            )
