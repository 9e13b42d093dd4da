"""Inputs that nobody meant, for as long as asked: valid files with changes, and structured nonsense."""

import resource
import signal
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

_SECONDS, _PATIENCE, _KILOBYTES = 20.0, 120, 2**20
_ODD = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1]


@dataclass
class Exploration:
    """What came of one: how many inputs were tried, and the shortest input of each kind of finding."""

    tried: int = 0
    findings: dict[str, Any] = field(default_factory=dict)

    def note(self, kind: str, value: Any) -> None:
        known = self.findings.get(kind)
        if known is None or len(repr(value)) < len(repr(known)):
            self.findings[kind] = value


def explore(
    inputs: st.SearchStrategy[Any], check: Callable[[Any], None], documented: tuple[type[Exception], ...], until: float
) -> Exploration:
    """Give inputs to a check until a time of `time.monotonic`.

    Args:
        inputs: to draw from.
        check: may raise the documented exceptions; takes seconds and no gigabyte at most.
        documented: exceptions that are a refusal.
        until: when to stop.
    """
    result = Exploration()
    number = 0

    def stop(*_: Any) -> None:
        raise TimeoutError("no end")

    def attempt(value: Any) -> None:
        if time.monotonic() > until:
            return
        result.tried += 1
        peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        signal.alarm(_PATIENCE)
        try:
            check(value)
        except documented:
            pass
        except Exception as error:
            result.note(_place_of(error), value)
        finally:
            signal.alarm(0)
        if time.process_time() - started > _SECONDS:
            result.note("slow", value)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > _KILOBYTES:
            result.note("large", value)

    before = signal.signal(signal.SIGALRM, stop)
    try:
        while time.monotonic() < until:
            run = given(inputs)(attempt)
            run = settings(
                max_examples=300,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(run)
            seed(number)(run)()
            number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return result


def _place_of(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/vesalius/" in frame.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.filename.rpartition('/vesalius/')[2]}:{last.lineno}: {str(error)[:120]}"


@st.composite
def mutations(draw: st.DrawFn, originals: Sequence[bytes], header: int = 600) -> bytes:
    """One of some files with a few changes, most of them near its beginning."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        end = len(content) - 1
        at = draw(st.one_of(st.integers(0, min(header, end)), st.integers(0, end)))
        kind = draw(st.integers(0, 6))
        if kind == 0:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            content[at] = draw(st.integers(0, 255))
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == 4:
            content[at:at] = content[at : at + draw(st.integers(1, 64))]
        elif kind == 5:
            form, most = draw(st.sampled_from([("<H", 2**16), (">H", 2**16), ("<I", 2**32), (">I", 2**32)]))
            packed = struct.pack(form, draw(st.sampled_from(_ODD)) % most)
            content[at : at + len(packed)] = packed
        else:
            content[at:at] = draw(st.binary(max_size=32))
    return bytes(content)
