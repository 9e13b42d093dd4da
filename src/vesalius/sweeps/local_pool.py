"""Slots of this machine in which the jobs of a sweep run, each a process of its own. Torch-free."""

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from vesalius.config.errors import InputError
from vesalius.launch.child import child_environment, signal_group
from vesalius.launch.template import ForkedJob, Template

#: Lines of a job's console that are kept to show why it failed.
LAST_LINES = 15
RANKS_GRACE = 5.0  # seconds that the ranks of a job have after its first process


Process = ForkedJob | subprocess.Popen[bytes]


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        number: of the job.
        code: its exit code; below 0: the signal that killed it.
        last_lines: of its console, if they were kept.
    """

    number: int
    code: int
    last_lines: Sequence[str] = ()


class Pool(Protocol):
    """Runs the jobs of a sweep, on this machine or on a cluster."""

    @property
    def free(self) -> bool:
        """Whether one more job may start."""

    def start(self, number: int, command: Sequence[str], folder: Path) -> None:
        """Start the command of a job; `folder` is its run folder."""

    def ended(self) -> list[Ended]:
        """The jobs that have ended since the last call."""

    def stop(self, number: int) -> None:
        """Send a signal to all jobs."""

    def kill(self) -> None:
        """Kill all jobs, with all processes that they started."""


class JobPool:
    """Jobs as processes of this machine, one per slot.

    Args:
        slots: environment variables that each slot adds to this process's own.
        consoles: whether each job writes to `logs/console.log` in its folder instead of to this console.
        template: forks the jobs; None: each is a fresh interpreter.
    """

    def __init__(self, slots: Sequence[Mapping[str, str]], *, consoles: bool, template: Template | None = None) -> None:
        self._free, self._consoles, self._template = list(slots), consoles, template
        self._running: dict[int, _Child] = {}

    @property
    def free(self) -> bool:
        """Whether one more job may start."""
        return bool(self._free)

    def start(self, number: int, command: Sequence[str], folder: Path) -> None:
        """Start the command of a job in a free slot, in a session of its own: signals reach it through this pool."""
        slot = self._free.pop(0)
        console: IO[bytes] | None = None
        if self._consoles:
            (folder / "logs").mkdir(exist_ok=True)
            console = (folder / "logs" / "console.log").open("a+b")
        # Inside an allocation of SLURM each job starts its ranks by itself: the allocation's tasks are not its own.
        environment = {key: it for key, it in child_environment(slot).items() if not key.startswith("SLURM_")}
        process: Process
        if self._template is not None:
            process = self._template.start(command, environment, console)
        else:
            process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=console, stderr=console)
        self._running[number] = _Child(process, slot, console)

    def ended(self) -> list[Ended]:
        """The jobs that have ended since the last call; their slots are free again."""
        found = []
        for number, child in list(self._running.items()):
            code = child.process.poll()
            if code is None or child.has_ranks_left():
                continue
            del self._running[number]
            self._free.append(child.slot)
            found.append(Ended(number, code, child.last_lines()))
        return found

    def stop(self, number: int) -> None:
        """Send a signal to each job; its first process saves what there is, and its ranks follow."""
        for child in self._running.values():
            child.process.send_signal(number)

    def kill(self) -> None:
        """Kill all jobs, with all processes that they started."""
        for child in self._running.values():
            signal_group(child.process.pid, signal.SIGKILL)


@dataclass
class _Child:
    process: "Process"
    slot: Mapping[str, str]
    console: IO[bytes] | None
    ended: float | None = None  # when the process was first found ended

    def has_ranks_left(self) -> bool:
        """Whether an ended process has left ranks running; they are killed after a few seconds.

        They still hold the slot's GPUs and write to the run folder. A process that was killed could not end its ranks.
        """
        self.ended = self.ended or time.monotonic()
        patience = RANKS_GRACE if (self.process.poll() or 0) >= 0 else 0.0
        if time.monotonic() - self.ended >= patience:
            signal_group(self.process.pid, signal.SIGKILL)
            return False
        return _group_runs(self.process.pid)

    def last_lines(self) -> list[str]:
        """Read from the open file: the folder of a run that was refused is gone by now."""
        return [] if self.console is None else read_last_lines(self.console)


def read_last_lines(console: IO[bytes]) -> list[str]:
    """The last lines of a file that is open for reading and writing; closes it."""
    with console:
        size = console.seek(0, os.SEEK_END)
        console.seek(max(0, size - 20_000))
        text = console.read().decode(errors="replace")
    return [line for line in text.replace("\r", "\n").split("\n") if line.strip()][-LAST_LINES:]


def _group_runs(leader: int) -> bool:
    """Whether a job's group has a process that runs; ended ones stay in the table until their new parent asks."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    table = [_state_and_group(path) for path in Path("/proc").glob("[0-9]*/stat")]
    return not table or any(group == leader and state != "Z" for state, group in table)


def _state_and_group(stat: Path) -> tuple[str, int]:
    try:
        state, _, group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):  # it has ended meanwhile
        return "Z", 0
    return state, int(group)


def make_slots(
    n_jobs: int,
    gpus_per_job: int = 0,
    threads: int | None = None,
    *,
    ranks: int = 1,
    environ: Mapping[str, str] = os.environ,
) -> list[dict[str, str]]:
    """Environment variables of each slot: cores and GPUs divided among the jobs.

    Args:
        n_jobs: how many jobs run at once.
        gpus_per_job: GPUs of a slot; 0: all jobs see those that this process sees.
        threads: of each process of a job; None: the cores are divided, unless `OMP_NUM_THREADS` is set.
        ranks: processes of a job.
        environ: of this process.

    Returns:
        The variables to set, one dictionary per slot.

    Raises:
        InputError: for numbers out of range, and for too few GPUs.
    """
    options = {"n_jobs": (n_jobs, 1), "gpus_per_job": (gpus_per_job, 0), "threads": (threads or 1, 1)}
    if problems := [f"hydra.launcher.{key}={it}: at least {low}." for key, (it, low) in options.items() if it < low]:
        raise InputError(problems)
    slots: list[dict[str, str]] = [{} for _ in range(n_jobs)]
    if threads is None and n_jobs > 1 and "OMP_NUM_THREADS" not in environ:
        threads = max(1, _cores() // (n_jobs * ranks))
    if threads is not None:
        slots = [{"OMP_NUM_THREADS": str(threads)} for _ in slots]
    if gpus_per_job:
        visible = visible_gpus(environ)
        if n_jobs * gpus_per_job > len(visible):
            fit = len(visible) // gpus_per_job
            cure = f"set hydra.launcher.n_jobs={fit}" if fit else "set hydra.launcher.gpus_per_job=0"
            raise InputError(
                f"hydra.launcher: n_jobs={n_jobs} of gpus_per_job={gpus_per_job} take {n_jobs * gpus_per_job} GPUs, "
                f"and {len(visible)} are visible: {cure}."
            )
        for place, slot in enumerate(slots):
            own = visible[place * gpus_per_job : (place + 1) * gpus_per_job]
            slot["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return slots


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Names of the NVIDIA GPUs visible to a process started now, as in `CUDA_VISIBLE_DEVICES`."""
    if "CUDA_VISIBLE_DEVICES" in environ:
        named = [name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return list(dict.fromkeys(itertools.takewhile(lambda name: name not in ("", "-1"), named)))
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
