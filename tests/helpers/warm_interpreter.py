"""`vesalius ...` many times without the five seconds of imports: an interpreter that has them done, and forks.

Each call is a process of its own, as is the work that it starts, with its own folder, environment and exit code. What
differs from a user's: nothing is imported anew. So runs over several processes, which start the interpreter again by
themselves, need a fresh one, and so do tests about starting.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from types import SimpleNamespace


class WarmInterpreter:
    """The side of the tests."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, place: Path, said: Path, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """What `vesalius ARGUMENTS`, started in `place`, returns and prints; `said` is a folder for the latter."""
        paths = said / "stdout", said / "stderr"
        asked = {"place": str(place), "arguments": arguments, "said": [str(path) for path in paths]}
        asked["env"] = {**os.environ, "COLUMNS": "200"}
        watch = threading.Timer(timeout, self._process.kill)
        watch.start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
        finally:
            watch.cancel()
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in paths))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Forked:
    """The work of a run folder in a fork, with as much of `subprocess.Popen` as `vesalius.launch.launch` asks for."""

    def __init__(self, command: list[str], env: dict[str, str], start_new_session: bool) -> None:
        _, _, module, folder = command
        self.pid = os.fork()
        if self.pid == 0:
            if start_new_session:
                os.setsid()
            _in_child(lambda: _work(module, folder, env))

    def send_signal(self, number: int) -> None:
        """To the fork."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, below 0 for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _work(module: str, folder: str, env: dict[str, str]) -> int:
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module, folder]
    from vesalius.launch.worker import enter

    found = sys.modules[module]
    return enter(getattr(found, module.rpartition(".")[2]), [folder])


def _in_child(work) -> None:
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _answer(asked) -> int:
    os.chdir(asked["place"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for number, path in enumerate(asked["said"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    from vesalius import cli
    from vesalius.launch import launch

    launch.subprocess = SimpleNamespace(Popen=Forked)
    return cli.main(asked["arguments"])


def _serve() -> None:
    import vesalius.commands

    for module in pkgutil.iter_modules(vesalius.commands.__path__):
        importlib.import_module(f"vesalius.commands.{module.name}")
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _in_child(lambda asked=asked: _answer(asked))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
