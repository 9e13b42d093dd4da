"""What was decoded last is decoded once."""

import threading
import time
from functools import partial

import numpy as np
import pytest

from vesalius.data.formats.decode_cache import DecodeCache


def test_many_threads_decode_an_array_once():
    cache, decoded = DecodeCache(), []

    def decode(key):
        time.sleep(0.01)
        decoded.append(key)
        return np.full(3, key)

    def ask():
        for key in range(4):
            assert (cache.get(key, partial(decode, key)) == key).all()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decoded) == [0, 1, 2, 3]


def test_the_oldest_go_when_there_is_too_much():
    cache, decoded = DecodeCache(limit=20), []

    def decode(key):
        decoded.append(key)
        return np.zeros(8, np.uint8)

    for key in (0, 1, 0, 2, 0, 1):  # two fit
        cache.get(key, partial(decode, key))
    assert decoded == [0, 1, 2, 1]
    cache.get("large", lambda: np.zeros(99, np.uint8))
    assert len(cache.get("large", lambda: pytest.fail("it was kept"))) == 99


def test_a_failure_is_not_remembered():
    cache = DecodeCache()
    with pytest.raises(OSError, match="once"):
        cache.get("a", lambda: (_ for _ in ()).throw(OSError("once")))
    assert cache.get("a", lambda: np.zeros(2)).shape == (2,)


def test_what_is_dropped_is_decoded_again_and_the_rest_is_not():
    cache, decoded = DecodeCache(), []

    def decode(key):
        return lambda: decoded.append(key) or np.zeros(4)

    for key in ("a/1", "a/2", "b/1"):
        cache.get(key, decode(key))
    cache.drop(lambda key: key.startswith("a/"))
    assert len(cache) == 1
    for key in ("a/1", "b/1"):
        cache.get(key, decode(key))
    assert decoded == ["a/1", "a/2", "b/1", "a/1"]


def test_an_array_is_dropped_when_its_last_sample_has_it():
    cache, decoded = DecodeCache(), []

    def decode(key):
        return lambda: decoded.append(key) or np.zeros(4)

    for key in ("a", "b", "a", "a"):
        cache.get(key, decode(key), uses=3)
    assert len(cache) == 1
    cache.get("b", decode("b"), uses=3)
    cache.get("a", decode("a"), uses=3)  # as for another pass over the samples
    assert decoded == ["a", "b", "a"]
