"""Images that occur twice, equal to the bit."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.samples import SPLITS
from vesalius.data.store.store import Store

#: Samples that one thread reads in one go.
_AT_ONCE = 256
#: Bytes of a sample that are compared first: those of two different images nearly always differ somewhere.
_FEW_BYTES = 1024


def equal_samples(store: Store) -> list[list[int]]:
    """Row numbers of samples with equal pixels, in all frames of series: a list for each that occurs more than once.

    Only samples that agree in the first comparison, of a few bytes spread over each, are read as a whole.
    """
    frames, bounds = store.images.view(torch.uint8).numpy(), store.offsets.tolist()

    def few_bytes(row: int) -> tuple[int, bytes]:
        content = frames[bounds[row] : bounds[row + 1]].reshape(-1)
        return content.size, _hash(content[:: max(1, content.size // _FEW_BYTES)])

    def all_bytes(row: int) -> bytes:
        return _hash(frames[bounds[row] : bounds[row + 1]])

    suspected = _sharing_a_key(few_bytes, [range(len(store))])
    return sorted(_sharing_a_key(all_bytes, suspected))


def _sharing_a_key(key: Callable[[int], Hashable], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """The rows of each group that share their key with others of it."""
    tasks = [rows[first : first + _AT_ONCE] for rows in groups for first in range(0, len(rows), _AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="audit") as pool:
        keys = [value for some in pool.map(lambda rows: [key(row) for row in rows], tasks) for value in some]
    sharing: defaultdict[tuple[int, Hashable], list[int]] = defaultdict(list)
    numbered = [(number, row) for number, rows in enumerate(groups) for row in rows]
    for (number, row), value in zip(numbered, keys, strict=True):
        sharing[number, value].append(row)
    return [rows for rows in sharing.values() if len(rows) > 1]


def across_splits(rows: list[int], split: NDArray[np.object_]) -> Iterator[tuple[int, int]]:
    """Pairs of equal samples in different splits: for each two splits, the first sample of either."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(str(split[row]), row)
    names = [name for name in SPLITS if name in first]
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            yield first[name], first[other]


def _hash(content: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(content).data, digest_size=16).digest()
