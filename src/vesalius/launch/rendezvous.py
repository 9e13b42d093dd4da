"""How processes that `srun` or `torchrun` started side by side come to work in one folder. Torch-free.

Each of them composes the config, but random values and times must be drawn once: rank 0 makes the run folder and tells
the others where it is, through files below `runs/.meeting/`. Each other rank leaves a word that only it can know, and
believes an answer that holds it; so the answer of an earlier start under the same name misleads nobody.
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

#: Where ranks meet, in the working directory.
MEETINGS = Path("runs") / ".meeting"
_ANSWER = "answer.json"
_PAUSE = 0.05  # seconds between two looks
_THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1")

Tell = Callable[..., None]


@dataclass(frozen=True)
class Ranks:
    """The processes that one command line started.

    Attributes:
        rank: of this one.
        world: how many there are; at least two.
        name: of the start; equal in all of them.
        patience: seconds to wait for the others.
    """

    rank: int
    world: int
    name: str
    patience: float = 120.0

    @property
    def _place(self) -> Path:
        return MEETINGS / self.name

    @contextlib.contextmanager
    def meeting(self) -> Iterator[Tell]:
        """For rank 0: answer the others as long as the block inside lasts.

        Yields:
            A function that takes the run folder; or None, and the reasons why there is none if the config was refused.
            The latter waits until all ranks have asked, since this process then ends.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        over = threading.Event()
        threads: list[threading.Thread] = []

        def tell(folder: Path | None, problems: Sequence[str] = ()) -> None:
            answer = {"folder": None if folder is None else str(folder.resolve()), "problems": list(problems)}
            threads.append(threading.Thread(target=self._answer, args=(answer, over), daemon=True))
            threads[0].start()
            deadline = time.monotonic() + self.patience
            while folder is None and len(self._words()) < self.world - 1 and time.monotonic() < deadline:
                time.sleep(_PAUSE)
            if folder is None:
                time.sleep(10 * _PAUSE)  # for the last of them to read it

        try:
            yield tell
        finally:
            over.set()
            for thread in threads:
                thread.join()
            self._leave()

    def wait_for_folder(self) -> Path | None:
        """For the other ranks: the folder that rank 0 made; None where it has found all work done.

        Raises:
            InputError: where it does not say so in time, or has refused the config.
        """
        word = secrets.token_hex(8)
        own, answer = self._place / f"rank{self.rank}", self._place / _ANSWER
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):  # rank 0 takes the folder away when it ends
                if not own.is_file():
                    self._place.mkdir(parents=True, exist_ok=True)
                if not own.is_file() or own.read_text(encoding="utf-8") != word:
                    write_atomically(own, word)
                told = json.loads(answer.read_text(encoding="utf-8"))
                if told["words"].get(own.name) == word:
                    if told["problems"]:
                        raise InputError([f"Rank 0 says: {problem}" for problem in told["problems"]])
                    if told["folder"] is None:
                        return None
                    if (Path(told["folder"]) / CONFIG).is_file():  # a shared file system may be a little late
                        return Path(told["folder"])
            time.sleep(_PAUSE)
        raise InputError(
            f"Rank {self.rank} has waited {self.patience:.0f} s for rank 0 to name the run folder in {self._place}: "
            f"did rank 0 start, and do all machines share the working directory?"
        )

    def _words(self) -> dict[str, str]:
        found = {}
        for path in self._place.glob("rank*"):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.read_text(encoding="utf-8")
        return found

    def _answer(self, answer: Mapping[str, object], over: threading.Event) -> None:
        known: dict[str, str] | None = None
        while not over.wait(_PAUSE):
            words = self._words()
            if words != known:
                write_json(self._place / _ANSWER, {**answer, "words": words})
                known = words

    def _leave(self) -> None:
        for path in self._place.glob("*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else meets there
            self._place.rmdir()
            MEETINGS.rmdir()
            MEETINGS.parent.rmdir()


def ranks_of(environ: Mapping[str, str]) -> Ranks | None:
    """The ranks that the environment tells of; None where this process is alone.

    Raises:
        InputError: where nothing names the start.
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
