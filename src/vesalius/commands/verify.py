"""`python -m vesalius.commands.verify DIR`: whether a model's files are as they were, and its numbers right."""

import sys
from pathlib import Path

from vesalius.config.allowed import check_allowed
from vesalius.config.errors import InputError, RunFailed
from vesalius.launch.worker import enter, leave
from vesalius.runs.hashes import HASHES
from vesalius.runs.run_folder import ENSEMBLE, RunFolder, write_json
from vesalius.terminal import command_console

VERIFICATION = "verification.json"


def verify(path: Path) -> None:
    """Print what differs, and write it to the folder.

    Raises:
        RunFailed: where anything differs.
    """
    with RunFolder(path).discard_if_refused() as folder:
        if folder.config["bundle"] is None:
            _verify_run(folder)
        else:
            _verify_bundle(folder)


def _verify_run(folder: RunFolder) -> None:
    """Check a run or an ensemble."""
    from vesalius.deploy.ensemble.verify import verify_ensemble  # torch: a bundle needs none
    from vesalius.evaluation.verification import verify as verify_run
    from vesalius.training.checkpoints import load_checkpoint

    run = RunFolder(folder.config["run"])
    state = run.state.get("state", "not started")
    is_ensemble = (run.path / ENSEMBLE).is_file()
    if not is_ensemble and state not in ("done", "unknown"):
        raise InputError(f"{run.path} is {state}: verify a run that is done.")
    try:
        if is_ensemble:
            found = verify_ensemble(run.path)
        else:
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
    members = "No file of a member was changed. " * is_ensemble
    unchanged = f"No file of {HASHES} was changed." * (run.path / HASHES).is_file()
    line = f"{found.numbers} numbers computed again: all equal. {members}{unchanged}".rstrip()
    console.print(line, highlight=False, soft_wrap=True)


def _verify_bundle(folder: RunFolder) -> None:
    from vesalius.deploy.bundle.verify import verify_bundle

    try:
        found = verify_bundle(folder.config["bundle"])
    except InputError as error:
        raise RunFailed(error.problems) from error
    line = (
        f"{found.files} files are as exported, and the golden outputs differ by {found.difference:.1e} at most. "
        f"SHA-256 of the manifest: {found.sha256}"
    )
    command_console().print(line, highlight=False, soft_wrap=True)
    write_json(folder.path / VERIFICATION, {"equal": True, **vars(found)})


if __name__ == "__main__":
    leave(enter(verify, sys.argv[1:]))
