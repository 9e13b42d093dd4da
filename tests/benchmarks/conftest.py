"""Collects the rows that benchmarks report, prints them as one table, and writes it where `make bench` wants it."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from speed_rows import Row, machine, to_json, to_markdown

ROWS = pytest.StashKey[list[Row]]()
UNFINISHED = pytest.StashKey[list[str]]()
BEGUN = pytest.StashKey[tuple[float, float]]()
BEGIN, END = "<!-- make bench: begin -->\n", "<!-- make bench: end -->\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--speed-page", type=Path, help="a Markdown page with marks around its table, to write anew")
    parser.addoption("--speed-json", type=Path, help="where all samples go, as JSON")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[ROWS], session.config.stash[UNFINISHED] = [], []
    session.config.stash[BEGUN] = time.monotonic(), os.getloadavg()[0]


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Callable[..., Row]]:
    """Report a row of the table: called with the fields of `Row`. A missed target without a note fails the test."""
    missed = []

    def report(*arguments: object, **fields: object) -> Row:
        found = Row(*arguments, **fields)
        request.config.stash[ROWS].append(found)
        print("\n" + "; ".join(found.cells()))
        if not found.met and not found.note:
            missed.append(f"{found.what}: {found.cells()}")
        return found

    yield report
    assert not missed, "targets missed, and no note shows where the time goes:\n" + "\n".join(missed)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()
    if "row" in getattr(item, "fixturenames", ()) and (report.skipped or (report.failed and report.when != "teardown")):
        reason = report.longrepr[2] if report.skipped else "failed"
        item.config.stash[UNFINISHED].append(f"{item.name} ({reason.removeprefix('Skipped: ')})")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows, unfinished = config.stash.get(ROWS, []), config.stash.get(UNFINISHED, [])
    if not rows:
        return
    begun, load = config.stash[BEGUN]
    about = machine() | {
        "load": {"begin": load, "end": os.getloadavg()[0]},
        "minutes": (time.monotonic() - begun) / 60,
    }
    table = to_markdown(rows, about, unfinished)
    terminalreporter.write_line("\n" + table)
    if (page := config.getoption("speed_page")) is not None:
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
    if (samples := config.getoption("speed_json")) is not None:
        samples.write_text(to_json(rows, about, unfinished))
