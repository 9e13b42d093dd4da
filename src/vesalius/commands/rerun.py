"""`python -m vesalius.commands.rerun DIR`: a finished run's frozen config again, and how far its numbers agree."""

import sys
from pathlib import Path

from vesalius.config.checks import check_config
from vesalius.config.errors import InputError, RunFailed
from vesalius.launch.launch import launch
from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import csv_table
from vesalius.runs.run_folder import Interrupted, RunFolder, write_atomically
from vesalius.studies.agreement import DIFFERENT, compare_metrics, other_changes, summarize_agreement
from vesalius.terminal import command_console

AGREEMENT = "agreement.csv"


def rerun(path: Path) -> None:
    """Train in a folder inside the run's, and write and print the table.

    Raises:
        RunFailed: where a number is different, or the training failed.
    """
    with RunFolder(path).discard_if_refused() as folder:
        before = _finished(folder.config["run"])
    with folder.attempt():
        again = folder.path / "run"
        _train(before, again)
        after = RunFolder(again)
        table = compare_metrics(before.metrics, after.metrics)
        write_atomically(folder.path / AGREEMENT, csv_table(table))
        console = command_console()
        for line in summarize_agreement(table):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for title, changes in (
            ("What else differs", other_changes(before.metrics, after.metrics)),
            ("Where they come from", other_changes(before.provenance, after.provenance)),
        ):
            for change in changes:
                console.print(f"{title}: {change}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"Written to: {folder.path}", highlight=False, markup=False, soft_wrap=True)
        different = int((table["verdict"] == DIFFERENT).sum())
        if different:
            raise RunFailed(f"{different} of {len(table)} numbers are different: see {folder.path / AGREEMENT}.")


def _finished(named: str) -> RunFolder:
    run = RunFolder(named)
    run.check_training(run.config)
    check_config(run.config)  # of somebody else's run too: what is copied counts as this user's own
    if run.state.get("state") != "done":
        raise InputError(f"{run.path} is {run.state.get('state', 'not started')}: run again what is done.")
    _ = run.metrics
    return run


def _train(before: RunFolder, path: Path) -> None:
    """Train by the frozen config, in a fresh interpreter, as the run was.

    Raises:
        RunFailed: where it was not trained to its end.
    """
    try:
        code, _ = launch("train", {**before.config, "resume": None}, before.overrides, path)
    except SystemExit as stop:
        raise Interrupted(int(str(stop.code))) from stop
    if code:
        raise RunFailed(f"the training ended with exit code {code}: see {path}.")


if __name__ == "__main__":
    leave(enter(rerun, sys.argv[1:]))
