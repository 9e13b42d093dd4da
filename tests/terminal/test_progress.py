"""The progress bar passes everything on, shows itself only on a terminal, and only when work takes long."""

import io
import sys
import time

import pytest

from vesalius.terminal import show_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is a second after the one before."""
    monkeypatch.setenv("TERM", "xterm")
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))


def shown(monkeypatch, stream, items, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(show_progress(iter(items), None, "read headers", **options)) == items
    return stream.getvalue()


def test_long_work_shows_a_bar_that_counts_items_or_bytes(monkeypatch, clock):
    items = [b"x" * 1000] * 50
    assert "read headers" in shown(monkeypatch, Terminal(), items)
    assert "50.0/? kB" in shown(monkeypatch, Terminal(), items, size=len, unit="bytes")


def test_nothing_is_shown_without_a_terminal_or_when_unwanted(monkeypatch, clock):
    assert not shown(monkeypatch, io.StringIO(), ["a"] * 50)
    assert not shown(monkeypatch, Terminal(), ["a"] * 50, wanted=False)


def test_short_work_shows_nothing(monkeypatch):
    assert not shown(monkeypatch, Terminal(), ["a"] * 50)


def test_the_bar_is_closed_when_the_work_fails(monkeypatch, clock):
    def failing():
        yield from ["a"] * 50
        raise ValueError("broken")

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ValueError, match="broken"):
        list(show_progress(failing(), 100, "read headers"))
    assert stream.getvalue().endswith(("\x1b[?25h", "\n"))
