"""Finds lines of printed text in an image: bright or dark marks of one height, side by side.

Not covered: handwriting, text fainter than the brightest structures around it or less than six pixels high, single
words of fewer than five letters, lines that are not level, and anything that only a reader would recognise.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

_LETTERS = 5
_MIN_HEIGHT, _MAX_SHARE = 6, 0.08
#: Images of fewer pixels per side hold no legible text.
MIN_SIDE = 96
_LEVELS = (0.9, 0.7, 0.5)  # small print is thinner than a pixel, and so fainter than it was meant to be


def shows_text(image: NDArray[np.generic]) -> bool:
    """Whether an image shows a level line of at least five marks that could be letters.

    Args:
        image: (C, H, W); of fewer than 96 pixels per side it never does.
    """
    grey = np.asarray(image, dtype=np.float64).max(axis=0)
    if min(grey.shape) < MIN_SIDE:
        return False
    low, high = float(grey.min()), float(grey.max())
    if high <= low:
        return False
    scaled = (grey - low) / (high - low)
    bright = (scaled > level for level in _LEVELS)
    dark = (scaled < 1 - level for level in _LEVELS)
    return any(_has_line(marks, grey.shape[0]) for marks in (*bright, *dark))


def _has_line(marks: NDArray[np.bool_], image_height: int) -> bool:
    labels, _ = label(marks, np.ones((3, 3)))
    letters = []
    for number, (rows, columns) in enumerate(find_objects(labels), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not _MIN_HEIGHT <= height <= max(_MIN_HEIGHT + 6, _MAX_SHARE * image_height) or width > 1.4 * height:
            continue
        filled = float((labels[rows, columns] == number).mean())
        if 0.15 <= filled <= 0.8:
            letters.append(((rows.start + rows.stop) / 2, columns.start, columns.stop, height))
    return any(_line_length(letters, start) >= _LETTERS for start in letters)


def _line_length(letters: list[tuple[float, int, int, int]], start: tuple[float, int, int, int]) -> int:
    """Marks that follow one another to the right of `start`, level with it and of its height."""
    middle, _, end, height = start
    length = 1
    for other in sorted(letters, key=lambda letter: letter[1]):
        level = abs(other[0] - middle) <= 0.12 * height and abs(other[3] - height) <= 0.12 * height
        if level and end <= other[1] <= end + 0.8 * height:
            length, end = length + 1, other[2]
    return length
