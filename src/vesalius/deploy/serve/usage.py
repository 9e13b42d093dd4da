"""Counts of what a server does, in the text format of Prometheus; nothing in them is of a person or a file."""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
_PAGE_BYTES = 4096


class Usage:
    """Counts of requests and inputs; all methods are called from one thread.

    Args:
        paths: that are counted by name; all others as `other`.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._started = time.time()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: dict[str, list[int]] = {}
        self._inputs: Counter[str] = Counter()
        self.in_flight = 0

    def add_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that is over."""
        path = path if path in self._paths else "other"
        self._requests[path, status] += 1
        self._seconds[path] += seconds
        self._buckets.setdefault(path, [0] * (len(_BUCKETS) + 1))[bisect_left(_BUCKETS, seconds)] += 1

    def add_inputs(self, outcome: str, count: int) -> None:
        """Count inputs that were `predicted` or `refused`."""
        self._inputs[outcome] += count

    def render(self) -> str:
        """The counts as text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# HELP vesalius_requests_total Requests by path and status."
        yield "# TYPE vesalius_requests_total counter"
        for (path, status), count in sorted(self._requests.items()):
            yield f'vesalius_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# HELP vesalius_request_seconds Seconds from the first byte of a request to the last of its response."
        yield "# TYPE vesalius_request_seconds histogram"
        for path, counts in sorted(self._buckets.items()):
            below = 0
            for edge, count in zip((*_BUCKETS, "+Inf"), counts, strict=True):
                below += count
                yield f'vesalius_request_seconds_bucket{{path="{path}",le="{edge}"}} {below}'
            yield f'vesalius_request_seconds_sum{{path="{path}"}} {self._seconds[path]:.6f}'
            yield f'vesalius_request_seconds_count{{path="{path}"}} {below}'
        yield "# HELP vesalius_inputs_total Images and series by what became of them."
        yield "# TYPE vesalius_inputs_total counter"
        for outcome, count in sorted(self._inputs.items()):
            yield f'vesalius_inputs_total{{outcome="{outcome}"}} {count}'
        yield "# HELP vesalius_requests_in_flight Requests that are being received or predicted."
        yield "# TYPE vesalius_requests_in_flight gauge"
        yield f"vesalius_requests_in_flight {self.in_flight}"
        yield "# HELP process_start_time_seconds When the server was started, in seconds since 1970."
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {self._started:.3f}"
        if (memory := resident_bytes()) is not None:
            yield "# HELP process_resident_memory_bytes Memory that the server holds."
            yield "# TYPE process_resident_memory_bytes gauge"
            yield f"process_resident_memory_bytes {memory}"


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not state it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return None
