"""How a sweep stops one of its jobs: by a file in the job's folder, checked after each epoch, and by a signal."""

import contextlib
import os
import signal
from pathlib import Path

from vesalius.runs.run_folder import PRUNE, RunFolder, write_atomically


def request_pruning(path: Path, reason: str) -> None:
    """Ask the training in a run folder to stop. Works from any machine that shares the file system.

    Args:
        path: of the run folder.
        reason: written to the run's `state.json` when it has stopped.
    """
    write_atomically(path / PRUNE, reason)
    state = RunFolder(path).state
    if state.get("state") == "running" and _is_process_of(pid := state.get("pid", 0), path):
        with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
            os.kill(pid, signal.SIGTERM)


def _is_process_of(pid: int, path: Path) -> bool:
    """Whether a process of this machine was started for this folder: the number may be that of another machine."""
    process = Path(f"/proc/{pid}")
    try:
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        place = (process / "cwd").resolve()
    except OSError:
        return False
    return any((place / argument).resolve() == path.resolve() for argument in arguments if argument)
