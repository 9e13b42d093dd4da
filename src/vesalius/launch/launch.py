"""From a frozen config to a run folder, and from the folder to a fresh process that does the work. Torch-free."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig

from vesalius.config.allowed import check_allowed
from vesalius.config.compose import remove_if_empty
from vesalius.config.errors import InputError
from vesalius.launch.ahead import Ahead
from vesalius.launch.child import child_environment, signal_group, work_command
from vesalius.launch.faults import again
from vesalius.launch.rendezvous import ranks_of
from vesalius.launch.resume_despite import KEY, check_code, set_despite
from vesalius.launch.worker import PARENT
from vesalius.runs.find import check_holds_runs
from vesalius.runs.run_folder import CONFIG, ENSEMBLE, MANIFEST, METRICS, STATE, UNKNOWN, RunFolder
from vesalius.runs.sweep_folder import SWEEP

#: The only override that a resume takes: a run that goes on to another number of epochs.
_HORIZON = "trainer.max_epochs="
_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def launch(
    verb: str, config: Mapping[str, Any], overrides: list[str], path: Path, ahead: Ahead | None = None
) -> tuple[int, float]:
    """Run one job of a verb in a fresh process.

    Args:
        verb: names the module in `vesalius.commands`.
        config: frozen.
        overrides: as typed.
        path: the folder that Hydra chose for this job.
        ahead: a process that may have been started for this job already.

    Returns:
        The exit code, and the monitored metric of the best checkpoint (NaN without one), a sweep's objective.
    """
    set_despite(config.get(KEY) or ())
    ranks = ranks_of(os.environ)
    if ranks is None:
        folder = begin_run(verb, config, overrides, path)
        return 0 if _is_done(config, folder) else _work(verb, folder, ahead), objective_of(folder.path)
    if verb != "train":
        raise InputError(f"vesalius {verb} works in one process: start it without srun or torchrun.")
    if ranks.rank > 0:
        found = ranks.wait_for_folder()
        if path.is_dir() and (found is None or path.resolve() != found.resolve()) and not any(path.iterdir()):
            path.rmdir()  # Hydra created it, with another time stamp than rank 0's
        return (0, math.nan) if found is None else (_work(verb, RunFolder(found)), objective_of(found))
    with ranks.announcing() as announce:
        try:
            folder = begin_run(verb, config, overrides, path)
        except InputError as error:
            announce(None, error.problems)
            raise
        done = _is_done(config, folder)
        announce(None if done else folder.path)
        return 0 if done else _work(verb, folder), objective_of(folder.path)


def _is_done(config: Mapping[str, Any], folder: RunFolder) -> bool:
    """A requeued job finds its work done."""
    return config.get("resume") == "auto" and folder.state.get("state") == "done"


def begin_run(verb: str, config: Mapping[str, Any], overrides: list[str], path: Path) -> RunFolder:
    """Create the folder of a new run, or open the one to resume.

    Args:
        verb: of the run.
        config: frozen.
        overrides: as typed.
        path: the folder that Hydra chose for this job.

    Raises:
        InputError: for a folder that is in use, and for a run that cannot be resumed.
    """
    _check_model(verb, config)
    config = {key: value for key, value in config.items() if key != KEY}
    if config.get("run") is not None:  # before anything is created in a folder that was only misspelt
        _check_kind(verb, Path(config["run"]))
        (check_holds_runs if verb == "report" else RunFolder)(Path(config["run"]))
    resume = config.get("resume")
    if verb != "train" and (path / CONFIG).exists():
        option = "out" if "out" in config else "hydra.run.dir"
        raise InputError(f"{path} exists already: name another folder with {option}=FOLDER.")
    if resume is None or (resume == "auto" and not (path / CONFIG).exists()):
        return RunFolder.create(path, {**config, **({"resume": None} if "resume" in config else {})}, overrides)
    if resume != "auto" and (Path(resume) / SWEEP).is_file():
        raise InputError(f"{resume} is the folder of a sweep: resume it with `vesalius train -m resume={resume}`.")
    folder = RunFolder(path if resume == "auto" else resume)
    remove_if_empty(path)
    if folder.alive:
        raise InputError(f"{folder.path} is in use by process {folder.state.get('pid')}: wait for it, or stop it.")
    if resume == "auto":
        before, now = {**folder.config, "resume": None}, {**config, "resume": None}
        changed = [key for key in now if now[key] != before.get(key)]
    else:
        changed = [override for override in overrides if not override.startswith(("resume=", f"{KEY}="))]
    if changed and all(override.startswith(_HORIZON) for override in changed):
        return _begin_continuation(folder, config["trainer"]["max_epochs"], path)
    if changed:
        raise InputError(
            f"resume continues with the frozen config of {folder.path}, and nothing can be changed: leave out "
            f"{' '.join(changed)}, or start a new run from its weights with init_from={folder.path}."
        )
    if folder.state.get("state") == UNKNOWN:
        sys.stderr.write(f"{folder.path / STATE} is damaged: the run goes on, and its attempts are counted from 1.\n")
    if folder.state.get("state") == "done" and resume != "auto":
        more = " To train for longer, add trainer.max_epochs=EPOCHS." if verb == "train" else ""
        raise InputError(f"{folder.path} is done: there is nothing to resume.{more}")
    if verb == "train" and folder.state.get("state") != "done":
        check_code(folder)
    return folder


def _begin_continuation(folder: RunFolder, epochs: int, path: Path) -> RunFolder:
    """Create the folder of a run that goes on from where another one is, to another number of epochs.

    The other run stays as it is, with its results. Without `hydra.run.dir` the new folder stands next to its.

    Raises:
        InputError: for a config of somebody else that names other code, and code that has changed.
    """
    check_code(folder)
    config = folder.config
    check_allowed(config)  # which counts as the user's own in the new folder
    if not any(override.startswith("hydra.run.dir=") for override in HydraConfig.get().overrides.hydra):
        path = folder.path.resolve().parent / path.name
    config |= {"trainer": {**config["trainer"], "max_epochs": epochs}, "resume": str(folder.path.resolve())}
    begun = RunFolder.create(path, config, [*folder.overrides, f"{_HORIZON}{epochs}"])
    sys.stderr.write(f"{folder.path} stays as it is. It is continued to {epochs} epochs in {path}\n")
    return begun


def _check_kind(verb: str, path: Path) -> None:
    """Of verbs for what was trained by itself: name what to do with an ensemble or a bundle."""
    cures = {
        ("rerun", ENSEMBLE): "run the runs of its members again, and create it again from these",
        ("report", ENSEMBLE): f"give the folder of its members' runs; its own numbers are in {METRICS}",
        ("rerun", MANIFEST): "run the run again that it was exported from",
        ("report", MANIFEST): "its numbers are on its model card; or give the run that it was exported from",
    }
    for file, what in ((ENSEMBLE, "an ensemble"), (MANIFEST, "a bundle")):
        if (verb, file) in cures and (path / file).is_file():
            raise InputError(f"{path} is {what}, and vesalius {verb} takes a run: {cures[verb, file]}.")


def _check_model(verb: str, config: Mapping[str, Any]) -> None:
    """Of a verb that takes a run or a bundle exactly one is given."""
    if "bundle" not in config or "run" not in config:
        return
    given = [key for key in ("run", "bundle") if config[key] is not None]
    if len(given) != 1:
        found = "both are given" if given else "neither is given"
        raise InputError(f"vesalius {verb} needs a model, either run=DIR or bundle=DIR: {found}.")


def record_exit(folder: RunFolder, code: int) -> int:
    """Record the end of a process that was killed before it could write its own state.

    It was still importing, or the signal cannot be caught.

    Args:
        folder: of its run.
        code: its exit code as `subprocess` has it, below 0 for a signal.

    Returns:
        The exit code as a shell has it: 130, 143 or 1 for a signal.
    """
    if code >= 0:
        return code
    number = signal.Signals(-code)
    folder.end("interrupted" if number in _EXIT_CODES else "failed", number.name)
    return _EXIT_CODES.get(number, 1)


def _work(verb: str, folder: RunFolder, ahead: Ahead | None = None) -> int:
    """Run the command in a fresh process and pass signals on to it; a second signal kills it, as in a sweep.

    It has a session of its own, or a Ctrl-C would reach it from the terminal too; the second signal kills all of the
    session. If this process already is in such a session, as the trainings of `vesalius gain` are, or belongs to srun
    or torchrun, the child stays in it, and whatever started the session does the killing.
    """
    own = PARENT not in os.environ and ranks_of(os.environ) is None
    child = None if ahead is None else ahead.take(verb, folder.path)
    if child is None:
        command = work_command(verb, folder.path)
        child = subprocess.Popen(command, env=child_environment(), start_new_session=own)
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            child.send_signal(number)
        elif own:
            signal_group(child.pid, signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = record_exit(folder, ended)
    if ended == -signal.SIGKILL and len(received) > 1:
        folder.end("interrupted", "killed")
        raise SystemExit(128 + received[0])
    if ended == -signal.SIGKILL:
        sys.stderr.write(f"Error: {folder.path} was killed by SIGKILL, likely for lack of memory: free some.\n")
    if ended == -signal.SIGBUS:
        sys.stderr.write(
            f"Error: {folder.path} was ended by SIGBUS: a file was cut off while it was read, likely decoded images "
            f"in data.cache_dir. See who changes files there, {again(folder.path)}: they are decoded again.\n"
        )
    if code in _EXIT_CODES.values():
        raise SystemExit(code)
    return code


def objective_of(path: Path) -> float:
    """The monitored metric of a run's best checkpoint; NaN without one."""
    if not (path / METRICS).is_file():
        return math.nan
    monitor = RunFolder(path).metrics.get("monitor")
    best = monitor.get("best") if isinstance(monitor, dict) else None
    return float(best) if isinstance(best, int | float) else math.nan
