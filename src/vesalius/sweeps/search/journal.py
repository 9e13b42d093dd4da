"""The journal of a sweep's study: one file in the sweep's folder that survives a kill at any moment."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from vesalius.config.errors import InputError
from vesalius.runs.locks import NoLocks, lock
from vesalius.runs.run_folder import CONFIG, RunFolder

JOURNAL = Path("study") / "journal.log"


def open_journal(journal: Path) -> JournalStorage:
    """A study's storage in one file, which survives a kill at any moment.

    Raises:
        InputError: for a file that Optuna cannot read.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    _drop_torn_line(journal)
    # A lock that the kernel releases with the process: Optuna's own would make a resumed sweep wait.
    lock: Any = _KernelLock(journal)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id)
    except Exception as error:  # a damaged one, or another's, can make Optuna raise nearly anything
        raise InputError(
            f"{journal} is no journal of a study ({type(error).__name__}): take it from a backup, or search in another "
            "folder."
        ) from error
    return storage


def reopen_failed(path: Path, journal: Path, name: str) -> None:
    """Reopen the trials of failed jobs, so that a resumed sweep runs them once more.

    A finished trial cannot be changed, so a new journal is written and replaces the old one. A job that finished
    without a finite value stays as it is.

    Args:
        path: the sweep's folder.
        journal: of its study.
        name: of the study.
    """
    storage = open_journal(journal)
    if name not in optuna.get_all_study_names(storage):  # killed before there was one
        return
    old = optuna.load_study(study_name=name, storage=storage)
    trials = old.get_trials(deepcopy=False)
    ended = {trial.number for trial in trials if _state(path / str(trial.number)) == "done"}
    failed = {trial.number for trial in trials if trial.state is TrialState.FAIL} - ended
    if not failed:
        return
    rewritten = journal.with_name(f".{journal.name}")
    rewritten.unlink(missing_ok=True)
    new = optuna.create_study(study_name=name, storage=open_journal(rewritten), directions=old.directions)
    for trial in trials:
        again = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=trial.system_attrs,
        )
        new.add_trial(again if trial.number in failed else trial)
    rewritten.replace(journal)


def _state(path: Path) -> str | None:
    return RunFolder(path).state.get("state") if (path / CONFIG).is_file() else None


class _KernelLock:
    """`flock` on a file next to the journal."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_suffix(".lock")
        self._held: int | None = None

    def acquire(self) -> bool:
        self._held = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o644)
        with contextlib.suppress(NoLocks):  # of which taking the folder has warned; only the sweep writes here
            lock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _drop_torn_line(journal: Path) -> None:
    """A process that was killed while it wrote leaves half a line, which would spoil the next one."""
    if not journal.is_file():
        return
    written = journal.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        with journal.open("r+b") as file:
            file.truncate(whole)
