"""Relevance drawn over the images that it belongs to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Colours of relevance 0 to 1, evenly spaced: dark to bright, also for the colour-blind (matplotlib's inferno).
_COLOURS = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)
_OPACITY = 0.65


def overlay(images: NDArray[Any], maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Images under the colours of their relevance, which show the more of it the less relevant a pixel is.

    Args:
        images: (T, C, H, W) as the model takes them.
        maps: (T, H, W) of relevance in 0..1.

    Returns:
        (T, H, W, 3) in 0..255.
    """
    relevance = np.clip(maps, 0.0, 1.0)
    opacity = _OPACITY * np.sqrt(relevance)[..., None]
    blended: NDArray[np.float64] = visible(images) * (1 - opacity) + _coloured(relevance) * opacity
    return blended


def visible(images: NDArray[Any]) -> NDArray[np.float64]:
    """(T, H, W, 3) in 0..255; grey values of more than 8 bits are spread over it, but for the 0.5 % at either end."""
    channels = images[:, :3] if images.shape[1] >= 3 else np.repeat(images[:, :1], 3, axis=1)
    values = channels.transpose(0, 2, 3, 1).astype(np.float64)
    if images.dtype == np.uint8:
        return values
    low, high = np.percentile(values, (0.5, 99.5))
    scaled: NDArray[np.float64] = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    return scaled


def _coloured(relevance: NDArray[np.float32]) -> NDArray[np.float64]:
    places = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(relevance, places, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
