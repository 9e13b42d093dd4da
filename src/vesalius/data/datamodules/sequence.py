"""The datamodule of the LSTM family: image series with their times and targets, in whole batches."""

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import Batch, ImageDataModule
from vesalius.data.datamodules.series_statistics import curve_statistics, even_frames, mean_over_time
from vesalius.data.sampling.epoch_sampler import EpochSampler
from vesalius.data.sampling.frames import FrameSampling, sample_frames
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store

logger = logging.getLogger("vesalius")

_EVAL_VALUES = 2**27  # pixels of an evaluation batch: half a gigabyte once they are floats
_STATISTICS_FRAMES = 2_000
_GOLDEN = (math.sqrt(5) - 1) / 2


class SeriesDataset(Dataset[Batch]):
    """Cuts whole batches of series out of a store: indexed by a tensor of row numbers.

    A batch is as long as its longest series. Padding stands at the end and repeats the last real frame and its time:
    whoever forgets the mask still sees an image, and no value that the set does not have.

    Args:
        store: of series.
        targets: one entry a series.
        time: (frames,) float32 seconds of every frame in the store, since the first of its series.
    """

    def __init__(self, store: Store, targets: Tensor, time: Tensor) -> None:
        self.store, self.targets, self.time = store, targets, time

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Batch:
        length = self.store.lengths[index]
        return self.gather(index, torch.arange(int(length.max())).expand(len(index), -1), length)

    def gather(self, index: Tensor, frames: Tensor, length: Tensor) -> Batch:
        """A batch of some frames of some series.

        Args:
            index: (B,) row numbers.
            frames: (B, T) numbers of frames within their series, ascending.
            length: (B,) how many of them count, 1 or more.
        """
        place = torch.arange(frames.shape[1])
        frames = frames.gather(1, place.minimum(length[:, None] - 1))
        positions = self.store.offsets[index][:, None] + frames
        time = self.time[positions]
        return {
            "image": self.store.frames(positions),
            "mask": place < length[:, None],
            "time": time - time[:, :1],
            "length": length,
            "target": self.targets[index],
            "index": index,
        }


class SampledFrames(Dataset[Batch]):
    """Some frames of each series, other ones at every epoch; the epoch is the sampler's."""

    def __init__(
        self, whole: SeriesDataset, sampler: EpochSampler, count: int, sampling: FrameSampling, seed: int
    ) -> None:
        self.whole, self.sampler = whole, sampler
        self.count, self.sampling, self.seed = count, sampling, seed

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: Tensor) -> Batch:
        length = self.whole.store.lengths[index]
        frames, chosen = sample_frames(
            length, index, self.count, self.sampling, seed=self.seed, epoch=self.sampler.epoch
        )
        return self.whole.gather(index, frames, chosen)


class SequenceData(ImageDataModule):
    """Image series with their targets; see `ImageDataModule` for the other options.

    A batch holds `image` (B, T, C, H, W), the stored integers, or floats in the same units once augmented (geometry
    alike for all frames of a series); `mask` (B, T) bool, True where a frame is real; `time` (B, T) float32 seconds
    since the first frame, or numbers of frames where there are no times; `length` (B,) int64 real frames; `target` (B,)
    int64 class indices, or (B, K) float32 for `multilabel` and `regression`; `index` (B,) int64 row numbers in the
    table. T is the longest series of the batch; padding repeats the last real frame and its time.

    Args:
        source: gives image series.
        frames: how many frames of a series a training step sees at most; None for all. Validation and test always see
            whole series.
        frame_sampling: which these are: `random`, any subset in its order; `uniform`, evenly spread from a random
            beginning; `first`, the beginning of the series.

    Raises:
        InputError: for a source of single images; from `setup` for everything that is wrong with the data.
    """

    dataset: SeriesDataset | None

    def __init__(
        self,
        source: Source,
        *,
        frames: int | None = None,
        frame_sampling: FrameSampling = "random",
        **options: Any,
    ) -> None:
        super().__init__(source, **options)
        if frames is not None and frames < 1:
            raise InputError(f"data.frames={frames}: must be 1 or more, or null for whole series.")
        self.frames, self.frame_sampling = frames, frame_sampling

    def check_source(self, source: Source) -> None:
        """Refuse single images."""
        if not source.series:
            raise InputError(
                "data: this source gives single images, and the model reads series: choose model=cnn, or "
                "data.source.unit=time_series (or volume) where the source has that option."
            )

    def make_dataset(self) -> SeriesDataset:
        """Series beside their targets and times."""
        self.time, self.timed = frame_times(self.table, self.store)
        return SeriesDataset(self.store, self.targets, self.time)

    def eval_size(self) -> int:
        """Series of a batch of validation and test, each of them whole: of long ones fewer."""
        longest = int(self.store.lengths.max()) * math.prod(self.store.shape)
        return max(1, min(self.eval_batch_size, _EVAL_VALUES // longest))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches whose order and frames are a function of (seed, epoch) alone."""
        loader = super().train_dataloader()
        sampler = loader.sampler
        if self.frames is None:
            return loader
        assert self.dataset is not None
        assert isinstance(sampler, EpochSampler)
        some = SampledFrames(self.dataset, sampler, self.frames, self.frame_sampling, self.seed)
        return DataLoader(some, batch_size=None, sampler=sampler, generator=torch.Generator())

    def pixels(self, rows: Tensor) -> Tensor:
        """About 2,000 frames of some series, spread over each, (N, C, H, W), stored type: for statistics."""
        each = max(1, _STATISTICS_FRAMES // len(rows))
        begin = (torch.arange(len(rows), dtype=torch.float64) * _GOLDEN % 1)[:, None]
        part = (torch.arange(each) + begin) / each
        length = self.store.lengths[rows][:, None]
        frames = (part * length).long().minimum(length - 1)
        return self.store.frames((self.store.offsets[rows][:, None] + frames).flatten())

    def linear_inputs(self, rows: Tensor) -> dict[str, NDArray[Any]]:
        """What cheap models are given: frames in their order, their mean, and statistics of grey-value curves."""
        longest = int(self.store.lengths.max())
        return {
            "pixels": even_frames(self.store, rows, longest)[:, :, None, None],
            "mean_over_time": mean_over_time(self.store, rows),
            "curve_statistics": curve_statistics(self.store, rows),
        }

    def unfit(self, trained: Facts) -> list[str]:
        """Seconds and numbers of frames are not to be confused."""
        if self.timed == (trained.time_step is not None):
            return []
        has, had = ("seconds", "none") if self.timed else ("no times", "seconds")
        return [
            f"data: the frames have {has}, those that the run was trained on had {had}: the model reads what passes "
            "between frames, so give series of the same kind (every one with times, or none)."
        ]

    def _facts(self) -> Facts:
        train = self.rows("train")
        return replace(
            super()._facts(),
            sequence_length=int(self.store.lengths.max()),
            time_step=_median_gap(self.store, self.time, train) if self.timed else None,
        )


def frame_times(table: pd.DataFrame, store: Store) -> tuple[Tensor, bool]:
    """When each frame of a store was taken.

    Args:
        table: the store's; its column `_times`, if there is one, holds a list of seconds for each series.
        store: of series.

    Returns:
        (frames,) float32, counted from the first frame of each series: seconds, or where series have no times (as
        slices of a volume) or only some have, the frame's number; and whether they are seconds.

    Raises:
        InputError: for times that do not belong to the frames, are no finite numbers, or do not rise, be it only once
            they are 32-bit floats.
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
    names, lengths = table["sample_id"].tolist(), store.lengths.tolist()
    wrong = [name for name, times, length in zip(names, given, lengths, strict=True) if len(times) != length]
    endless = [name for name, times in zip(names, given, strict=True) if not np.isfinite(times).all()]
    unordered = [
        name
        for name, times in zip(names, given, strict=True)
        if np.isfinite(times).all() and not (np.diff(times) > 0).all()
    ]
    seconds = [_since_first(times) for times in given]
    told = set(endless) | set(unordered)
    blurred = [
        name
        for name, times in zip(names, seconds, strict=True)
        if name not in told and not (np.isfinite(times).all() and (np.diff(times) > 0).all())
    ]
    problems = []
    if wrong:
        problems.append(
            f"{len(wrong)} series have another number of times than of frames: {format_list(wrong)}; correct the "
            "source."
        )
    if endless:
        problems.append(
            f"{len(endless)} series have times that are no finite numbers: {format_list(endless)}; correct the "
            "times, or give none."
        )
    if unordered:
        problems.append(
            f"{len(unordered)} series have times that do not rise from frame to frame: {format_list(unordered)}; "
            "correct the times, or put the frames in order."
        )
    if blurred:
        problems.append(
            f"{len(blurred)} series have times that 32-bit floats, which hold seven digits, cannot tell apart or "
            f"cannot hold: {format_list(blurred)}; give them in seconds, and correct frames that are far too close "
            "or late."
        )
    if problems:
        raise InputError(problems)
    return torch.from_numpy(np.concatenate(seconds)), True


def _times(value: object) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64) if isinstance(value, list | tuple | np.ndarray) else np.empty(0)


def _since_first(times: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
        since: NDArray[np.float32] = (times - times[0]).astype(np.float32)
    return since


def _median_gap(store: Store, time: Tensor, rows: Tensor) -> float:
    """Median seconds between neighbouring frames of some series; 1 where none has two frames."""
    starts, ends = store.offsets[rows].tolist(), store.offsets[rows + 1].tolist()
    gaps = torch.cat([time[start:end].diff() for start, end in zip(starts, ends, strict=True)])
    return float(gaps.median()) if len(gaps) else 1.0
