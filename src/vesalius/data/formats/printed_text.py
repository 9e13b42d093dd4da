"""Finds lines of printed text in images, and masks them: bright or dark marks of one height, side by side.

Not covered: handwriting, text fainter than the brightest structures around it or less than six pixels high, single
words of fewer than five letters that stand apart from others, lines that are not level, and anything that only a reader
would recognise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

_LETTERS = 5
_MIN_HEIGHT, _MAX_SHARE = 6, 0.08
#: Images of fewer pixels per side hold no legible text.
MIN_SIDE = 96
_LEVELS = (0.9, 0.7, 0.5)  # small print is thinner than a pixel, and so fainter than it was meant to be
_ROUNDS = 4  # a mask may bring out what brighter print has hidden

_EIGHT = np.ones((3, 3))


@dataclass(frozen=True)
class _Box:
    """Rows and columns from the first to behind the last."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def joined(self, other: "_Box") -> "_Box":
        return _Box(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def grown(self, margin: int) -> tuple[slice, slice]:
        rows = slice(max(0, self.top - margin), self.bottom + margin)
        return rows, slice(max(0, self.left - margin), self.right + margin)


def shows_text(image: NDArray[np.generic]) -> bool:
    """Whether an image shows a level line of at least five marks that could be letters.

    Args:
        image: (C, H, W); of fewer than 96 pixels per side it never does.
    """
    return next(_text_boxes(_grey(image)), None) is not None


def mask_text(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """An image with each line of text, and what is printed close to it, filled with the grey value around it.

    Args:
        image: (C, H, W).

    Returns:
        The same array where no text is found, else a changed copy. `shows_text` finds what is left.
    """
    for _ in range(_ROUNDS):
        boxes = [(box, _margin(letter)) for box, letter in _text_boxes(_grey(image))]
        if not boxes:
            break
        image = image.copy()
        for box, margin in boxes:
            fill(image, *box.grown(margin))
    return image


def fill(image: NDArray[np.generic], rows: slice, columns: slice) -> None:
    """Give a rectangle of an image, or of each frame of a series, (..., H, W), the median value of its surroundings."""
    wide_rows, wide_columns = (slice(max(0, part.start - 3), part.stop + 3) for part in (rows, columns))
    for frame in image.reshape(-1, *image.shape[-2:]):  # a view: images are contiguous once they are copied
        ring = np.ones(frame.shape, dtype=bool)
        ring[rows, columns] = False
        around = frame[wide_rows, wide_columns][ring[wide_rows, wide_columns]]
        frame[rows, columns] = np.median(around).astype(frame.dtype) if around.size else frame.min()


def _grey(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """(H, W), from 0 to 1; empty for an image that is too small for text, or is constant."""
    grey: NDArray[np.float64] = np.asarray(image, dtype=np.float64).max(axis=0)
    low, high = float(grey.min()), float(grey.max())
    if min(grey.shape) < MIN_SIDE or not high > low:
        return np.zeros((0, 0))
    return (grey - low) / (high - low)


def _text_boxes(grey: NDArray[np.float64]) -> Iterator[tuple[_Box, float]]:
    """The lines of text with all that is printed close to them, and the height of their letters."""
    if not grey.size:
        return
    for level in _LEVELS:
        yield from _lines(grey > level, grey.shape[0])
    for level in _LEVELS:
        yield from _lines(grey < 1 - level, grey.shape[0])


def _lines(marks: NDArray[np.bool_], image_height: int) -> Iterator[tuple[_Box, float]]:
    labels, _ = label(marks, _EIGHT)
    letters = []
    for number, (rows, columns) in enumerate(find_objects(labels), 1):
        box = _Box(rows.start, rows.stop, columns.start, columns.stop)
        width = box.right - box.left
        if not _MIN_HEIGHT <= box.height <= max(_MIN_HEIGHT + 6, _MAX_SHARE * image_height) or width > 1.4 * box.height:
            continue
        filled = np.count_nonzero(labels[rows, columns] == number) / (box.height * width)
        if 0.15 <= filled <= 0.8:
            letters.append(box)
    letters.sort(key=lambda box: box.left)
    taken: set[_Box] = set()
    for place, start in enumerate(letters):
        if start in taken:
            continue
        line = _line_from(letters[place:], start)
        if len(line) >= _LETTERS:
            box, members = _with_neighbours(line, letters)
            taken |= members
            yield box, start.height


def _line_from(letters: list[_Box], start: _Box) -> list[_Box]:
    """Marks, of those sorted from the left, that follow one another behind `start`, level with it and of its height."""
    middle, line = (start.top + start.bottom) / 2, [start]
    for other in letters:
        if other.left > line[-1].right + 0.8 * start.height:
            break
        tolerance = 0.12 * start.height
        level = (
            abs((other.top + other.bottom) / 2 - middle) <= tolerance and abs(other.height - start.height) <= tolerance
        )
        if level and line[-1].right <= other.left:
            line.append(other)
    return line


def _with_neighbours(line: list[_Box], letters: list[_Box]) -> tuple[_Box, set[_Box]]:
    """The box of a line and of marks of its size close to it, such as further words and lines, and these marks."""
    height, box, members = line[0].height, line[0], set(line)
    for letter in line:
        box = box.joined(letter)
    first, last = box.top - 2.2 * height, box.bottom + 2.2 * height  # a line above and one below, and no further
    alike = [
        other
        for other in letters
        if 0.6 * height <= other.height <= 1.6 * height and first <= other.top and other.bottom <= last
    ]
    grows = True
    while grows:
        grows = False
        for other in alike:
            if other not in members and max(box.left - other.right, other.left - box.right) <= 1.5 * height:
                box, grows = box.joined(other), True
                members.add(other)
    return box, members


def _margin(letter: float) -> int:
    """Around a line: what falls below it, as the tail of a `y` does, and the soft edges of print."""
    return max(2, round(0.4 * letter))
