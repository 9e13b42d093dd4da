"""The rows of `make bench`: which way a ratio goes, what an interval covers, and when a target counts as met."""

import json

import pytest
from scipy.stats import binom

from speed_rows import Row, interval, to_json, to_markdown

ABOUT = {
    "date": "2026-01-01",
    "cpu": "a processor",
    "cores": 2,
    "bf16": False,
    "instructions": "AVX2",
    "memory_gb": 8,
    "system": "Linux",
    "versions": {"torch": "2.10"},
    "load": {"begin": 0.0, "end": 0.0},
    "minutes": 1.0,
}


@pytest.mark.parametrize("count", [6, 9, 15, 20, 40])
def test_the_interval_of_a_median_is_the_narrowest_that_covers_95_percent(count):
    low, high = interval([float(number) for number in range(count)])
    outside = int(low)  # samples below it
    assert high == count - 1 - outside
    assert 2 * binom.cdf(outside, count, 0.5) <= 0.05 < 2 * binom.cdf(outside + 1, count, 0.5)


def test_of_few_samples_the_interval_is_their_range():
    assert interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert interval([2.0]) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("unit", "bound", "ratios"),
    [
        ("s", {"at_most": 1.1}, [0.5, 0.25]),
        ("s", {"at_least": 1.1}, [2.0, 4.0]),
        ("images/s", {"at_least": 1.1}, [0.5, 0.25]),
    ],
)
def test_a_ratio_says_how_long_or_how_many_times_as_fast(unit, bound, ratios):
    row = Row("a step", unit, [1.0, 1.0], [2.0, 4.0], **bound)
    assert row.ratios == ratios
    assert row.met == (unit == "s")


def test_by_interval_every_part_of_it_must_meet_the_target():
    samples = {"ours": [1.0] * 9 + [1.2], "reference": [1.0] * 10}
    assert Row("a step", "s", **samples, at_most=1.05, by_interval=True).met
    samples["ours"][:2] = [1.2, 1.2]
    assert Row("a step", "s", **samples, at_most=1.05).met
    assert not Row("a step", "s", **samples, at_most=1.05, by_interval=True).met


def test_rows_without_reference_have_a_target_in_their_own_unit():
    row = Row("the demo", "s", [110.0], at_most=120)
    assert row.met
    assert row.target == "≤ 120 s"


def test_a_row_is_refused_that_has_no_target_or_unequal_rounds():
    with pytest.raises(ValueError, match="at_most or at_least"):
        Row("a step", "s", [1.0])
    with pytest.raises(ValueError, match="2 rounds"):
        Row("a step", "s", [1.0, 2.0], [1.0], at_most=1)


def test_json_and_table_hold_the_same_rows():
    rows = [Row("a step", "s", [1.0, 2.0], [2.0, 4.0], against="a loop", at_most=1.0, note="why")]
    stored = json.loads(to_json(rows, ABOUT, ["another (failed)"]))
    assert stored["rows"][0]["ratios"] == [0.5, 0.5]
    assert stored["unfinished"] == ["another (failed)"]
    table = to_markdown(rows, ABOUT, ["another (failed)"])
    assert (
        "| a step | 1.5 s (1.25 to 1.75) | 3 s (2.5 to 3.5) (a loop) | 0.5 [0.5, 0.5], n = 2 | ≤ 1 × | yes | – |"
        in table
    )
    assert "* a step: why" in table
    assert "* not measured: another (failed)" in table
