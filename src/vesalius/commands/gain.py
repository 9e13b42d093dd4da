"""`python -m vesalius.commands.gain DIR`: the study that the frozen config in DIR names."""

import sys
from pathlib import Path
from typing import Any

from rich.text import Text

from vesalius.commands.compare import print_comparison
from vesalius.config.errors import InputError, RunFailed
from vesalius.figures.comparison import comparison_figure
from vesalius.launch.worker import enter, leave
from vesalius.runs.run_folder import RunFolder, write_json
from vesalius.studies.synthetic.plan import GAN, REAL, Plan, plan_study
from vesalius.studies.synthetic.run import run_plan, summarize
from vesalius.terminal import command_console


def gain(path: Path) -> None:
    """Run everything that is not done yet, and compare the arms."""
    folder = RunFolder(path)
    first = not folder.state
    try:
        plan = plan_study(folder.config, folder.path)
        with folder.attempt():
            _gain(folder, plan)
    except InputError:
        if first and not (folder.path / GAN).exists():
            folder.discard()
        raise


def _gain(folder: RunFolder, plan: Plan) -> None:
    failed = run_plan(plan)
    write_gain(folder.path, summarize(plan, metric=folder.config["metric"]))
    if failed:
        raise RunFailed([*failed, f"To train these again: vesalius gain resume={folder.path}"])


def write_gain(path: Path, content: dict[str, Any]) -> None:
    """Write `gain.json` and the figures, and print the tables and the verdict."""
    write_json(path / "gain.json", content)
    console = command_console()
    for reference, comparison in content["comparisons"].items():
        figure = comparison_figure(comparison["arms"], content["metric"])
        name = "gain.png" if reference == REAL else f"gain_against_{reference}.png"
        figure.savefig(path / name, dpi=110, bbox_inches="tight")
        print_comparison(comparison, console)
        console.print()
    for note in content["notes"]:
        console.print(Text(note, style="dim"))
    console.print(Text(content["verdict"], style="bold"))
    console.print(f"Written to: {path}", soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    leave(enter(gain, sys.argv[1:]))
