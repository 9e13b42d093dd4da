"""Runs and sweeps that are killed from outside at a chosen moment, as when a machine goes down.

Their processes are found by the folder that they work in, which all that a command starts inherits.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def processes_in(place: Path) -> dict[int, int]:
    """Processes whose working directory is `place`, and the parent of each; ended ones have none."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == place:
                found[int(entry.name)] = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile, or belongs to somebody else
            continue
    return found


def kill(*numbers: int) -> int:
    """SIGKILL to each that still runs; how many did."""
    killed = 0
    for number in numbers:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed += 1
    return killed


def kill_all(place: Path) -> int:
    """SIGKILL to all processes of `place`, also to those that are just being started; how many there were."""
    killed = 0
    while found := processes_in(place):
        killed += kill(*found)
    return killed


@contextmanager
def killed_after(seconds: float, place: Path, end: Callable[[Path], int] = kill_all) -> Iterator[threading.Event]:
    """Call `end(place)` after some time, unless the work inside has ended by then.

    Yields:
        An event that is set where a process was killed.
    """
    over, happened = threading.Event(), threading.Event()

    def wait() -> None:
        if not over.wait(seconds) and end(place):
            happened.set()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()


def orphans(place: Path, patience: float = 120.0) -> list[int]:
    """Processes of `place` that are left when what they were started by has ended, and had time to end too."""
    deadline = time.monotonic() + patience
    while (left := processes_in(place)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return sorted(left)
