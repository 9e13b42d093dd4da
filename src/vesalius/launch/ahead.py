"""A verb's process, started before its config is composed: it imports and waits for its folder. Torch-free."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from vesalius.launch.child import child_environment, signal_group, work_command
from vesalius.launch.rendezvous import ranks_of
from vesalius.launch.worker import PARENT, PIPE


class Ahead:
    """A process with the imports of a verb under way, for one run folder.

    Args:
        verb: names the module in `vesalius.commands`.
    """

    def __init__(self, verb: str) -> None:
        reading, self._pipe = os.pipe()
        self._verb, self._environment, self._place = verb, child_environment(), os.getcwd()
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                work_command(verb, f"{PIPE}{reading}"),
                env=self._environment,
                pass_fds=[reading],
                start_new_session=True,
            )
        finally:
            os.close(reading)

    def take(self, verb: str, folder: Path) -> "subprocess.Popen[bytes] | None":
        """Give it its folder; None, and its end, where another would be started now: other variables, another place."""
        process = self._process
        same = (verb, child_environment(), os.getcwd()) == (self._verb, self._environment, self._place)
        if process is None:
            return None
        if not same or process.poll() is not None:
            self.kill()
            process.wait()  # or it would hold its memory while the other one works
            return None
        self._process = None
        with contextlib.suppress(BrokenPipeError), open(self._pipe, "w", encoding="utf-8") as pipe:
            pipe.write(str(folder))
        return process

    def kill(self) -> None:
        """Kill it, if it was not taken; waiting for its end would take a twelfth of the time of a refused command."""
        process, self._process = self._process, None
        if process is not None:
            os.close(self._pipe)
            signal_group(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def started_ahead(verb: str, arguments: Sequence[str]) -> "Iterator[Ahead | None]":
    """The process that a command will need; None where flags ask for something else, and where others start processes.

    Args:
        verb: of the command.
        arguments: that follow it.
    """
    flags = any(argument.startswith("-") for argument in arguments)
    if flags or os.name != "posix" or PARENT in os.environ or ranks_of(os.environ) is not None:
        yield None
        return
    ahead = Ahead(verb)
    try:
        yield ahead
    finally:
        ahead.kill()
