"""How the processes that `srun` or `torchrun` start agree on one run folder. Torch-free.

Each of them composes the config, but random values and times must be drawn once: rank 0 creates the run folder and
announces it to the others through files below `runs/.rendezvous/`. Each other rank leaves a random token, and accepts
only a reply that repeats it; so the reply of an earlier start under the same name misleads nobody.
"""

import contextlib
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import CONFIG, write_atomically, write_json

#: Folder of all rendezvous, in the working directory.
RENDEZVOUS = Path("runs") / ".rendezvous"
_REPLY = "reply.json"
_PAUSE = 0.05  # seconds between polls
_THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1")

Announce = Callable[..., None]


@dataclass(frozen=True)
class Ranks:
    """The processes started by one srun or torchrun.

    Attributes:
        rank: of this one.
        world: number of processes; at least two.
        name: of the start; equal in all processes.
        patience: seconds to wait for the others.
    """

    rank: int
    world: int
    name: str
    patience: float = 120.0

    @property
    def _place(self) -> Path:
        return RENDEZVOUS / self.name

    @contextlib.contextmanager
    def announcing(self) -> Iterator[Announce]:
        """For rank 0: reply to the other ranks until the block ends.

        Yields:
            A function that takes the run folder; or None, with the problems of a refused config. With None it returns
            only when all ranks have read the reply, since this process then ends.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        stop = threading.Event()
        threads: list[threading.Thread] = []

        def announce(folder: Path | None, problems: Sequence[str] = ()) -> None:
            reply = {"folder": None if folder is None else str(folder.resolve()), "problems": list(problems)}
            threads.append(threading.Thread(target=self._reply, args=(reply, stop), daemon=True))
            threads[0].start()
            deadline = time.monotonic() + self.patience
            while folder is None and len(self._tokens()) < self.world - 1 and time.monotonic() < deadline:
                time.sleep(_PAUSE)
            if folder is None:
                time.sleep(10 * _PAUSE)  # for the last of them to read it

        try:
            yield announce
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self._leave()

    def wait_for_folder(self) -> Path | None:
        """For the other ranks: the folder that rank 0 created; None if rank 0 found all work done.

        Raises:
            InputError: if rank 0 does not reply in time, or has refused the config.
        """
        token = secrets.token_hex(8)
        own, file = self._place / f"rank{self.rank}", self._place / _REPLY
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):  # rank 0 removes the folder when it ends
                if not own.is_file():
                    self._place.mkdir(parents=True, exist_ok=True)
                if not own.is_file() or own.read_text(encoding="utf-8") != token:
                    write_atomically(own, token)
                reply = json.loads(file.read_text(encoding="utf-8"))
                if reply["tokens"].get(own.name) == token:
                    if reply["problems"]:
                        raise InputError([f"Rank 0: {problem}" for problem in reply["problems"]])
                    if reply["folder"] is None:
                        return None
                    if (Path(reply["folder"]) / CONFIG).is_file():  # a shared file system may be a little late
                        return Path(reply["folder"])
            time.sleep(_PAUSE)
        raise InputError(
            f"Rank {self.rank} has waited {self.patience:.0f} s for rank 0 to name the run folder in {self._place}: "
            f"check that rank 0 has started, and that all machines share the working directory."
        )

    def _tokens(self) -> dict[str, str]:
        found = {}
        for path in self._place.glob("rank*"):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.read_text(encoding="utf-8")
        return found

    def _reply(self, reply: Mapping[str, object], stop: threading.Event) -> None:
        known: dict[str, str] | None = None
        while not stop.wait(_PAUSE):
            tokens = self._tokens()
            if tokens != known:
                write_json(self._place / _REPLY, {**reply, "tokens": tokens})
                known = tokens

    def _leave(self) -> None:
        for path in self._place.glob("*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another start uses it
            self._place.rmdir()
            RENDEZVOUS.rmdir()
            RENDEZVOUS.parent.rmdir()


def ranks_of(environ: Mapping[str, str]) -> Ranks | None:
    """The ranks that the environment describes; None for a single process.

    Raises:
        InputError: if no variable names the start.
    """
    if int(environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in environ:
        rank, world = int(environ["RANK"]), int(environ["WORLD_SIZE"])
        address = environ.get("MASTER_ADDR", "")
        if address in _THIS_MACHINE:
            address = socket.gethostname()
        if "MASTER_PORT" not in environ:
            raise InputError(f"WORLD_SIZE={world} and no MASTER_PORT: start the processes with torchrun or srun.")
        parts = [environ.get("TORCHELASTIC_RUN_ID", "ranks"), address, environ["MASTER_PORT"]]
    elif int(environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_ID" in environ:
        rank, world = int(environ["SLURM_PROCID"]), int(environ["SLURM_NTASKS"])
        parts = ["slurm", environ["SLURM_JOB_ID"], environ["SLURM_STEP_ID"]]
    else:
        return None
    return Ranks(rank, world, re.sub(r"[^\w.-]", "_", "-".join(parts)))
