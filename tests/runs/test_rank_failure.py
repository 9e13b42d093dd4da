"""Rank 0 says what has happened to another rank, and not only that it is alone."""

import logging

import pytest

from vesalius.config.errors import InputError, RunFailed
from vesalius.runs.process import log_to
from vesalius.runs.rank_failure import named_rank


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


def test_the_failure_of_another_rank_is_named(tmp_path, rank_1):
    fail(rank_1, "the disk is full")
    with (
        pytest.raises(RunFailed, match=r"rank1 failed: RuntimeError: the disk is full\. See logs/rank1\.log"),
        named_rank(tmp_path),
    ):
        raise RuntimeError("Connection closed by peer")


def test_ones_own_failure_and_one_of_an_earlier_attempt_stay_apart(tmp_path, rank_1):
    fail(rank_1, "the disk was full")
    rank_1.info("goes on")
    with pytest.raises(ValueError, match="mine"), named_rank(tmp_path):
        raise ValueError("mine")
    fail(rank_1, "late")
    with pytest.raises(InputError, match="clear"), named_rank(tmp_path):
        raise InputError("clear enough")
