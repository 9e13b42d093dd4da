"""`python -m vesalius.commands.report DIR`: the report of the runs that the frozen config in DIR names."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.report.content import content_of, parts_of
from vesalius.report.page import page_of
from vesalius.report.tables import leaderboard_cells, shows_arms, to_csv, to_markdown
from vesalius.runs.find import find_runs
from vesalius.runs.reading import check_links
from vesalius.runs.run_folder import RunFolder, write_atomically
from vesalius.terminal import command_console, command_table, show_progress

PAGE = "report.html"


def report(path: Path) -> None:
    """Write `report.html`, `report.csv` and `report.md` into the folder of the runs, and print the leaderboard."""
    folder = RunFolder(path)
    config = folder.config
    folder.discard()  # a report can be written again at any time, and leaves no run folder of its own
    if config["explain"] is not None:
        _explain(Path(config["run"]), config["explain"])
    write_report(Path(config["run"]), images=config["images"], console=command_console())


def _explain(path: Path, method: str) -> None:
    """Add explained test images to the figures of each finished run, from where the page takes them."""
    from vesalius.deploy.explain.run_figure import explain_test_images  # torch: other reports need none

    finished = [run.folder for run in find_runs(path).runs if run.results is not None and run.folder is not None]
    for folder in show_progress(finished, len(finished), "explain"):
        explain_test_images(folder, method)


def write_report(path: Path, *, images: bool, console: Console) -> None:
    """The report of a run, or of all runs below a folder.

    Args:
        path: the folder; the files go there.
        images: whether figures and test images are on the page.
        console: where the leaderboard is printed.

    Raises:
        InputError: for a folder without any training run, or one that a link leads out of.
    """
    check_links(path)
    collected = find_runs(path)
    parts = parts_of(collected)
    content = content_of(collected, parts)
    page = page_of(collected, parts, content, images=images)  # adds notes on tables that cannot be read
    write_atomically(path / PAGE, page)
    write_atomically(path / "report.csv", to_csv(content))
    write_atomically(path / "report.md", to_markdown(content))
    for part in content["parts"]:
        print_part(part, console)
    for note in content["notes"]:
        console.print(Text(note, style="dim"))
    console.print(f"Written to: {path / PAGE}", soft_wrap=True, highlight=False, markup=False)


def print_part(part: Mapping[str, Any], console: Console) -> None:
    """Print a leaderboard, and the verdicts on arms."""
    console.print(Text(part["headline"], style="bold"))
    head, rows = leaderboard_cells(part, 1)
    table = command_table(*head)
    for cells in rows:
        table.add_row(*(Text("–" if cell is None else str(cell)) for cell in cells))
    console.print(table)
    if shows_arms(part):
        arms = command_table("arm", "runs", part["metric"], "no skill", "difference")
        for arm in part["arms"]:
            difference = format_metric(arm["difference"]) if "difference" in arm else "–"
            test = [format_metric(arm["test"]), format_number(arm["test"]["no_skill"])] if arm["test"] else ["–", "–"]
            arms.add_row(*map(Text, (arm["arm"], f"{len(arm['runs'])} of {arm['of']}", *test, difference)))
        console.print(arms)
    for arm in part["arms"]:
        if "verdict" in arm:
            console.print(Text(arm["verdict"]))
    for row in part["rows"]:
        if row["reason"]:
            console.print(Text(f"{row['run']} {row['state']}: {row['reason']}", style="dim"))
    for note in part["notes"]:
        console.print(Text(note, style="dim"))


if __name__ == "__main__":
    leave(enter(report, sys.argv[1:]))
