"""Images that occur twice, equal to the bit."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.samples import SPLITS
from vesalius.data.store.store import Store

#: Samples that one thread hashes in one go.
_AT_ONCE = 256


def pixel_hashes(store: Store) -> list[str]:
    """A hash of the decoded pixels of each sample, of all frames for series."""
    frames, bounds = store.images.view(torch.uint8).numpy(), store.offsets.tolist()

    def hashes(start: int) -> list[str]:
        return [_hash(frames[first:last]) for first, last in pairwise(bounds[start : start + _AT_ONCE + 1])]

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="audit") as pool:
        return [value for some in pool.map(hashes, range(0, len(store), _AT_ONCE)) for value in some]


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
    return hashlib.blake2b(frames.data, digest_size=16).hexdigest()
