"""Rank 0 says what has happened to another rank, and not only that it is alone."""

import logging

import pytest

from vesalius.config.errors import InputError, RunFailed
from vesalius.launch.rank_failure import named_rank
from vesalius.launch.worker import log_to


@pytest.fixture
def rank_1(tmp_path):
    """What logs as the process of rank 1 does."""
    root, ours = logging.getLogger(), logging.getLogger("vesalius")
    before = [(one, list(one.handlers), one.level) for one in (root, ours)]
    log_to(tmp_path / "rank1.log")
    (tmp_path / "rank0.log").touch()
    yield ours
    logging.captureWarnings(False)
    for one, handlers, level in before:
        one.handlers[:] = handlers
        one.setLevel(level)


def fail(logger, text):
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logger.debug("failed", exc_info=True)


def end(logs, error, logger=None, text="", *, goes_on=False):
    """Rank 1 fails with a text, if it logs, and rank 0 with an error behind it."""
    with named_rank(logs):
        if logger is not None:
            fail(logger, text)
        if goes_on:
            logger.info("goes on")
        raise error


LOST = RuntimeError("Connection closed by peer")


def test_the_failure_of_another_rank_is_named_and_ones_own_traceback_kept(tmp_path, rank_1, caplog):
    with pytest.raises(RunFailed, match=r"rank1 failed: RuntimeError: the disk is full\. See logs/rank1\.log"):
        end(tmp_path, LOST, rank_1, "the disk is full")
    assert "Connection closed by peer" in caplog.text


WORKER = """Caught KeyError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker.py", line 3, in fetch
    table[key]
KeyError: 'age'"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shapes differ:\n  (3, 4)\n\nand 5", "RuntimeError: shapes differ: (3, 4) and 5. See"),
        ("", "RuntimeError. See"),
        (WORKER, "KeyError: 'age'. See"),
        ("word " * 200, "word …. See"),
    ],
)
def test_a_failure_of_many_lines_is_told_with_its_name(tmp_path, rank_1, text, told):
    with pytest.raises(RunFailed) as caught:
        end(tmp_path, LOST, rank_1, text)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


def test_ones_own_failure_and_one_of_an_earlier_attempt_stay_apart(tmp_path, rank_1, monkeypatch):
    monkeypatch.setattr("vesalius.launch.rank_failure.PATIENCE", 0.2)
    fail(rank_1, "the disk was full")
    with pytest.raises(ValueError, match="mine"):
        end(tmp_path, ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        end(tmp_path, ValueError("mine"), rank_1, "the disk was full", goes_on=True)
    with pytest.raises(InputError, match="clear"):
        end(tmp_path, InputError("clear enough"), rank_1, "late")
