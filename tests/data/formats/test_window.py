"""Windows of grey values, as options of a config."""

import pytest

from vesalius.data.formats.window import edges_of, to_window, window_problems


@pytest.mark.parametrize("option", ["auto", "none", [40, 400], (40.0, 0.5)])
def test_windows_that_can_be_used(option):
    assert window_problems(option) == []
    assert to_window(option) == (option if isinstance(option, str) else tuple(option))


@pytest.mark.parametrize("option", ["lung", [1, 0], [0, -1], [0, 1, 2], ["a", "b"], []])
def test_windows_that_cannot_be_used_are_refused_in_one_sentence(option):
    (problem,) = window_problems(option)
    assert "`data.source.window=" in problem


def test_the_edges_are_half_the_width_from_the_centre():
    assert edges_of((40, 400)) == (-160, 240)
