"""Removal of drift from the time series of every voxel, before frames are compared."""

from collections.abc import Iterator

import numpy as np


def remove_drift(series: np.ndarray, run_length: int, *, detrend: bool, standardize: bool) -> np.ndarray:
    """Detrend and z-score each voxel within each run, as is usual before decoding from functional MRI.

    Each run is treated by itself, so nothing leaks from one run to another; but every frame of a run depends on all
    others of it, so the honest split is by run.

    Args:
        series: (..., T), any numbers.
        run_length: frames per run; it divides T.
        detrend: subtract the least-squares line of each voxel over the run.
        standardize: subtract the mean and divide by the standard deviation (of the population); a voxel that never
            changes becomes 0.

    Returns:
        (..., T) float32.
    """
    result = np.empty(series.shape, dtype=np.float32)
    for run in _runs(series.shape[-1], run_length):
        values = series[..., run].astype(np.float64)
        level = values.mean(axis=-1, keepdims=True)
        size = np.abs(values).max(axis=-1, keepdims=True)
        if detrend:
            time = np.arange(run_length) - (run_length - 1) / 2
            slope = values @ time / max(time @ time, 1.0)
            values -= level + slope[..., None] * time
        elif standardize:
            values -= level
        if standardize:
            spread = values.std(axis=-1, keepdims=True)
            flat = spread <= 1e-12 * size  # the rest of a constant (or of a line) is rounding error
            values = np.where(flat, 0.0, values / np.where(flat, 1.0, spread))
        result[..., run] = values
    return result


def _runs(frames: int, run_length: int) -> Iterator[slice]:
    for start in range(0, frames, run_length):
        yield slice(start, start + run_length)
