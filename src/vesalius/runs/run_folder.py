"""The run folder: paths of everything in it, and the state of the run."""

import fcntl
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import yaml

from vesalius.config.allowed import allow
from vesalius.config.errors import InputError
from vesalius.config.plain import read_json, read_yaml
from vesalius.runs.locks import NoLocks, is_vesalius, lock, warn_without_locks
from vesalius.runs.provenance.cost import Cost, Joules
from vesalius.runs.reading import DAMAGE, check_links, describe_error, read_provenance, read_state
from vesalius.runs.redaction import private_paths, text_without_paths
from vesalius.runs.signature import SIGNATURE, sign, signed_targets

CONFIG, STATE, METRICS = "config.yaml", "state.json", "metrics.json"
SPLIT, HISTORY = "split.csv", "history.csv"
OVERRIDES, PROVENANCE, DIFF = "overrides.yaml", "provenance.json", "uncommitted.diff"
OOD = "ood.safetensors"  # statistics of the features of the training images
ENSEMBLE, MANIFEST = "ensemble.json", "manifest.json"  # what tells ensembles and bundles from runs
#: What a training's config holds mappings for.
_TRAINING = ("data", "model", "trainer", "callbacks", "monitor", "evaluation", "audit")
PRUNE = "prune"  # asks the run to stop, and holds the reason
#: Seconds that a process has for saving its state once it is asked to end.
PATIENCE = 120.0
#: State of a run whose `state.json` cannot be read.
UNKNOWN = "unknown"
_CREATING = ".creating"
#: How the names begin of what is in a folder before its config.
_CREATED = (_CREATING, OVERRIDES, f".{OVERRIDES}.", f".{CONFIG}.", SIGNATURE)
_PROBES = 2.0  # seconds in which another process may only be testing whether somebody works on the run


class Interrupted(BaseException):
    """Stopped from outside; not an Exception, so that nothing on the way swallows it.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__("Ctrl-C" if exit_code == 130 else "SIGTERM")


class Pruned(Interrupted):
    """Stopped by its sweep because it was not promising; counts as finished."""

    def __init__(self, reason: str) -> None:
        super().__init__(143)
        self.args = (reason,)


def prune_reason(path: Path) -> str | None:
    """Why a sweep asks the run in this folder to stop; None if it does not."""
    request = path / PRUNE
    return request.read_text(encoding="utf-8") if request.is_file() else None


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary file, wait until it is on the disk, and rename it: nobody ever reads half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    synchronize_folder(path.parent)


def synchronize_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write plain JSON atomically; NaN, which JSON does not have, raises ValueError."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


class RunFolder:
    """One run's folder; opening one that this user signed allows the code that its config names.

    Args:
        path: an existing folder that holds a `config.yaml`.

    Raises:
        InputError: if it holds no run, or a link leads out of it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            if not self.path.exists():
                raise InputError(f"{self.path} is not a run folder: it does not exist; correct the path.")
            cure = ""
            if (self.path / MANIFEST).is_file():
                cure = " It is a bundle, which predict, serve and verify take as bundle=; other verbs take its run."
            raise InputError(f"{self.path} is not a run folder: it holds no {CONFIG}.{cure}")
        check_links(self.path)
        self.checkpoints = self.path / "checkpoints"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"
        self.predictions = self.path / "predictions"
        self.figures = self.path / "figures"
        allow(signed_targets(self.path, self.path / CONFIG))

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], overrides: list[str]) -> "RunFolder":
        """Create the folder of a new run from its frozen config.

        Raises:
            InputError: if the folder already holds a run or anything else.
        """
        with _creating(path) as begun:
            return cls._create(path, config, overrides, begun=begun)

    @classmethod
    def _create(cls, path: Path, config: Mapping[str, Any], overrides: list[str], *, begun: bool) -> "RunFolder":
        if (path / CONFIG).exists():
            resume = shlex.quote(f"resume={path}")
            raise InputError(f"{path} already holds a run: continue it with {resume}, or choose another folder.")
        own = _CREATED if begun else (_CREATING,)
        if any(not inside.name.startswith(own) for inside in path.iterdir()):
            raise InputError(f"{path} is not empty, and a run must not mix with other files: choose another folder.")
        write_atomically(path / OVERRIDES, yaml.safe_dump(overrides))
        frozen = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        sign(path, frozen.encode())
        write_atomically(path / CONFIG, frozen)
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        """The frozen config, as plain containers.

        Raises:
            InputError: if it is damaged.
        """
        loaded: dict[str, Any] = self._read(CONFIG, _read_mapping)
        if self.checkpoints.is_dir():
            self.check_training(loaded)
        return loaded

    def check_training(self, config: Mapping[str, Any]) -> None:
        """Refuse a config that lacks parts of a training's, as a file does that was cut off.

        Raises:
            InputError: with the parts.
        """
        lacking = [key for key in _TRAINING if not isinstance(config.get(key), Mapping)]
        if lacking:
            raise InputError(
                f"{self.path / CONFIG} lacks {', '.join(lacking)}, which every training has: take it from a backup, or "
                "start a new run."
            )

    @property
    def overrides(self) -> list[str]:
        """`overrides.yaml`: what was typed; nothing where the file is gone or damaged, as no number depends on it."""
        try:
            loaded = read_yaml(self.path / OVERRIDES)
        except DAMAGE:
            return []
        return [str(one) for one in loaded] if isinstance(loaded, list) else []

    @property
    def state(self) -> dict[str, Any]:
        """`state.json`; empty before the first attempt, and only a `state` of `unknown` if it is damaged."""
        try:
            return read_state(self.path / STATE)
        except FileNotFoundError:
            return {}
        except DAMAGE:
            return {"state": UNKNOWN}

    @property
    def provenance(self) -> dict[str, Any]:
        """`provenance.json`; empty before training begins.

        Raises:
            InputError: if it is damaged.
        """
        loaded: dict[str, Any] = self._read(PROVENANCE, read_provenance)
        return loaded

    @property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`.

        Raises:
            InputError: if the run has not written it yet.
        """
        if not (self.path / METRICS).is_file():
            raise InputError(f"{self.path} has no {METRICS}: the run is {self.state.get('state', 'not started')}.")
        loaded: dict[str, Any] = self._read(METRICS, _read_mapping)
        return loaded

    def _read(self, name: str, reader: Callable[[Path], Any]) -> Any:
        """Content of a file that nothing can stand in for."""
        try:
            return reader(self.path / name)
        except DAMAGE as error:
            raise InputError(
                f"{self.path / name} cannot be read: {describe_error(error)} Take it from a backup, or start a new run."
            ) from error

    def discard(self) -> None:
        """Delete the folder of a run that was refused at its first attempt; `create` found it empty."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def discard_if_refused(self) -> Iterator["RunFolder"]:
        """The folder for the work inside; removed where that ends in an `InputError`."""
        try:
            yield self
        except InputError:
            self.discard()
            raise

    @property
    def alive(self) -> bool:
        """Whether a process works on the run: it holds a lock on the config; without locks, `state.json` names it."""
        with (self.path / CONFIG).open() as file:
            try:
                return not lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except NoLocks:
                return self.state.get("state") == "running" and is_vesalius(self.state.get("pid"))

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from working on the run meanwhile, on all machines whose file system has locks.

        Raises:
            InputError: if another process works on it.
        """
        deadline = time.monotonic() + _PROBES
        with (self.path / CONFIG).open("r+") as file:
            while not self._is_locked(file):
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{self.path} is in use by process {self.state.get('pid')}: wait for it, or stop it."
                    )
                time.sleep(0.05)
            yield

    def _is_locked(self, file: IO[str]) -> bool:
        try:
            return lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except NoLocks:
            warn_without_locks(self.path)
            return self.state.get("pid") == os.getpid() or not self.alive

    def end(self, state: str, reason: str | None) -> None:
        """Record how a process ended that could not record it itself."""
        write_json(self.path / STATE, {**self.state, "state": state, "reason": reason})

    @contextmanager
    def attempt(self, joules: Joules = dict) -> Iterator[Cost]:
        """Keep `state.json` up to date while the work inside runs, however it ends; one process at a time.

        Args:
            joules: meters the energy of the parts of the work, which the yielded `Cost` measures.

        Raises:
            InputError: if another process works on the run.
        """
        with self._exclusive(), self._recorded_state(Cost(self.state.get("parts"), joules)) as cost:
            yield cost

    @contextmanager
    def _recorded_state(self, cost: Cost) -> Iterator[Cost]:
        (self.path / PRUNE).unlink(missing_ok=True)  # of an earlier attempt
        before, started = self.state, time.monotonic()  # the time of day may be set back meanwhile
        state: dict[str, Any] = {"attempt": before.get("attempt", 0) + 1, "started": _timestamp(time.time())}
        write_json(self.path / STATE, {"state": "running", "pid": os.getpid(), **state})
        ending, reason = "failed", None
        try:
            yield cost
            ending = "done"
        except Interrupted as interruption:
            pruned = prune_reason(self.path)  # the sweep's signal may come before its file is looked for
            ending, reason = ("interrupted", str(interruption)) if pruned is None else ("pruned", pruned)
            raise
        except BaseException as error:
            if (refused := isinstance(error, InputError)) and before.get("state") == "interrupted":
                ending = "interrupted"  # a resume that was refused: what is trained so far counts
            # Bad input is described on the console only: the message may name a patient or a file.
            text = f"{type(error).__name__}: {'the input was refused' if refused else error}"
            reason = text_without_paths(text, private_paths(self.config))
            raise
        finally:
            state |= {"ended": _timestamp(time.time()), "seconds": round(time.monotonic() - started, 3)}
            state |= {"parts": cost.parts} if cost.parts else {}
            # What ended the work is raised, and not that a full disk cannot record it.
            with nullcontext() if ending == "done" else suppress(OSError):
                write_json(self.path / STATE, {"state": ending, **state, "reason": reason})


@contextmanager
def _creating(path: Path) -> Iterator[bool]:
    """Keep a second command that is given the same new folder from writing into it at the same moment.

    Yields:
        Whether an earlier command was killed while it created the same folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    begun = (path / _CREATING).exists()
    with (path / _CREATING).open("w") as file:
        with suppress(NoLocks):
            if not lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                raise InputError(f"{path} is just being created by another command: choose another folder.")
        try:
            yield begun
        finally:
            (path / _CREATING).unlink(missing_ok=True)


def _read_mapping(path: Path) -> dict[str, Any]:
    if not isinstance(loaded := read_json(path) if path.suffix == ".json" else read_yaml(path), dict):
        raise ValueError("the file is not a mapping")
    return loaded


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
