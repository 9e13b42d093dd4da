"""Which rank failed first: when another rank fails, rank 0 only sees a lost connection. Torch-free."""

import contextlib
import logging
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from vesalius.config.errors import RunFailed, VesaliusError

logger = logging.getLogger("vesalius")

PATIENCE = 1.0  # seconds for the other rank to log its error
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [A-Z]+ ", re.MULTILINE)
_FRAME = re.compile(r'^  File ".*\n(?:[ \t]+.*\n)*', re.MULTILINE)
_LONGEST = 300  # characters of an error message


@contextlib.contextmanager
def named_rank(logs: Path) -> Iterator[None]:
    """Name the rank in which a failure inside the block began.

    Args:
        logs: folder of the run's `rank0.log`, `rank1.log`, …

    Raises:
        RunFailed: for a failure of another rank.
    """
    before = {log: log.stat().st_size for log in logs.glob("rank*.log")}  # written by earlier attempts
    try:
        yield
    except VesaliusError:
        raise
    except Exception as error:
        deadline = time.monotonic() + PATIENCE
        others = sorted(path for path in logs.glob("rank*.log") if path.name != "rank0.log")
        while others and time.monotonic() < deadline:
            for log in others:
                if (reason := _failure(log, before.get(log, 0))) is not None:
                    logger.debug("failed", exc_info=True)  # this rank's own traceback is logged nowhere else
                    raise RunFailed(f"{log.stem} failed: {reason}. See logs/{log.name}.") from error
            time.sleep(0.05)
        raise


def _failure(log: Path, start: int) -> str | None:
    """The error of the traceback at the end of a log; None if anything follows it.

    Args:
        log: of another rank.
        start: number of its bytes from earlier attempts.
    """
    text = log.read_bytes()[start:].decode("utf-8", errors="replace")
    records = _RECORD.split(text)
    message, _, trace = records[-1].strip().partition("\n")
    if message != "vesalius: failed" or not trace:
        return None
    # A message may have many lines; the error's name stands before the first of them, behind the last frame.
    error = _FRAME.split(trace)[-1] or trace.splitlines()[-1]
    return textwrap.shorten(error, _LONGEST, placeholder=" …").rstrip(".")
