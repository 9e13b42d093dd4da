"""`python -m vesalius.commands.gain DIR`: what a generator's images are worth, as the frozen config in DIR asks."""

import sys
from pathlib import Path
from typing import Any

from rich.text import Text

from vesalius.commands.compare import print_comparison
from vesalius.config.errors import InputError, RunFailed
from vesalius.figures.comparison import comparison_figure
from vesalius.launch.worker import enter
from vesalius.runs.run_folder import RunFolder, write_json
from vesalius.studies.synthetic.plan import GAN, REAL, Plan, planned
from vesalius.studies.synthetic.run import do, summarize
from vesalius.terminal import command_console


def gain(path: Path) -> None:
    """Do all that is not done yet, and judge it."""
    folder = RunFolder(path)
    first = not folder.state
    try:
        plan = planned(folder.config, folder.path)
        with folder.attempt():
            _gain(folder, plan)
    except InputError:
        if first and not (folder.path / GAN).exists():
            folder.discard()
        raise


def _gain(folder: RunFolder, plan: Plan) -> None:
    failed = do(plan)
    write_told(folder.path, summarize(plan, metric=folder.config["metric"]))
    if failed:
        raise RunFailed([*failed, f"To train these again: vesalius gain resume={folder.path}"])


def write_told(path: Path, told: dict[str, Any]) -> None:
    """Write `gain.json` and the figures, and print the tables and the verdict."""
    write_json(path / "gain.json", told)
    console = command_console()
    for reference, comparison in told["comparisons"].items():
        figure = comparison_figure(comparison["arms"], told["metric"])
        name = "gain.png" if reference == REAL else f"gain_against_{reference}.png"
        figure.savefig(path / name, dpi=110, bbox_inches="tight")
        print_comparison(comparison, console)
        console.print()
    for note in told["notes"]:
        console.print(Text(note, style="dim"))
    console.print(Text(told["verdict"], style="bold"))
    console.print(f"Written to: {path}", soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(enter(gain, sys.argv[1:]))
