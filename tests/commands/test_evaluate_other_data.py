"""Options that an evaluation on other data leaves open are those of the run, so that patients are counted as it did."""

import pytest

from vesalius.commands.evaluate import _inherit


def options(pattern=None, target="vesalius.data.sources.ImageFolder", **more):
    source = {"_target_": target, "root": "x", "group_pattern": pattern}
    return {"source": source, "image_size": None, "channels": None, "bits": None} | more


@pytest.mark.parametrize(
    ("given", "trained", "pattern", "size"),
    [
        (options(), options("(P[0-9]+)_", image_size=32), "(P[0-9]+)_", 32),
        (options("(.)", image_size=64), options("(P[0-9]+)_", image_size=32), "(.)", 64),
        (options(target="vesalius.data.sources.Table"), options("(P[0-9]+)_"), None, None),
        (options(), options(), None, None),
    ],
)
def test_what_is_left_open_is_the_runs(given, trained, pattern, size):
    _inherit(given, trained)
    assert (given["source"]["group_pattern"], given["image_size"]) == (pattern, size)
    assert given["source"]["root"] == "x"
