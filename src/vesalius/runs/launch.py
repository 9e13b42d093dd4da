"""From a frozen config to a folder, and from the folder to a fresh interpreter that does the work. Torch-free."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from vesalius.config.errors import InputError
from vesalius.runs.folder import CONFIG, METRICS, RunFolder


def launch(verb: str, config: Mapping[str, Any], overrides: list[str], path: Path) -> tuple[int, float]:
    """Do one job of a verb.

    Args:
        verb: names the module in `vesalius.commands`.
        config: frozen.
        overrides: as typed.
        path: the folder that Hydra chose for this job.

    Returns:
        The exit code, and the monitored metric of the best checkpoint (NaN where there is none), a sweep's objective.
    """
    if "run" in config:
        RunFolder(config["run"])  # before anything is made in a folder that was only misspelt
    folder = _folder(config, overrides, path)
    if config.get("resume") == "auto" and folder.state.get("state") == "done":
        return 0, _objective(folder.path)  # a requeued job finds its work done
    return _work(verb, folder), _objective(folder.path)


def _folder(config: Mapping[str, Any], overrides: list[str], path: Path) -> RunFolder:
    resume = config.get("resume")
    if resume is None or (resume == "auto" and not (path / CONFIG).exists()):
        return RunFolder.create(path, {**config, **({"resume": None} if "resume" in config else {})}, overrides)
    folder = RunFolder(path if resume == "auto" else resume)
    if not any(path.iterdir()):
        path.rmdir()
    if folder.alive:
        raise InputError(f"{folder.path} is being worked on by process {folder.state['pid']}: wait for it, or stop it.")
    if resume == "auto":
        before, now = folder.config, {**config, "resume": None}
        changed = [key for key in now if now[key] != before.get(key)]
    else:
        changed = [override for override in overrides if not override.startswith("resume=")]
    if changed:
        raise InputError(
            f"resume goes on with the frozen config of {folder.path}, so nothing can be changed: leave out "
            f"{' '.join(changed)}, or start a new run from its weights with init_from={folder.path}."
        )
    if folder.state.get("state") == "done" and resume != "auto":
        raise InputError(f"{folder.path} is done: there is nothing to resume.")
    return folder


def _work(verb: str, folder: RunFolder) -> int:
    """Run the command in a process of its own and pass signals on to it."""
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    child = subprocess.Popen([sys.executable, "-m", f"vesalius.commands.{verb}", str(folder.path)], env=environment)

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code < 0:
        # Killed before it could answer: while it was still importing, or by a signal that nobody can answer.
        name = signal.Signals(-code).name
        folder.end("interrupted" if -code in (signal.SIGINT, signal.SIGTERM) else "failed", name)
        if -code == signal.SIGKILL:
            sys.stderr.write(f"Error: {folder.path} was killed by {name}: was there not enough memory?\n")
        code = {-signal.SIGINT: 130, -signal.SIGTERM: 143}.get(code, 1)
    if code in (130, 143):
        raise SystemExit(code)  # ends a sweep too: the user asked to stop, not to go on with the next job
    return code


def _objective(path: Path) -> float:
    metrics = path / METRICS
    if not metrics.is_file():
        return float("nan")
    return float(json.loads(metrics.read_text(encoding="utf-8")).get("monitor", {}).get("best", "nan"))
