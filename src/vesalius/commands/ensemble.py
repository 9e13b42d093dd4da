"""`python -m vesalius.commands.ensemble DIR`: several finished runs as one model, evaluated as one."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vesalius.deploy.ensemble.evaluate import compared, decision_options, evaluate_ensemble, member_names
from vesalius.deploy.ensemble.folder import write_members
from vesalius.deploy.ensemble.members import Member, read_members
from vesalius.evaluation.base import write_tables
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.runs.arms import REPEATS, other_differences
from vesalius.runs.find import find_finished
from vesalius.runs.hashes import write_hashes
from vesalius.runs.run_folder import METRICS, RunFolder, write_json
from vesalius.terminal import command_console, command_table


def ensemble(path: Path) -> None:
    """Copy the members into the folder, and write and print the numbers of their mean."""
    with RunFolder(path).discard_if_refused() as folder:
        _ensemble(folder)


def _ensemble(folder: RunFolder) -> None:
    config = folder.config
    runs, left_out = find_finished([config["runs"]] if isinstance(config["runs"], str) else config["runs"])
    members = read_members(runs)
    options = decision_options([member.folder.config for member in members], config["decision"], members[0].facts.task)
    metrics, tables = evaluate_ensemble(members, options, seed=config["seed"])
    names = member_names(members)
    write_members(folder, members, names)
    write_tables(tables, folder.predictions)
    if differ := [key for key in other_differences(runs) if key not in REPEATS]:
        left_out.append(f"Members differ also in {', '.join(differ)}.")
    metrics["notes"] = [*_notes(metrics), *left_out]
    write_json(folder.path / METRICS, metrics)
    write_hashes(folder.path)
    console = command_console()
    print_ensemble(metrics, members, console)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False, markup=False)


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the numbers."""
    if not metrics["test"]:
        return [
            "Members have different test patients, so each patient is known to some member: there are only out-of-fold "
            "numbers, of single members. For numbers of the ensemble, test it on other data, or train the members with "
            "one test split (data.split_file=DIR/split.csv)."
        ]
    if "out_of_fold" in metrics:
        return [
            "Members have different validation patients: threshold and calibration are fitted on out-of-fold "
            "predictions, each by the member that did not learn from the patient."
        ]
    return []


def print_ensemble(metrics: Mapping[str, Any], members: Sequence[Member], console: Console) -> None:
    """Print the ensemble's own metrics, and the members next to it."""
    if metrics["test"]:
        print_metrics(metrics, console)
    names = compared(members[0].facts)
    table = command_table("calibrated", *names)
    rows = {"ensemble": metrics.get("ensemble"), "members, mean": metrics.get("members_mean"), **metrics["members"]}
    rows["out of fold"] = metrics.get("out_of_fold")
    for title, entries in rows.items():
        for what, keys in ((title, names), ("  difference", [f"{name}_difference" for name in names])):
            if entries and any(key in entries for key in keys):
                cells = [format_metric(entries[key]) if key in entries else "–" for key in keys]
                table.add_row(*map(Text, [what, *cells]))
    console.print(table)
    no_skill = ", ".join(
        f"{name} {format_number(entry['no_skill'])}" for name, entry in next(iter(metrics["members"].values())).items()
        if name in names
    )  # fmt: skip
    lines = [
        f"Difference: the ensemble minus the row above, paired by patient. No skill: {no_skill}.",
        *metrics["notes"],
    ]
    for line in lines:
        console.print(Text(line, style="dim"))


if __name__ == "__main__":
    leave(enter(ensemble, sys.argv[1:]))
