"""What was decoded last, kept for the samples that follow from the same file."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

LIMIT = 2**30  # bytes


class Recent:
    """The arrays asked for last, made once each, however many threads ask at the same time.

    Args:
        limit: arrays are let go of, the oldest first, until they take at most so many bytes; the newest stays always.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a key; what `make` raises is passed on, and not remembered."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._arrays:
                    self._arrays.move_to_end(key)
                    return self._arrays[key]
            made = make()
            with self._lock:
                self._arrays[key] = made
                while len(self._arrays) > 1 and sum(array.nbytes for array in self._arrays.values()) > self._limit:
                    oldest, _ = self._arrays.popitem(last=False)
                    self._making.pop(oldest, None)
            return made
