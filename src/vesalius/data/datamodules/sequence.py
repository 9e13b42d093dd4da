"""The datamodule of the LSTM family: image series with their times and targets, in whole batches."""

import math
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import Batch, SampledFrames, SeriesDataset
from vesalius.data.datamodules.series_statistics import curve_statistics, even_frames, mean_over_time
from vesalius.data.datamodules.series_times import frame_times, median_gap
from vesalius.data.sampling.frames import FrameSampling
from vesalius.data.sources.base import Source

#: Pixels of an evaluation batch: half a gigabyte once they are floats.
EVAL_VALUES = 2**27
_STATISTICS_FRAMES = 2_000
_GOLDEN = (math.sqrt(5) - 1) / 2


class SequenceData(ImageDataModule):
    """Image series with their targets; see `ImageDataModule` for the other options.

    A batch holds `image` (B, T, C, H, W), the stored integers, or floats in the same units once augmented (geometry
    alike for all frames of a series); `frame` (B, T) int64 numbers of these frames in the store; `mask` (B, T) bool,
    True where a frame is real; `time` (B, T) float32 seconds since the first frame, or numbers of frames where there
    are no times; `length` (B,) int64 real frames; `target` (B,) int64 class indices, or (B, K) float32 for `multilabel`
    and `regression`; `index` (B,) int64 row numbers in the table. T is the longest series of the batch; padding repeats
    the last real frame and its time.

    Args:
        source: gives image series.
        frames: how many frames of a series a training step takes at most; None for all. Validation and test always
            take whole series.
        frame_sampling: which these are: `random`, any subset in its order; `uniform`, evenly spread from a random
            start; `first`, the beginning of the series.

    Raises:
        InputError: for a source of single images; from `setup` for everything that is wrong with the data.
    """

    fit_dataset: SeriesDataset

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
        """Series with their targets and times."""
        self.time, self.timed = frame_times(self.table, self.store)
        return SeriesDataset(self.store, self.targets, self.time)

    def eval_size(self) -> int:
        """Series in a batch of validation and test, all of them whole: fewer where they are long."""
        longest = int(self.store.lengths.max()) * math.prod(self.store.shape)
        return max(1, min(self.eval_batch_size, EVAL_VALUES // longest))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches whose order and frames are a function of only (seed, epoch)."""
        if self.frames is None:
            return super().train_dataloader()
        sampler = self.train_sampler()
        frames = SampledFrames(self.fit_dataset, sampler, self.frames, self.frame_sampling, self.seed)
        return self._loader(sampler, frames)

    def pixels(self, rows: Tensor) -> Tensor:
        """About 2,000 frames of some series, spread over each, (N, C, H, W), stored type: for statistics."""
        each = max(1, _STATISTICS_FRAMES // len(rows))
        begin = (torch.arange(len(rows), dtype=torch.float64) * _GOLDEN % 1)[:, None]
        part = (torch.arange(each) + begin) / each
        length = self.store.lengths[rows][:, None]
        frames = (part * length).long().minimum(length - 1)
        return self.store.frames((self.store.offsets[rows][:, None] + frames).flatten())

    def baseline_inputs(self, rows: Tensor) -> dict[str, NDArray[Any]]:
        """The inputs of baseline models: frames in their order, their mean, and statistics of grey-value curves."""
        longest = int(self.store.lengths.max())
        return {
            "pixels": even_frames(self.store, rows, longest)[:, :, None, None],
            "mean_over_time": mean_over_time(self.store, rows),
            "curve_statistics": curve_statistics(self.store, rows),
        }

    def incompatibilities(self, trained: Facts) -> list[str]:
        """Models that were trained on seconds cannot read numbers of frames, nor the other way round."""
        if self.timed == (trained.time_step is not None):
            return []
        has, had = ("seconds", "none") if self.timed else ("no times", "seconds")
        return [
            f"data: the frames have {has}, those that the run was trained on had {had}: the model reads what passes "
            "between frames, so give series of the same kind (every one with times, or none)."
        ]

    def _compute_facts(self) -> Facts:
        train = self.rows("train")
        return replace(
            super()._compute_facts(),
            sequence_length=int(self.store.lengths.max()),
            time_step=median_gap(self.store, self.time, train) if self.timed else None,
        )
