"""The sweep folder: what a multirun was asked for, its jobs, and the state of each."""

import contextlib
import fcntl
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vesalius.config.errors import InputError
from vesalius.config.plain import read_json
from vesalius.runs.locks import NoLocks, lock, warn_without_locks
from vesalius.runs.run_folder import CONFIG, RunFolder, write_json
from vesalius.runs.signature import is_own, signature_of

SWEEP = "sweep.json"
SCHEMA = 1
LOCK = ".lock"
#: States in which a job is not run again.
FINISHED = ("done", "pruned")
#: What may be in a sweep's folder before `sweep.json`: Hydra's own file, the lock, the study of a search.
_BEFORE = {"multirun.yaml", LOCK, "study"}
#: Folders that this process has locked; for each, the folders that it created for it, innermost first.
_taken: dict[Path, list[Path]] = {}


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        number: its place in the sweep, from 0; also the name of its folder.
        overrides: what sets it apart: all overrides of the job, as `key=value`.
        path: its run folder, which may not exist yet.
        state: waiting, running, done, failed, interrupted, pruned, or refused (it has no folder).
        objective: monitored metric of its best checkpoint; None if there is none yet.
        reason: why it failed, was refused or was stopped.
    """

    number: int
    overrides: tuple[str, ...]
    path: Path
    state: str
    objective: float | None = None
    reason: str | None = None

    @property
    def run(self) -> RunFolder | None:
        """The run folder, once there is one."""
        return RunFolder(self.path) if (self.path / CONFIG).is_file() else None


def _is_sweep(content: object) -> bool:
    """Whether every part of a `sweep.json` that a resume reads is of its kind."""

    def texts(node: object) -> bool:
        return isinstance(node, list) and all(isinstance(text, str) for text in node)

    if not isinstance(content, dict) or not isinstance(content.get("verb"), str):
        return False
    jobs = content.get("jobs")
    return (
        texts(content.get("arguments"))
        and texts(content.get("flags", []))
        and isinstance(content.get("directory", "."), str)
        and isinstance(jobs, list)
        and all(
            isinstance(job, dict) and isinstance(job.get("number"), int) and texts(job.get("overrides")) for job in jobs
        )
    )


def _signed_part(content: Mapping[str, Any]) -> bytes:
    """What a resume runs."""
    return json.dumps([content.get(key) for key in ("verb", "arguments", "flags", "directory")]).encode()


class SweepFolder:
    """One sweep's folder. One process writes it (the sweep's own); any may read.

    Args:
        path: an existing folder that holds a `sweep.json`.

    Raises:
        InputError: if it holds no sweep.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / SWEEP).is_file():
            raise InputError(f"{self.path} is not a sweep's folder: it holds no {SWEEP}.")

    @classmethod
    def create(
        cls, path: Path, *, verb: str, arguments: Sequence[str], axes: Mapping[str, Sequence[str]], sweeper: str
    ) -> "SweepFolder":
        """Create the folder of a new sweep.

        Args:
            path: of the folder; created if it does not exist.
            verb: what each job runs.
            arguments: as typed, without `-m` and `resume`.
            axes: the values, as typed, of each key that varies; a search space's text where a sampler draws them.
            sweeper: `basic`, or the sampler's name.
        """
        path.mkdir(parents=True, exist_ok=True)
        outline = {"schema": SCHEMA, "verb": verb, "arguments": list(arguments), "sweeper": sweeper}
        outline["directory"] = str(Path.cwd())  # what relative paths among the arguments mean
        outline["signature"] = signature_of(_signed_part(outline))
        write_json(path / SWEEP, {**outline, "axes": {key: list(values) for key, values in axes.items()}, "jobs": []})
        return cls(path)

    @property
    def is_own(self) -> bool:
        """Whether a command of this user's began it: a resume runs its arguments in its directory."""
        content = self.content
        return is_own(content.get("signature"), _signed_part(content))

    @property
    def content(self) -> dict[str, Any]:
        """`sweep.json` as it stands.

        Raises:
            InputError: if it is damaged.
        """
        loaded: dict[str, Any]
        try:
            loaded = read_json(self.path / SWEEP)
        except (OSError, ValueError):
            loaded = {}
        if not _is_sweep(loaded):
            raise InputError(
                f"{self.path / SWEEP} is damaged: take it from a backup; or begin the sweep again in another folder, "
                f"and read the jobs that are done with `vesalius report run={self.path}`."
            )
        return loaded

    @property
    def jobs(self) -> list[SweepJob]:
        """All jobs by number. A run folder knows its own state better than the `sweep.json` of a killed sweep."""
        return [self._job(entry) for entry in sorted(self.content["jobs"], key=lambda entry: entry["number"])]

    def plan_jobs(self, jobs: Mapping[int, Sequence[str]]) -> None:
        """Add new jobs as waiting, and update the axes to what varies among all jobs.

        Args:
            jobs: overrides by number.
        """
        content = self.content
        known = {entry["number"] for entry in content["jobs"]}
        new = [
            {"number": number, "overrides": list(overrides), "state": "waiting"}
            for number, overrides in jobs.items()
            if number not in known
        ]
        entries = content["jobs"] + new
        axes = axes_of([entry["overrides"] for entry in entries])
        write_json(self.path / SWEEP, content | {"axes": axes, "jobs": entries})

    def write_flags(self, flags: Sequence[str]) -> None:
        """Store flags of the command line, such as `--config-dir`, for a resume."""
        content = self.content | {"flags": list(flags)}
        if self.is_own:
            content["signature"] = signature_of(_signed_part(content))
        write_json(self.path / SWEEP, content)

    def has_job(self, number: int) -> bool:
        """Whether this sweep has such a job, so that the folder of that number is its own."""
        return any(entry["number"] == number for entry in self.content["jobs"])

    def write_job(self, number: int, overrides: Sequence[str], **entry: Any) -> None:
        """Add a job, or update its entry.

        Args:
            number: of the job.
            overrides: as `key=value`.
            entry: `state`, and if known `objective` and `reason`.
        """
        content = self.content
        others = [entry for entry in content["jobs"] if entry["number"] != number]
        name = self.cluster_name(number)
        job = {"number": number, "overrides": list(overrides), **({} if name is None else {"cluster": name}), **entry}
        write_json(self.path / SWEEP, content | {"jobs": [*others, job]})

    def write_cluster_name(self, number: int, name: str) -> None:
        """Store the scheduler's name of a job."""
        content = self.content
        jobs = [entry | ({"cluster": name} if entry["number"] == number else {}) for entry in content["jobs"]]
        write_json(self.path / SWEEP, content | {"jobs": jobs})

    def cluster_name(self, number: int) -> str | None:
        """The scheduler's name of a job; None if it was not submitted."""
        return next((entry.get("cluster") for entry in self.content["jobs"] if entry["number"] == number), None)

    def write_study(self, summary: Mapping[str, Any]) -> None:
        """Store the summary of a study: `objectives`, `best`, `front`, `importance`, `failed`."""
        write_json(self.path / SWEEP, self.content | {"study": dict(summary)})

    def _job(self, entry: Mapping[str, Any]) -> SweepJob:
        path = self.path / str(entry["number"])
        state, reason = entry.get("state", "waiting"), entry.get("reason")
        if (path / CONFIG).is_file():
            folder = RunFolder(path)
            run = folder.state
            # A process that is still importing has written no state; one on another machine is the scheduler's to know.
            state, reason = run.get("state", "waiting" if state == "running" else state), run.get("reason", reason)
            if state == "running" and not folder.alive and "cluster" not in entry:
                state, reason = "interrupted", "killed"
        return SweepJob(entry["number"], tuple(entry["overrides"]), path, state, entry.get("objective"), reason)


def take_folder(path: Path, *, resume: bool) -> IO[str]:
    """Create the folder of a sweep, or find that of a resumed one, and lock it for this process.

    Args:
        path: of the folder.
        resume: whether a sweep is resumed; a new one needs an empty folder.

    Returns:
        The lock. It ends when it is closed, and with this process, however that ends.

    Raises:
        InputError: if the folder cannot be created, is not empty, or another process works on it.
    """
    created = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not resume:
            _check_vacant(path)
        file = (path / LOCK).open("w")
    except OSError as error:
        _remove_empty(created)
        raise InputError(f"hydra.sweep.dir={path}: no folder can be created there ({error.strerror}).") from error
    try:
        locked = lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except NoLocks:
        warn_without_locks(path)
        locked = True
    if not locked:
        file.close()
        raise InputError(f"{path} is being worked on by another process: wait, or stop it.")
    _taken[path] = created
    return file


def _check_vacant(path: Path) -> None:
    if (path / SWEEP).is_file():
        raise InputError(
            f"{path} already holds a sweep: go on with it by {shlex.quote(f'resume={path}')}, or choose another folder."
        )
    begun = f".{SWEEP}."  # by a command that was killed while it wrote
    if any(inside.name not in _BEFORE and not inside.name.startswith(begun) for inside in path.iterdir()):
        raise InputError(f"{path} is not empty, and a sweep must not mix with other files: choose another folder.")


def withdraw(path: Path) -> None:
    """Delete what this process created for a sweep that was refused before it began; nothing else."""
    created = _taken.pop(path, None)
    if created is None:
        return
    inside = {*os.listdir(path)}
    if inside <= {"multirun.yaml", LOCK}:
        for name in inside:
            (path / name).unlink()
        _remove_empty(created)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # it was never created, or it is not empty
            folder.rmdir()


def axes_of(jobs: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """The keys whose values differ between jobs, and their values in order of appearance.

    Args:
        jobs: overrides of each job, as `key=value`.
    """
    values: dict[str, list[str]] = {}
    for overrides in jobs:
        for override in overrides:
            key, _, value = override.partition("=")
            seen = values.setdefault(key, [])
            if value not in seen:
                seen.append(value)
    return {key: seen for key, seen in values.items() if len(seen) > 1}
