"""Whose failure it was. Where another rank fails, rank 0 knows only that it has lost its connection. Torch-free."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from vesalius.config.errors import RunFailed, VesaliusError

_PATIENCE = 1.0  # seconds for the other rank to write down what happened to it
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [A-Z]+ ", re.MULTILINE)


@contextlib.contextmanager
def named_rank(logs: Path) -> Iterator[None]:
    """Say of a failure inside in which rank it began.

    Args:
        logs: folder of the run's `rank0.log`, `rank1.log`, …

    Raises:
        RunFailed: where it was another rank.
    """
    try:
        yield
    except VesaliusError:
        raise
    except Exception as error:
        deadline = time.monotonic() + _PATIENCE
        others = sorted(path for path in logs.glob("rank*.log") if path.name != "rank0.log")
        while others and time.monotonic() < deadline:
            for log in others:
                if (said := _failure(log)) is not None:
                    raise RunFailed(f"{log.stem} failed: {said}. See logs/{log.name}.") from error
            time.sleep(0.05)
        raise


def _failure(log: Path) -> str | None:
    """The last line of the traceback that a log ends with; None where the process has written anything since."""
    text = log.read_text(encoding="utf-8", errors="replace")
    records = _RECORD.split(text)
    message, _, trace = records[-1].strip().partition("\n")
    return trace.splitlines()[-1].rstrip(".") if message == "vesalius: failed" and trace else None
