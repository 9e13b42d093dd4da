"""One picture of an input and of what its prediction rests on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.deploy.explain.overlay import overlay, visible

_BAR = (245, 125, 21)
#: Least side of an image in the picture, in pixels, and most frames in a row.
_SIDE, _COLUMNS = 224, 12
_BAR_HEIGHT, _GAP = 24, 4


def picture(images: NDArray[Any], maps: NDArray[np.float32], weights: NDArray[np.float32]) -> Image.Image:
    """An input as it is and with its relevance; below each frame of a series a bar as high as its time point's weight.

    Args:
        images: (T, C, H, W) as the model takes them.
        maps: (T, H, W) in 0..1.
        weights: (T,).
    """
    least = _SIDE if len(maps) == 1 else _SIDE // 2
    factor = max(1, -(-least // min(maps.shape[1:])))
    pair = np.rint(np.stack([visible(images), overlay(images, maps)], axis=1)).astype(np.uint8)
    grown = pair.repeat(factor, axis=2).repeat(factor, axis=3)
    if len(maps) == 1:
        gap = np.zeros((grown.shape[2], _GAP, 3), np.uint8)
        return Image.fromarray(np.concatenate([grown[0, 0], gap, grown[0, 1]], axis=1))
    cells = [_cell(two, weight / weights.max()) for two, weight in zip(grown, weights, strict=True)]
    columns = min(_COLUMNS, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[at : at + columns], axis=1) for at in range(0, len(cells), columns)]
    return Image.fromarray(np.concatenate(rows))


def _cell(two: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A frame, below it the frame with its relevance, below that its bar."""
    width = two.shape[2]
    bar = np.zeros((_BAR_HEIGHT, width, 3), np.uint8)
    high = round(share * (_BAR_HEIGHT - _GAP))
    bar[_BAR_HEIGHT - high :, width // 4 : -(width // 4) or None] = _BAR
    column = np.concatenate([two[0], two[1], bar])
    return np.pad(column, ((0, _GAP), (0, _GAP), (0, 0)))
