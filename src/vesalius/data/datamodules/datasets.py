"""Datasets that cut whole batches out of a store: indexed by a tensor of draws, never sample by sample.

Row numbers are draws too: the first of each sample. A batch holds the row numbers as `index`, and its draws as `draw`.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.sampling.epoch_sampler import EpochSampler, rows_of
from vesalius.data.sampling.frames import FrameSampling, sample_frames
from vesalius.data.store.store import Store

Batch = dict[str, Tensor]


class StoredDataset(Dataset[Batch]):
    """Batches that are cut from a store.

    Args:
        store: of images or of series.
    """

    def __init__(self, store: Store) -> None:
        self.store = store


class ImageDataset(StoredDataset):
    """Batches of single images.

    Args:
        store: of images.
        targets: one entry per image, added to each batch as `target`; None leaves them out.
    """

    def __init__(self, store: Store, targets: Tensor | None = None) -> None:
        super().__init__(store)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, draw: Tensor) -> Batch:
        index = rows_of(draw)
        batch = {"image": self.store[index], "index": index, "draw": draw}
        return batch if self.targets is None else {**batch, "target": self.targets[index]}


class SeriesDataset(StoredDataset):
    """Batches of whole series.

    A batch is as long as its longest series. Padding stands at the end and repeats the last real frame and its time:
    code that forgets the mask still sees an image, and no value that the set does not have.

    Args:
        store: of series.
        targets: one entry per series.
        time: (frames,) float32 seconds of every frame in the store, since the first of its series.
    """

    def __init__(self, store: Store, targets: Tensor, time: Tensor) -> None:
        super().__init__(store)
        self.targets, self.time = targets, time

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, draw: Tensor) -> Batch:
        index = rows_of(draw)
        length = self.store.lengths[index]
        return self.gather(draw, torch.arange(int(length.max())).expand(len(index), -1), length)

    def gather(self, draw: Tensor, frames: Tensor, length: Tensor) -> Batch:
        """A batch of some frames of some series.

        Args:
            draw: (B,) draws, or row numbers.
            frames: (B, T) numbers of frames within their series, ascending.
            length: (B,) how many of them are real, 1 or more; the others become padding.
        """
        index = rows_of(draw)
        place = torch.arange(frames.shape[1])
        frames = frames.gather(1, place.minimum(length[:, None] - 1))
        positions = self.store.offsets[index][:, None] + frames
        time = self.time[positions]
        return {
            "image": self.store.frames(positions),
            "frame": positions,
            "mask": place < length[:, None],
            "time": time - time[:, :1],
            "length": length,
            "target": self.targets[index],
            "index": index,
            "draw": draw,
        }


class SampledFrames(Dataset[Batch]):
    """Batches of some frames of each series, others at every draw; the epoch is the sampler's.

    Args:
        series: the whole series.
        sampler: knows the epoch.
        count: how many frames at most.
        sampling: which (see `sample_frames`).
        seed: of the run.
    """

    def __init__(
        self, series: SeriesDataset, sampler: EpochSampler, count: int, sampling: FrameSampling, seed: int
    ) -> None:
        self.series, self.sampler = series, sampler
        self.count, self.sampling, self.seed = count, sampling, seed

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, draw: Tensor) -> Batch:
        length = self.series.store.lengths[rows_of(draw)]
        frames, chosen = sample_frames(
            length, draw, self.count, self.sampling, seed=self.seed, epoch=self.sampler.epoch
        )
        return self.series.gather(draw, frames, chosen)
