"""A cache of decoded files, for the samples that follow from the same file."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

LIMIT = 2**30  # bytes


class DecodeCache:
    """The most recently used arrays; each is decoded once, however many threads ask for it at the same time.

    Args:
        limit: the bytes that the arrays may take together: beyond it the least recently used are dropped. The newest
            always stays.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._arrays: OrderedDict[Hashable, tuple[np.ndarray, int | None]] = OrderedDict()
        self._decoding: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], np.ndarray], uses: int | None = None) -> np.ndarray:
        """The array of a key, from `decode` if it is not cached yet; an error of `decode` is passed on, not cached.

        Args:
            key: of the array.
            decode: gives it.
            uses: how often it will be asked for; the last time drops it. None: it stays until others need the room.
        """
        with self._lock:
            decoding = self._decoding.setdefault(key, threading.Lock())
        with decoding:
            with self._lock:
                array, left = self._arrays.pop(key, (None, uses))
            if array is None:
                array = decode()
            with self._lock:
                if left == 1:
                    self._decoding.pop(key, None)
                    return array
                self._arrays[key] = array, None if left is None else left - 1
                while len(self._arrays) > 1 and sum(kept.nbytes for kept, _ in self._arrays.values()) > self._limit:
                    oldest, _ = self._arrays.popitem(last=False)
                    self._decoding.pop(oldest, None)
            return array

    def drop(self, of: Callable[[Any], bool]) -> None:
        """Drop the arrays of some keys, and what is left of those that could not be decoded.

        Args:
            of: whether a key is one of them.
        """
        with self._lock:
            for known in (self._arrays, self._decoding):
                for key in [key for key in known if of(key)]:
                    del known[key]

    def __len__(self) -> int:
        with self._lock:
            return len(self._decoding)
