"""Cells of tables for people: a spreadsheet runs none, and numbers stay numbers."""

import csv
import io
import math

import pandas as pd
import pytest

from vesalius.metrics.formatting import csv_cell, csv_table


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "+a"])
def test_a_formula_becomes_text(text) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+3", "-1e-3", "a=1", "", "p-1", "-inf", -0.5, 3, None, True, math.nan])
def test_numbers_and_other_text_stay(value) -> None:
    assert csv_cell(value) is value


def test_a_table_keeps_its_numbers_and_their_digits() -> None:
    table = pd.DataFrame({"=name": ["=1", "p"], "value": [-0.1, 1 / 3], "count": [-1, 2], "gap": [math.nan, -1.0]})
    head, first, second = csv.reader(io.StringIO(csv_table(table)))
    assert head == ["'=name", "value", "count", "gap"]
    assert first == ["'=1", "-0.1", "-1", ""]
    assert second == ["p", str(1 / 3), "2", "-1.0"]
    plain = table[["value", "count", "gap"]]
    assert csv_table(plain) == plain.to_csv(index=False)
