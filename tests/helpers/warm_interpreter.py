"""`vesalius ...` many times without the five seconds of imports: an interpreter that has them done, and forks.

Each call is a process of its own, as is all work that it starts: of a run, of a sweep's jobs, and of other ranks. Each
has its own folder, environment, module path and exit code. What differs from a user's: nothing is imported again, so
tests about starting need a fresh interpreter; and figures of runs are blank (see `sketches`).
"""

import contextlib
import faulthandler
import gc
import importlib
import json
import logging
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

_OWN = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
_PATH = [path for path in sys.path if path not in _OWN]


class WarmInterpreter:
    """The side of the tests; the other side is a fork of this process, made before the first test has changed it."""

    def __init__(self) -> None:
        asked, answers = os.pipe(), os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # other threads, of pytest-xdist, do nothing in the fork
            self._pid = os.fork()
        if self._pid == 0:
            _in_child(lambda: _serve(asked[0], answers[1]))
        os.close(asked[0])
        os.close(answers[1])
        self._asked, self._answers = os.fdopen(asked[1], "w"), os.fdopen(answers[0])

    def run(
        self,
        place: Path,
        said: Path,
        arguments: list[str],
        timeout: float,
        *,
        fake: bool = False,
        figures: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run `vesalius ARGUMENTS` in a folder.

        Args:
            place: where.
            said: a folder for what it prints.
            arguments: of the command line.
            timeout: in seconds.
            fake: the work of runs costs nothing, as in `fake_worker`.
            figures: of runs are drawn.
        """
        paths = said / "stdout", said / "stderr"
        asked = {"place": str(place), "arguments": arguments, "said": [str(path) for path in paths]}
        asked |= {"fake": fake, "figures": figures}
        asked["env"] = {**os.environ, "COLUMNS": "200"}
        watch = threading.Timer(timeout, self.close)
        watch.start()
        try:
            self._asked.write(json.dumps(asked) + "\n")
            self._asked.flush()
            code = int(self._answers.readline())
        finally:
            watch.cancel()
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in paths))

    def close(self) -> None:
        """End it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class Forked:
    """The work of a run folder in a fork, with as much of `subprocess.Popen` as those who start it ask for."""

    def __init__(self, command, env=None, start_new_session=False, stdout=None, stderr=None, cwd=None) -> None:
        _, _, module, folder = command
        self.returncode = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            if start_new_session:
                os.setsid()
            for number, file in ((1, stdout), (2, stderr)):
                if file is not None:
                    os.dup2(file.fileno(), number)
            _in_child(lambda: _work(module, folder, dict(os.environ if env is None else env)))

    def send_signal(self, number: int) -> None:
        """To the fork, while it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Its exit code, below 0 for a signal."""
        return self._wait(0)

    def _wait(self, options):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _work(module: str, folder: str, env: dict[str, str]) -> int:
    """What `python -m MODULE FOLDER` does."""
    _enter_environment(env)
    sys.argv = [module, folder]
    from hydra.core.hydra_config import HydraConfig
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from vesalius.launch.worker import enter, rank

    found = importlib.import_module(module)
    sys.modules["__main__"].__spec__ = found.__spec__  # by which Lightning starts other ranks
    HydraConfig.instance().cfg = None
    rank_zero_only.rank = rank()
    for log in (logging.getLogger(), logging.getLogger("vesalius")):
        log.handlers.clear()  # of rank 0, from which another one is forked
    return enter(found.work if module == "fake_worker" else getattr(found, module.rpartition(".")[2]), [folder])


def _enter_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    sys.path[:] = [os.getcwd(), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *_PATH]


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
    if peaks := os.environ.get("PEAK_MEMORY"):  # a file, for the kilobytes that each process took at most
        used = [resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        with open(peaks, "a") as file:
            file.write(f"{max(used)}\n")
    os._exit(code)


def _answer(asked) -> int:
    os.chdir(asked["place"])
    _enter_environment(asked["env"])
    for number, path in enumerate(asked["said"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    from pytorch_lightning.strategies.launchers import subprocess_script

    from sketches import draw_figures
    from vesalius import cli
    from vesalius.launch import ahead, launch, template
    from vesalius.sweeps import local_pool, scheduler

    for starter in (launch, local_pool, subprocess_script):
        starter.subprocess = SimpleNamespace(Popen=Forked, run=subprocess.run)
    template.can_fork = lambda: False  # this process has the imports done already, and `Forked` forks it
    ahead.started_ahead = lambda verb, arguments: contextlib.nullcontext()  # for the same reason
    if asked["figures"]:
        draw_figures()
    if asked["fake"]:
        launch.work_command = scheduler.work_command = lambda verb, folder: ["python", "-m", "fake_worker", str(folder)]
    return cli.main(asked["arguments"])


def _serve(asked: int, answers: int) -> int:
    """Forget pytest, import what commands need, and answer until the tests have ended."""
    for number in range(3, 1024):  # or who waits for the tests' process to end would wait for this one
        if number not in (asked, answers):
            with contextlib.suppress(OSError):
                os.close(number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    faulthandler.disable()
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import vesalius.commands

    for module in pkgutil.iter_modules(vesalius.commands.__path__):
        importlib.import_module(f"vesalius.commands.{module.name}")
    from vesalius.config.compose import load_config

    load_config("train", [])  # the first config takes twice as long as the next
    gc.collect()
    gc.freeze()
    with os.fdopen(asked) as lines, os.fdopen(answers, "w") as codes:
        for line in lines:
            child = os.fork()
            if child == 0:
                _in_child(lambda line=line: _answer(json.loads(line)))
            codes.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
            codes.flush()
    return 0
