"""Inputs as pictures: what the model takes, and on it a heat map of what its prediction rests on."""

import io
from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_FRAMES = 32
_SIDE = 512  # of a frame, in pixels
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


def film(images: NDArray[Any], maps: NDArray[np.float32] | None = None) -> tuple[bytes, int]:
    """The frames of an input next to each other, at most `MOST_FRAMES` of them, evenly spread.

    Args:
        images: (T, C, H, W) as the model takes them.
        maps: (T, H, W) of relevance in 0..1, drawn over the frames.

    Returns:
        A PNG, and the number of frames in it.
    """
    count = min(len(images), MOST_FRAMES)
    chosen = np.linspace(0, len(images) - 1, count).round().astype(int)
    frames = _visible(images[chosen])
    step = -(-max(frames.shape[1:3]) // _SIDE)
    frames = frames[:, ::step, ::step]
    if maps is not None:
        relevance = np.clip(maps[chosen][:, ::step, ::step, None], 0.0, 1.0)
        opacity = _OPACITY * np.sqrt(relevance)
        frames = frames * (1 - opacity) + _coloured(relevance[..., 0]) * opacity
    strip = np.concatenate(list(frames.round().astype(np.uint8)), axis=1)
    file = io.BytesIO()
    Image.fromarray(strip).save(file, "PNG", compress_level=3)
    return file.getvalue(), count


def data_url(png: bytes) -> str:
    """A PNG within a text."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _visible(images: NDArray[Any]) -> NDArray[np.float64]:
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
