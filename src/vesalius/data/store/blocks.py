"""Work on all images of a store, a few at a time on each core."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from vesalius.data.store.store import Store

Found = TypeVar("Found")

#: Pixels of a block: with what is computed from them they stay in a core's cache. Blocks of a thousand images of 224
#: pixels take ten times as long, most of it for fresh memory.
BLOCK_PIXELS = 1_500_000


def map_blocks(store: Store, work: Callable[[Tensor], Found], rows: Tensor | None = None) -> Iterator[Found]:
    """Results of blocks of samples, in order.

    Args:
        store: of the images.
        work: is called with (B,) int64 row numbers, in threads.
        rows: which; None for all.
    """
    blocks = split_rows(store, torch.arange(len(store)) if rows is None else rows)
    with thread_per_core() as pool:
        yield from pool.map(work, blocks)


@contextmanager
def thread_per_core() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core, which runs torch's kernels by itself."""
    with one_thread_per_kernel(), ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="audit") as pool:
        yield pool


@contextmanager
def one_thread_per_kernel() -> Iterator[None]:
    """Threads that begin inside run each of torch's kernels by themselves, as do those of the caller.

    Where every core has work of its own, the threads of each kernel only wait for one another, and a core spins
    meanwhile: with two cores it took ten times their time to search for near duplicates.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def split_rows(store: Store, rows: Tensor) -> tuple[Tensor, ...]:
    """(N,) row numbers in blocks whose images, or middle frames, have `BLOCK_PIXELS`."""
    channels, height, width = store.shape
    return torch.split(rows, max(1, BLOCK_PIXELS // (channels * height * width)))
