"""The process that does the work of one run folder: signals, logs, exit codes."""

import atexit
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from vesalius.config.errors import RunFailed, VesaliusError, print_problems
from vesalius.launch.allocator import keep_freed_memory
from vesalius.launch.faults import describe_fault
from vesalius.runs.redaction import PathlessFormatter
from vesalius.runs.run_folder import Interrupted

logger = logging.getLogger("vesalius")

#: Environment variable: id of the process with which this one ends.
PARENT = "VESALIUS_PARENT"
#: Before the number of the pipe through which a process gets its folder.
PIPE = "pipe:"
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

# Warnings of Lightning in every run that do not apply here: batches are cut from memory, not by workers.
_NOISE = (
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*LeafSpec.*",
    ".*You are using the dataloader_iter step flavor.*",
    ".*your dataloader is not resumable.*",
)


def rank() -> int:
    """This process's rank before any process group exists; 0 for a single process."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0"))))


def enter(work: Callable[[Path], None], arguments: list[str]) -> int:
    """Run `work(folder)` and turn its end, however it comes, into an exit code.

    Args:
        work: a command; gets the folder named by the only argument.
        arguments: `sys.argv[1:]`; `pipe:NUMBER` for a folder that is still to come, through a pipe.

    Returns:
        0 when done; the code of a `VesaliusError`; 130 or 143 when interrupted; 1 after another error.
    """
    gc.freeze()  # what the imports have created lives to the end, and is searched for garbage .3 s each time
    gc.enable()  # off during the imports: see vesalius.commands
    keep_freed_memory()
    (folder,) = arguments
    _catch_signals()
    _quiet()
    try:
        follow_parent()
        if folder.startswith(PIPE):
            folder = _receive_folder(int(folder.removeprefix(PIPE)))
        work(Path(folder))
    except VesaliusError as error:
        print_problems(error)
        return error.exit_code
    except Interrupted as interruption:
        sys.stderr.write(f"Interrupted by {interruption}.\n")
        return interruption.exit_code
    except Exception as error:
        _ignore_signals()  # such as the one that comes when the process that started this one has died
        logger.debug("failed", exc_info=True)
        if (fault := describe_fault(error, Path(folder))) is not None:
            print_problems(RunFailed(fault))
        elif rank() > 0 and logging.getLogger().handlers:  # its log has the traceback; rank 0 tells the user
            sys.stderr.write(f"Rank {rank()} ended with {type(error).__name__}: see logs/rank{rank()}.log.\n")
        else:
            traceback.print_exc()
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """End this process as `sys.exit` would, but for taking its million objects apart, which takes over a second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads on
            stream.flush()
    os._exit(code)


def _receive_folder(pipe: int) -> str:
    """Wait for the folder, and take it for the argument that it would have been: Lightning starts other ranks by it."""
    with open(pipe, encoding="utf-8") as reading:
        folder = reading.read()
    if not folder:
        raise Interrupted(143)  # the process that started this one has ended, or needs it no more
    sys.argv[1:] = [folder]
    return folder


def follow_parent() -> None:
    """Have Linux send SIGTERM when the process that started this one dies: a killed sweep leaves no job behind.

    Lightning starts the other ranks from rank 0, so they end with it in the same way.

    Raises:
        Interrupted: if the parent died during the imports.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    os.environ[PARENT] = str(os.getpid())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        raise Interrupted(143)


def log_to(path: Path, private: Sequence[str] = ()) -> None:
    """Send log records and warnings of this process to a file of its own.

    Args:
        path: of the file.
        private: paths that must not appear in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(PathlessFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", private))
    logging.getLogger().addHandler(handler)
    if rank() == 0:
        console = logging.StreamHandler()
        console.setLevel(logging.WARNING)
        console.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(console)
    logging.getLogger().setLevel(logging.INFO)
    logger.setLevel(logging.DEBUG)
    logging.captureWarnings(True)


def _catch_signals() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        _ignore_signals()  # a second one must not break the saving of the state
        raise Interrupted(130 if number == signal.SIGINT else 143)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    # SLURM warns every process of a job that its time runs out. The one that submitit started asks this one to stop.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _quiet() -> None:
    logging.raiseExceptions = False  # a log that cannot be written must not fill the console
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
