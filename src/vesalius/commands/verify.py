"""`python -m vesalius.commands.verify DIR`: whether a finished run's files are as they were, and its numbers right."""

import sys
from pathlib import Path

from vesalius.config.allowed import check_allowed
from vesalius.config.errors import InputError, RunFailed
from vesalius.deploy.ensemble import ENSEMBLE
from vesalius.evaluation.verification import verify as verify_run
from vesalius.launch.worker import enter
from vesalius.runs.hashes import HASHES
from vesalius.runs.run_folder import RunFolder, write_json
from vesalius.terminal import command_console
from vesalius.training.checkpoints import load_checkpoint

VERIFICATION = "verification.json"


def verify(path: Path) -> None:
    """Print what differs, and write it to a folder inside the run's.

    Raises:
        RunFailed: where anything differs.
    """
    with RunFolder(path).discard_if_refused() as folder:
        _verify(folder)


def _verify(folder: RunFolder) -> None:
    run = RunFolder(folder.config["run"])
    if (run.path / ENSEMBLE).is_file():
        raise InputError(f"{run.path} is an ensemble: its files are checked whenever it is loaded; verify its members.")
    state = run.state.get("state", "not started")
    if state not in ("done", "unknown"):
        raise InputError(f"{run.path} is {state}: verify a run that is done.")
    try:
        checkpoint = load_checkpoint(run.best)
        check_allowed({"model": checkpoint["config"]["model"]})
        found = verify_run(run, checkpoint)
    except InputError as error:
        raise RunFailed(error.problems) from error  # a file that is damaged is what was looked for
    content = {"equal": not found.problems, "numbers": found.numbers, "problems": found.problems, "notes": found.notes}
    write_json(folder.path / VERIFICATION, content)
    console = command_console()
    for note in found.notes:
        console.print(f"Note: {note}", highlight=False, markup=False, soft_wrap=True)
    if found.problems:
        raise RunFailed(found.problems)
    line = f"{found.numbers} numbers computed again: all equal. No file of {HASHES} was changed."
    console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(enter(verify, sys.argv[1:]))
