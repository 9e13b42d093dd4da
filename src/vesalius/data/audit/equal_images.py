"""Images that occur twice, equal to the bit."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.samples import SPLITS
from vesalius.data.store.store import Store

#: Frames that are read from the store in one gather.
FRAMES_AT_ONCE = 1024


def pixel_hashes(store: Store) -> list[str]:
    """A hash of the decoded pixels of each sample, of all frames for series."""
    bounds = store.offsets.numpy()
    hashes: list[str] = []
    while len(hashes) < len(store):  # one gather per block: one per sample would take longer than all the hashing
        start = len(hashes)
        stop = max(int(np.searchsorted(bounds, bounds[start] + FRAMES_AT_ONCE, "right")) - 1, start + 1)
        frames = store.frames(torch.arange(bounds[start], bounds[stop])).view(torch.uint8).numpy()
        cuts = bounds[start : stop + 1] - bounds[start]
        hashes += [_hash(frames[first:last]) for first, last in pairwise(cuts.tolist())]
    return hashes


def equal_samples(hashes: list[str]) -> list[list[int]]:
    """Row numbers of equal samples: a list for each image that occurs more than once."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(hashes):
        rows[value].append(row)
    return [equal for equal in rows.values() if len(equal) > 1]


def across_splits(rows: list[int], split: NDArray[np.object_]) -> Iterator[tuple[int, int]]:
    """Pairs of equal samples in different splits: for each two splits, the first sample of either."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(str(split[row]), row)
    names = [name for name in SPLITS if name in first]
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            yield first[name], first[other]


def _hash(frames: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(frames).data, digest_size=16).hexdigest()
