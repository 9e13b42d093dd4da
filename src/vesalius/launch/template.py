"""A process with the imports of a verb done, of which each job of a sweep is a fork. For Linux; torch-free itself.

A fresh interpreter imports for seconds before each job, a fork starts at once. Nothing but imports has happened in the
process that forks: no CUDA, no threads of torch, no random number drawn. Each fork has its own session, environment,
console and visible devices, and computes the same bits as a fresh interpreter.
"""

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from vesalius.launch.worker import PARENT, enter, follow_parent, leave

_ATTEMPTS = 3
_LONGEST = 1 << 20  # bytes of one request: an environment and a folder
_PAUSE = 0.02  # seconds between two searches for ended jobs
_PER_JOB = ("CUDA_VISIBLE_DEVICES",)  # read when a device is first used, after the fork


def can_fork() -> bool:
    """Whether this platform has what a template needs."""
    return sys.platform == "linux"


class Template:
    """The sweep's side: starts the process at the first job and asks it for one fork per job."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs: dict[int, ForkedJob] = {}
        self._started: list[ForkedJob] = []
        self._rest = b""

    def start(self, command: Sequence[str], environment: Mapping[str, str], console: IO[bytes] | None) -> "ForkedJob":
        """Fork a job.

        Args:
            command: as `work_command` has it.
            environment: of the job, all of it.
            console: file for what the job prints; None: where this process prints.

        Raises:
            ChildProcessError: if the process with the imports dies again and again.
        """
        for _ in range(_ATTEMPTS):
            if self._process is None or self._process.poll() is not None:
                self._begin(environment)
            with contextlib.suppress(ConnectionError, ChildProcessError):  # killed, as by a lack of memory
                return self._fork(command, environment, console)
            self._process = None
        raise ChildProcessError("the process that jobs are forked from has died again and again: is memory short?")

    def _fork(self, command: Sequence[str], environment: Mapping[str, str], console: IO[bytes] | None) -> "ForkedJob":
        module, folder = command[-2:]
        asked = {"module": module, "folder": folder, "environment": dict(environment)}
        files = (sys.stdout, sys.stderr) if console is None else (console, console)
        message = json.dumps(asked).encode()
        socket.send_fds(self._socket, [len(message).to_bytes(4, "big")], [file.fileno() for file in files])
        self._socket.sendall(message)
        return self._next_start()

    def update(self) -> None:
        """Note the exit codes of the jobs that have ended."""
        while select.select([self._socket], [], [], 0)[0]:
            if not self._receive():
                self._abandon()
                return

    def _abandon(self) -> None:
        for job in self._jobs.values():  # Linux has sent them SIGTERM; nobody has their exit codes
            job.abandoned = True

    def _begin(self, environment: Mapping[str, str]) -> None:
        own = {key: value for key, value in environment.items() if key not in _PER_JOB}
        self._abandon()
        self._socket, other = socket.socketpair()
        self._jobs, self._started, self._rest = {}, [], b""
        with other:
            command = [sys.executable, "-m", __name__, str(other.fileno())]
            self._process = subprocess.Popen(
                command, env=own, pass_fds=[other.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
            )

    def _next_start(self) -> "ForkedJob":
        while not self._started:
            if not self._receive():
                raise ChildProcessError("the process from which the jobs of the sweep are forked has died")
        return self._started.pop()

    def _receive(self) -> bool:
        """Read what the process has sent; False when it has died."""
        try:
            chunk = self._socket.recv(65536)
        except ConnectionError:
            chunk = b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            pid, code = json.loads(line)
            if code is None:
                self._jobs[pid] = ForkedJob(self, pid)  # here: its end may be in the same chunk
                self._started.append(self._jobs[pid])
            else:
                self._jobs.pop(pid).returncode = code
        return bool(chunk)


class ForkedJob:
    """One job, with as much of `subprocess.Popen` as the pool needs.

    Attributes:
        pid: of its process.
        returncode: its exit code, below 0 for a signal; None while it runs.
        abandoned: whether the process that knows the exit code has died.
    """

    def __init__(self, template: Template, pid: int) -> None:
        self._template, self.pid = template, pid
        self.returncode: int | None = None
        self.abandoned = False

    def poll(self) -> int | None:
        """The exit code; None while the job runs."""
        if self.returncode is None and not self.abandoned:
            self._template.update()
        if self.returncode is None and self.abandoned and not _runs(self.pid):
            self.returncode = -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal while the job runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _runs(pid: int) -> bool:
    """Whether a process runs; an ended one stays in the table until its new parent asks, which may be never."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _serve(place: int) -> int:
    """Fork on request until the sweep has ended, and report each job's end; in a fork: do the job.

    Returns:
        The exit code, of the job in a fork.
    """
    gc.disable()  # imports create a million objects that live to the end
    follow_parent()
    own = socket.socket(fileno=place)
    running: set[int] = set()
    while True:
        if select.select([own], [], [], _PAUSE if running else None)[0]:
            try:
                head, files, _, _ = socket.recv_fds(own, 4, 2)
            except ConnectionResetError:
                head = b""
            if not head:
                return 0
            asked = json.loads(_read(own, int.from_bytes(head, "big")))
            if asked["module"] not in sys.modules:
                _import_all(asked["module"], Path(asked["folder"]))
            pid = os.fork()
            if pid == 0:
                own.close()
                return _become_job(asked, files)
            for file in files:
                os.close(file)
            running.add(pid)
            _send(own, pid, None)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.remove(pid)
                _send(own, pid, os.waitstatus_to_exitcode(status))


def _import_all(name: str, folder: Path) -> None:
    """Import a verb, and what its work on a folder imports only when it gets there."""
    later = getattr(importlib.import_module(name), "import_later", None)
    if later is not None:
        later(folder)
    gc.collect()
    gc.freeze()


def _read(own: socket.socket, size: int) -> bytes:
    if size > _LONGEST:
        raise ValueError(f"a request of {size} bytes")
    text = b""
    while len(text) < size:
        text += own.recv(size - len(text))
    return text


def _send(own: socket.socket, pid: int, code: int | None) -> None:
    with contextlib.suppress(BrokenPipeError):
        own.sendall(json.dumps([pid, code]).encode() + b"\n")


def _become_job(asked: dict[str, Any], files: Sequence[int]) -> int:
    """Do in this fork what `python -m MODULE FOLDER` does in a fresh interpreter, and return its exit code."""
    os.setsid()
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.environ[PARENT] = str(os.getppid())
    random.seed()  # names of temporary things must differ between forks; runs seed their own generators
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    module = sys.modules[asked["module"]]
    sys.argv = [str(module.__file__), asked["folder"]]
    sys.modules["__main__"].__spec__ = module.__spec__  # by which Lightning starts other ranks
    return enter(getattr(module, asked["module"].rpartition(".")[2]), [asked["folder"]])


if __name__ == "__main__":
    leave(_serve(int(sys.argv[1])))
