"""Processes that work for this one: their environment, and signals to all that they started."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from vesalius.launch.worker import PARENT

_NOT_INHERITED = ("HYDRA_FULL_ERROR",)


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that works for this one, and ends when this one dies."""
    own = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    return own | dict(more or {}) | {PARENT: str(os.getpid())}


def work_command(verb: str, folder: Path | str) -> list[str]:
    """The command that does the work of a run folder, or of what `vesalius.launch.worker.enter` takes in its place."""
    return [sys.executable, "-m", f"vesalius.commands.{verb}", str(folder)]


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process that leads a session, and to all that it started there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
