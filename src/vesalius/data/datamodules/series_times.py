"""When each frame of a series was taken, checked: times must belong to the frames, be finite, and rise."""

import logging

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.store.store import Store

logger = logging.getLogger("vesalius")


def frame_times(table: pd.DataFrame, store: Store) -> tuple[Tensor, bool]:
    """The time of each frame of a store.

    Args:
        table: the store's; its column `_times`, if there is one, holds a list of seconds for each series.
        store: of series.

    Returns:
        (frames,) float32, counted from the first frame of each series: seconds, or where series have no times (as
        slices of a volume) or only some have, the frame's number; and whether they are seconds.

    Raises:
        InputError: for times that do not belong to the frames, are not finite, or do not rise, be it only once they
            are 32-bit floats.
    """
    numbers = torch.cat([torch.arange(length) for length in store.lengths.tolist()]).to(torch.float32)
    given = [_times(value) for value in table["_times"]] if "_times" in table else [np.empty(0)] * len(table)
    without = sum(len(times) == 0 for times in given)
    if without:
        if without < len(given):
            logger.warning(
                "%d of %d series have no times: frames are counted instead, in all of them.", without, len(given)
            )
        return numbers, False
    seconds = [_since_first(times) for times in given]
    if problems := _problems(table["sample_id"].tolist(), given, seconds, store.lengths.tolist()):
        raise InputError(problems)
    return torch.from_numpy(np.concatenate(seconds)), True


def median_gap(store: Store, time: Tensor, rows: Tensor) -> float:
    """Median seconds between neighbouring frames of some series; 1 where no series has two frames."""
    starts, ends = store.offsets[rows].tolist(), store.offsets[rows + 1].tolist()
    gaps = torch.cat([time[start:end].diff() for start, end in zip(starts, ends, strict=True)])
    return float(gaps.median()) if len(gaps) else 1.0


def _times(value: object) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64) if isinstance(value, list | tuple | np.ndarray) else np.empty(0)


def _since_first(times: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # `_problems` reports what overflows
        since: NDArray[np.float32] = (times - times[0]).astype(np.float32)
    return since


def _problems(
    names: list[str], given: list[NDArray[np.float64]], seconds: list[NDArray[np.float32]], lengths: list[int]
) -> list[str]:
    """One sentence for each kind of wrong times, with the series that have it."""
    found: dict[str, list[str]] = {"length": [], "endless": [], "unordered": [], "blurred": []}
    for name, times, since, length in zip(names, given, seconds, lengths, strict=True):
        if len(times) != length:
            found["length"].append(name)
        if not np.isfinite(times).all():
            found["endless"].append(name)
        elif not (np.diff(times) > 0).all():
            found["unordered"].append(name)
        elif not (np.isfinite(since).all() and (np.diff(since) > 0).all()):
            found["blurred"].append(name)
    sentences = {
        "length": "have another number of times than of frames: {}; correct the source.",
        "endless": "have times that are not finite numbers: {}; correct the times, or give none.",
        "unordered": "have times that do not rise from frame to frame: {}; correct the times, or put the frames in "
        "order.",
        "blurred": "have times that 32-bit floats, which hold seven digits, cannot tell apart or cannot hold: {}; give "
        "them in seconds, and correct frames that are far too close or late.",
    }
    return [
        f"{len(series)} series {sentences[kind].format(format_list(series))}"
        for kind, series in found.items()
        if series
    ]
