"""Images that are there twice, equal to the bit."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.store import Store


def pixel_hashes(store: Store) -> list[str]:
    """A hash of the decoded pixels of each sample, of all frames for series."""
    bounds = store.offsets.tolist()
    return [_hash(store.frames(torch.arange(start, stop))) for start, stop in pairwise(bounds)]


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


def _hash(pixels: Tensor) -> str:
    content = pixels.contiguous().view(torch.uint8).numpy()
    return hashlib.blake2b(content.tobytes(), digest_size=16).hexdigest()
