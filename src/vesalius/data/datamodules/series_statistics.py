"""Features of image series for baseline models, which a recurrent network should beat.

Each function reads the store a few series at a time, so that memory stays bounded.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.store.store import Store
from vesalius.metrics.baselines.linear_models import pool

#: Frames into which every series is cut for a linear model, whatever its length.
EVEN_FRAMES = 32
_SERIES_AT_ONCE = 32
_PERCENTILES = (0.05, 0.5, 0.95, 0.99)

Floats = NDArray[np.float64]


def even_frames(store: Store, rows: Tensor, longest: int) -> Floats:
    """Frames evenly chosen from each series, averaged down to at most 28 pixels per side: (N, frames·C·h·w).

    Args:
        store: of series.
        rows: (N,) which series.
        longest: frames of the longest series; at most `EVEN_FRAMES` are taken.
    """
    pooled = []
    for few in torch.split(rows, _SERIES_AT_ONCE):
        positions = even_positions(store, few, min(EVEN_FRAMES, longest))
        pooled.append(pool(store.frames(positions).to(torch.float32).flatten(1, 2).numpy()))
    return np.concatenate(pooled)


def even_positions(store: Store, rows: Tensor, count: int) -> Tensor:
    """Numbers in the store (N, count) of frames evenly chosen from each series, the first and last included."""
    part = torch.linspace(0, 1, count)
    return store.offsets[rows][:, None] + ((store.lengths[rows][:, None] - 1) * part).round().long()


def mean_over_time(store: Store, rows: Tensor) -> Floats:
    """The mean of each series over its frames: (N, C·H·W)."""
    return np.stack([frames.mean(0).flatten().numpy() for frames in _series(store, rows)]).astype(np.float64)


def curve_statistics(store: Store, rows: Tensor) -> Floats:
    """Numbers that describe how grey values change over time: (N, 66 for one channel).

    Curves: mean, standard deviation and four percentiles of each frame's pixels, channel by channel. For each curve:
    mean, standard deviation, smallest, largest, first, last, last minus first, where the largest is (0 first, 1 last),
    slope over all frames, over the first half and over the second half (per frame, by least squares).
    """
    return np.stack([_describe(frames) for frames in _series(store, rows)])


def _series(store: Store, rows: Tensor) -> Iterator[Tensor]:
    """(T, C, H, W) float32, one series after the other."""
    for row in rows.tolist():
        yield store.frames(torch.arange(int(store.offsets[row]), int(store.offsets[row + 1]))).to(torch.float32)


def _describe(frames: Tensor) -> Floats:
    pixels = frames.flatten(2)
    levels = torch.quantile(pixels, torch.tensor(_PERCENTILES), dim=2)
    curves = torch.cat([pixels.mean(2)[None], pixels.std(2, correction=0)[None], levels]).permute(0, 2, 1)
    described = [_describe_curve(curve) for curve in curves.flatten(0, 1).double().numpy()]
    return np.concatenate(described)


def _describe_curve(curve: Floats) -> Floats:
    half = max(1, len(curve) // 2)
    place = float(curve.argmax()) / max(1, len(curve) - 1)
    slopes = [_slope(curve), _slope(curve[:half]), _slope(curve[half:])]
    ends = [curve[0], curve[-1], curve[-1] - curve[0]]
    return np.array([curve.mean(), curve.std(), curve.min(), curve.max(), *ends, place, *slopes])


def _slope(curve: Floats) -> float:
    """By least squares, per frame; 0 where there are fewer than two."""
    if len(curve) < 2:
        return 0.0
    time = np.arange(len(curve)) - (len(curve) - 1) / 2
    return float(time @ curve / (time @ time))
