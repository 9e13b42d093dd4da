"""Locks on files that end with the process that holds them, also where a file system has none."""

import errno
import fcntl
import functools
import logging
from pathlib import Path
from typing import IO

logger = logging.getLogger("vesalius")

#: What a file system without locks replies, such as a network's without its lock service.
_WITHOUT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class NoLocks(Exception):
    """The file system has no locks, or those of its network cannot be reached."""


def lock(file: IO[str] | int, kind: int) -> bool:
    """Whether a lock was acquired; it lasts until the file is closed.

    Args:
        file: open.
        kind: of `fcntl.flock`, such as `LOCK_EX | LOCK_NB`.

    Raises:
        NoLocks: where there are none.
        OSError: for anything else than a lock of another process.
    """
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _WITHOUT:
            raise NoLocks from error
        raise
    return True


@functools.cache
def warn_without_locks(path: Path) -> None:
    """Name the cure for a folder that cannot be locked, once; the work goes on."""
    logger.warning(
        "The file system of %s has no locks, so a second process that works on it is noticed on this machine only: "
        "start none, or keep the folder on another file system.",
        path,
    )


def is_vesalius(pid: object) -> bool:
    """Whether a process of this machine is one of this package's, as far as the system tells."""
    try:
        return b"vesalius" in Path(f"/proc/{int(str(pid))}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
