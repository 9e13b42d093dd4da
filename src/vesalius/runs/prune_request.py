"""How a sweep stops one of its jobs: a file in its folder, found after each epoch, and a signal where that reaches."""

import contextlib
import os
import signal
from pathlib import Path

from vesalius.runs.run_folder import PRUNE, RunFolder, write_atomically


def request_pruning(path: Path, reason: str) -> None:
    """Ask the training of this run folder to stop; over a shared file system from any machine.

    Args:
        path: of the run folder.
        reason: written to the run's `state.json` when it has stopped.
    """
    write_atomically(path / PRUNE, reason)
    state = RunFolder(path).state
    if state.get("state") == "running" and _works_on(state["pid"], path):
        with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
            os.kill(state["pid"], signal.SIGTERM)


def _works_on(pid: int, path: Path) -> bool:
    """Whether this process was started for this folder: a run on another machine has its number there."""
    process = Path(f"/proc/{pid}")
    try:
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        place = (process / "cwd").resolve()
    except OSError:
        return False
    return any((place / argument).resolve() == path.resolve() for argument in arguments if argument)
