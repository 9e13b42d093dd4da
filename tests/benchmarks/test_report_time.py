"""The report of many runs: seconds, and that ten times as many take ten times as long."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from grown_data import TEST_IMAGES, write_sweep
from vesalius.commands.report import write_report

WHERE = (
    "four fifths go into the bootstraps of the arms and of their differences, five runs each, and half of those into "
    "running sums over the ranked predictions; reading a run's files takes 0.04 s"
)


def seconds(folder: Path, runs: int) -> float:
    write_sweep(folder, runs)
    started = time.perf_counter()
    write_report(folder, images=True, console=Console(file=io.StringIO()))
    return time.perf_counter() - started


@pytest.mark.benchmark
def test_a_report_takes_as_long_as_it_has_runs(tmp_path, row):
    seconds(tmp_path / "first", 2)  # imports
    few, many = seconds(tmp_path / "few", 50), seconds(tmp_path / "many", 500)
    row(f"report of 50 runs, {TEST_IMAGES} test images each", "s", [few], at_most=20, note=WHERE)
    row(
        "report of 500 runs",
        "s",
        [many],
        [10 * few],
        against="ten times that of 50",
        at_most=1.1,
        note=WHERE,
    )
