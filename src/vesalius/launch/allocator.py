"""Memory that one step frees serves the next one."""

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
#: The most that glibc allows: a larger array has pages of its own, which go when it does.
_LARGEST = 32 * 2**20
#: So much freed memory is kept at most.
_KEPT = 256 * 2**20
#: With these the user has decided.
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to 256 MiB; elsewhere than with glibc this does nothing.

    Otherwise it gives memory back between two layers of a network, and the system hands it out again page by page, each
    filled with zeros: for small networks on a CPU that can take as long as their arithmetic.
    """
    if any(name in os.environ for name in _VARIABLES):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
