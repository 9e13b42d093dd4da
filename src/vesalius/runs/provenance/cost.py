"""How long the parts of a run took, and the energy that processors and GPUs used meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: Reads joules since any moment, by the name of what used them; empty where nothing tells.
Joules = Callable[[], Mapping[str, float]]
_EVERY = 30.0  # seconds: counters of processors begin again at 0 after some minutes


class Cost:
    """Seconds and joules of the parts of a run, over all of its attempts that ended by themselves.

    Args:
        before: of earlier attempts, as `parts` gives it.
        joules: the meter; without one only seconds are measured.

    Attributes:
        parts: by name `seconds`, and what the meter reads, such as `cpu_joules`: of all programs on these devices.
    """

    def __init__(self, before: Any = None, joules: Joules = dict) -> None:
        self.parts: dict[str, dict[str, float]] = {}
        if isinstance(before, Mapping):  # of a file that may be damaged
            for name, values in before.items():
                self._add(str(name), values if isinstance(values, Mapping) else {})
        self._joules = joules

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add what the work inside takes, however it ends."""
        started, first = time.monotonic(), self._joules()
        over = threading.Event()
        if first:
            threading.Thread(target=self._keep_reading, args=(over,), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            last = self._joules()
            used = {f"{name}_joules": last[name] - value for name, value in first.items() if name in last}
            self._add(part, {"seconds": time.monotonic() - started, **used})

    def _keep_reading(self, over: threading.Event) -> None:
        while not over.wait(_EVERY):
            self._joules()

    def _add(self, part: str, values: Mapping[str, Any]) -> None:
        entry = self.parts.setdefault(part, {})
        for name, value in values.items():
            if isinstance(value, int | float):
                entry[name] = round(entry.get(name, 0.0) + value, 3)
