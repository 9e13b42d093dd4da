"""`python -m vesalius.commands.compare DIR`: compare the runs that the frozen config in DIR names."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vesalius.figures.comparison import comparison_figure
from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.runs.arms import arms_by
from vesalius.runs.find import find_finished
from vesalius.runs.run_folder import RunFolder, write_json
from vesalius.studies.compare import compare as compare_arms
from vesalius.terminal import command_console, command_table


def compare(path: Path) -> None:
    """Write and print what the arms reach and how they differ."""
    with RunFolder(path).discard_if_refused() as folder:
        _compare(folder)


def _compare(folder: RunFolder) -> None:
    config = folder.config
    runs, left_out = find_finished([config["runs"]] if isinstance(config["runs"], str) else config["runs"])
    content = compare_arms(
        arms_by(runs, config["by"], single=bool(config["baselines"])),
        metric=config["metric"],
        by=config["by"],
        baselines=config["baselines"],
        reference=config["reference"],
        seed=config["seed"],
    )
    content["notes"] += left_out
    write_json(folder.path / "compare.json", content)
    figure = comparison_figure(content["arms"], content["metric"])
    figure.savefig(folder.path / "compare.png", dpi=110, bbox_inches="tight")
    console = command_console()
    print_comparison(content, console)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False, markup=False)


def print_comparison(content: Mapping[str, Any], console: Console) -> None:
    """Print the content of `compare.json`: one row and one sentence per arm."""
    metric, arms = content["metric"], content["arms"]
    largest = max((arm[metric] for arm in arms.values()), key=lambda entry: entry["n"])
    head = f"test: {largest['n']} samples of {largest['groups']} patients"
    for word in ("seeds", "folds"):
        head += f"; {word} {', '.join(map(str, content[word]))}" if content[word] else ""
    console.print(Text(head, style="bold"))
    table = command_table()
    for title in (content["by"] or "", "runs", metric, "no\nskill", "difference", "from"):
        table.add_column(Text(title), overflow="fold", justify="right" if title in ("runs", "no\nskill") else "left")
    for name, arm in arms.items():
        row = [name, str(len(arm["runs"])), format_metric(arm[metric]), format_number(arm[metric]["no_skill"])]
        row += [format_metric(arm[f"{metric}_difference"]), arm["against"]] if "against" in arm else ["–", ""]
        table.add_row(*map(Text, row))
    console.print(table)
    for arm in arms.values():
        if "verdict" in arm:
            console.print(Text(arm["verdict"]))
    brackets = "Brackets: 95 % interval over patients and runs. Difference: the arm minus the one it is from."
    for line in [brackets, *content["notes"]]:
        console.print(Text(line, style="dim"))


if __name__ == "__main__":
    leave(enter(compare, sys.argv[1:]))
