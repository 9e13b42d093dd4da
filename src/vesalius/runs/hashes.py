"""`hashes.json`: the SHA-256 of every file that a finished run rests on, written at its end."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vesalius.config.plain import read_json
from vesalius.runs.run_folder import (
    CONFIG,
    DIFF,
    ENSEMBLE,
    HISTORY,
    METRICS,
    OOD,
    OVERRIDES,
    PROVENANCE,
    SPLIT,
    write_json,
)
from vesalius.runs.signature import is_own, signature_of

HASHES = "hashes.json"
_FILES = (CONFIG, OVERRIDES, PROVENANCE, DIFF, SPLIT, HISTORY, METRICS, OOD, ENSEMBLE, "audit.json", "skipped.csv")
_FOLDERS = ("predictions/**/*.csv", "checkpoints/*.ckpt", "figures/*")


def write_hashes(folder: Path) -> None:
    """Hash what a run has written, and sign the list with the user's own key, if there is one."""
    files = {path.relative_to(folder).as_posix(): file_hash(path) for path in _covered(folder)}
    write_json(folder / HASHES, {"files": files, "signature": signature_of(_signed(files))})


def changed_files(folder: Path) -> tuple[list[str], bool]:
    """What differs from `hashes.json`, one sentence each, and whether this user signed that list.

    Raises:
        FileNotFoundError: for a run without such a list.
        ValueError: for a file of other content.
    """
    content: Any = read_json(folder / HASHES)
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise ValueError("it holds no hashes")
    there = {path.relative_to(folder).as_posix(): path for path in _covered(folder)}
    problems = [f"{name} is gone." for name in sorted(files.keys() - there.keys())]
    problems += [f"{name} was not there when the run ended." for name in sorted(there.keys() - files.keys())]
    shared = sorted(files.keys() & there.keys())
    own = is_own(content.get("signature"), _signed(files))
    # A list that nobody vouches for may be what was changed.
    unknown = f"and its hash in {HASHES} differ: one of the two was changed"
    why = "was changed after the run had ended" if own else unknown
    problems += [f"{name} {why}." for name in shared if file_hash(there[name]) != files[name]]
    return problems, own


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _covered(folder: Path) -> Iterator[Path]:
    """Files of the run itself; what other verbs add later lies elsewhere. A link is followed nowhere."""
    for path in (
        *(folder / name for name in _FILES),
        *(path for glob in _FOLDERS for path in sorted(folder.glob(glob))),
    ):
        if path.is_file() and not path.is_symlink():
            yield path


def _signed(files: dict[str, str]) -> bytes:
    return json.dumps(files, sort_keys=True).encode()
