"""`python -m vesalius.commands.identities DIR`: list, export, forget or encrypt what stands behind pseudonyms."""

import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.data.identities import Identities, Identity, log_of
from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import csv_cell
from vesalius.runs.run_folder import RunFolder
from vesalius.terminal import command_console

ACTIONS = ("list", "export", "forget", "encrypt", "decrypt")


def identities(path: Path) -> None:
    """Do one thing with the file of identities, and log it; the folder of the command, which holds no result, goes."""
    folder = RunFolder(path)
    try:
        lines = _done(**folder.config)
    finally:
        folder.discard()
        if path.parent.name == "identities" and not any(path.parent.iterdir()):
            path.parent.rmdir()
    console = command_console()
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _done(action: str, pseudonyms: list[str], output: str | None) -> list[str]:
    """Do it; what to print."""
    if action not in ACTIONS:
        raise InputError(f"action={action}: expected {', '.join(ACTIONS)}.")
    if (output is None) == (action == "export"):
        raise InputError("output names the table that action=export writes: give both, or neither.")
    if action == "forget" and not pseudonyms:
        raise InputError("action=forget: name whom, as 'pseudonyms=[p0123456789abcdef]'.")
    known = Identities.open()
    if action in ("encrypt", "decrypt"):
        changed = known.encrypt() if action == "encrypt" else known.decrypt()
        known.log(action)
        cure = ": keep its passphrase, without which nobody can read it" if changed.is_encrypted else ""
        return [f"{known.path} is {_protection(changed)} now{cure}."]
    if action == "forget":
        gone = known.forget(pseudonyms)
        known.log(action, gone)
        return [
            f"Forgotten: {_counts(gone)}. They come back when data that hold them are read again.",
            f"Log: {log_of(known.path)}",
        ]
    chosen = _chosen(known.entries(), pseudonyms)
    written = [] if output is None else [_export(chosen, Path(output).expanduser())]
    known.log(action, chosen if pseudonyms else [])
    if written:
        return written
    lines = [f"{entry.pseudonym}  {entry.kind}  {_printable(entry.real)}" for entry in chosen if pseudonyms]
    return [*lines, f"{known.path}, {_protection(known)}: {_counts(chosen)}."]


def _chosen(entries: list[Identity], pseudonyms: Sequence[str]) -> list[Identity]:
    if not pseudonyms:
        return entries
    unknown = sorted(set(pseudonyms) - {entry.pseudonym for entry in entries})
    if unknown:
        raise InputError(f"{', '.join(unknown)}: the file of patients' identities holds no such pseudonym.")
    return [entry for entry in entries if entry.pseudonym in pseudonyms]


def _export(entries: list[Identity], path: Path) -> str:
    """Write a table that only its owner can read; a file that is there stays."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([Identity._fields, *map(_row, entries)])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"output={path} cannot be written ({error.strerror}): name a new file.") from error
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(table.getvalue())
    return f"Written to: {path} ({_counts(entries)}), which names patients: keep it private."


def _row(entry: Identity) -> tuple[str, str, str]:
    return entry.pseudonym, entry.kind, str(csv_cell(_printable(entry.real)))


def _printable(real: str) -> str:
    """A real id on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in real)


def _protection(known: Identities) -> str:
    return "encrypted" if known.is_encrypted else "not encrypted"


def _counts(entries: Sequence[Identity]) -> str:
    counts = Counter(entry.kind for entry in entries)
    return "ids: " + (", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())) or "none")


if __name__ == "__main__":
    leave(enter(identities, sys.argv[1:]))
