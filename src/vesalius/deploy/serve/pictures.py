"""Inputs as pictures: what the model takes, and on it a heat map of what its prediction rests on."""

import io
from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.deploy.explain.overlay import overlay, visible

MOST_FRAMES = 32
_SIDE = 512  # of a frame, in pixels


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
    step = -(-max(images.shape[2:]) // _SIDE)
    shown = images[chosen, :, ::step, ::step]
    frames = visible(shown) if maps is None else overlay(shown, maps[chosen, ::step, ::step])
    strip = np.concatenate(list(frames.round().astype(np.uint8)), axis=1)
    file = io.BytesIO()
    Image.fromarray(strip).save(file, "PNG", compress_level=3)
    return file.getvalue(), count


def data_url(png: bytes) -> str:
    """A PNG within a text."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
