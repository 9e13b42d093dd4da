"""Images that are there twice, equal to the bit."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.store.store import Store

_FRAMES_AT_ONCE = 1024


def pixel_hashes(store: Store) -> list[str]:
    """A hash of the decoded pixels of each sample, of all frames for series."""
    bounds = store.offsets.numpy()
    hashes: list[str] = []
    while len(hashes) < len(store):  # one gather a block: one a sample would take longer than all the hashing
        start = len(hashes)
        stop = max(int(np.searchsorted(bounds, bounds[start] + _FRAMES_AT_ONCE, "right")) - 1, start + 1)
        frames = store.frames(torch.arange(bounds[start], bounds[stop])).view(torch.uint8).numpy()
        cuts = bounds[start : stop + 1] - bounds[start]
        hashes += [_hash(frames[first:last]) for first, last in pairwise(cuts.tolist())]
    return hashes


def equal_samples(hashes: list[str]) -> list[list[int]]:
    """Row numbers of samples that are equal, a list for each image that is there more than once."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(hashes):
        rows[value].append(row)
    return [equal for equal in rows.values() if len(equal) > 1]


def middle_images(store: Store, rows: Tensor) -> Tensor:
    """(B, C, H, W): the images of some rows, of series their middle frames."""
    return store.frames((store.offsets[rows] + store.offsets[rows + 1]) // 2)


def across_splits(rows: list[int], split: NDArray[np.object_]) -> Iterator[tuple[int, int]]:
    """Pairs of equal samples in different splits: of each two splits the first of either."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(str(split[row]), row)
    names = [name for name in ("train", "val", "test") if name in first]
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            yield first[name], first[other]


def _hash(frames: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(frames).data, digest_size=16).hexdigest()
