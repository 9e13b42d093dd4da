"""Video clips that tests write, lossless unless a test asks for another encoder."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_FORMATS = {(2, 1): "gray", (2, 2): "gray16le", (3, 1): "rgb24", (3, 2): "rgb48le"}


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    pixels: str | None = None,
    fps: int = 10,
    milliseconds: Sequence[int] | None = None,
    rotation: int = 0,
    container: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode frames, (H, W) or (H, W, 3), uint8 or uint16.

    Args:
        path: its ending names the container.
        frames: of one shape and type.
        codec: of the encoder; `ffv1` keeps every bit.
        pixels: format in the file; None for that of the frames.
        fps: frames per second.
        milliseconds: at which each frame is shown, instead.
        rotation: degrees by which players turn the clip anticlockwise.
        container: its format, if not that of the ending.
        options: of the encoder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = _FORMATS[frames[0].ndim, frames[0].dtype.itemsize]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels or ("bgr0" if codec == "ffv1" and kind == "rgb24" else kind)
        if rotation:
            stream.set_display_rotation(rotation)
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixel in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixel, format=kind)
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def noise(count: int, height: int = 24, width: int = 32, channels: int = 3, dtype: str = "uint8") -> list[np.ndarray]:
    """Frames of random pixels, the same each time."""
    random = np.random.default_rng(0)
    shape = (height, width, 3) if channels == 3 else (height, width)
    return [random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True) for _ in range(count)]


def blocks(count: int) -> list[np.ndarray]:
    """Frames of 48×64 pixels in coarse blocks of colour that encoders with losses change little."""
    return [np.kron(small, np.ones((8, 8, 1), np.uint8)) for small in noise(count, 6, 8)]
