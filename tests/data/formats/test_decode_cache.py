"""What was decoded last is decoded once."""

import threading
import time
from functools import partial

import numpy as np
import pytest

from vesalius.data.formats.decode_cache import Recent


def test_many_threads_make_an_array_once():
    recent, made = Recent(), []

    def make(key):
        time.sleep(0.01)
        made.append(key)
        return np.full(3, key)

    def ask():
        for key in range(4):
            assert (recent.get(key, partial(make, key)) == key).all()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1, 2, 3]


def test_the_oldest_go_when_there_is_too_much():
    recent, made = Recent(limit=20), []

    def make(key):
        made.append(key)
        return np.zeros(8, np.uint8)

    for key in (0, 1, 0, 2, 0, 1):  # two fit
        recent.get(key, partial(make, key))
    assert made == [0, 1, 2, 1]
    recent.get("large", lambda: np.zeros(99, np.uint8))
    assert len(recent.get("large", lambda: pytest.fail("it was kept"))) == 99


def test_a_failure_is_not_remembered():
    recent = Recent()
    with pytest.raises(OSError, match="once"):
        recent.get("a", lambda: (_ for _ in ()).throw(OSError("once")))
    assert recent.get("a", lambda: np.zeros(2)).shape == (2,)
