"""The folder of an ensemble: its members' checkpoints and configs, copied, and `ensemble.json` with their hashes."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.config.plain import read_json
from vesalius.deploy.ensemble.members import Member
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import CONFIG, ENSEMBLE, METRICS, OOD, SPLIT, RunFolder, write_json
from vesalius.runs.signature import SIGNATURE

SCHEMA = 1
_CHECKPOINT = "checkpoints/best.ckpt"
#: What is copied of each member, and its hash kept; and what it may have besides.
_FILES, _MORE_FILES = (CONFIG, METRICS, _CHECKPOINT), (OOD, SPLIT)
_MOST_MEMBERS, _MOST_BYTES = 200, 2**20


def write_members(folder: RunFolder, members: Sequence[Member], names: Sequence[str]) -> None:
    """Copy the members into the folder of an ensemble and write `ensemble.json`; it is then independent of their runs.

    Args:
        folder: of the ensemble.
        members: in the order of their numbers.
        names: of the members, for people.
    """
    entries = []
    for number, (member, name) in enumerate(zip(members, names, strict=True)):
        target = folder.path / _place(number)
        (target / _CHECKPOINT).parent.mkdir(parents=True)
        files = [*_FILES, *(file for file in _MORE_FILES if (member.folder.path / file).is_file())]
        for file in files:
            shutil.copyfile(member.folder.path / file, target / file)
        if (signature := member.folder.path / SIGNATURE).is_file():  # the config is the same, and so is its signature
            shutil.copyfile(signature, target / SIGNATURE)
        hashes = {file: file_hash(target / file) for file in files}
        entries.append({"name": name, "seed": member.run.seed, "fold": member.run.fold, "sha256": hashes})
    write_json(folder.path / ENSEMBLE, {"schema": SCHEMA, "task": members[0].facts.task, "members": entries})


class EnsembleFolder(RunFolder):
    """The folder of a finished ensemble, whose files are those that were written.

    Args:
        path: of the folder.

    Attributes:
        members: the members' folders.
        names: of the members.

    Raises:
        InputError: for a folder that is no ensemble, is of a newer schema, or whose files were changed.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        entries = self._entries()
        self.names = [str(entry.get("name", number)) for number, entry in enumerate(entries)]
        for number, entry in enumerate(entries):
            self._check_hashes(self.path / _place(number), entry)
        self.members = [self.path / _place(number) for number in range(len(entries))]

    @property
    def sha256(self) -> str:
        """Identifies the ensemble: the hash of `ensemble.json`, which holds those of the members' files."""
        return file_hash(self.path / ENSEMBLE)

    def _entries(self) -> list[Mapping[str, Any]]:
        file = self.path / ENSEMBLE
        if not file.is_file():
            raise InputError(f"{self.path} is no ensemble: create one with `vesalius ensemble runs=SWEEP`.")
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file} is larger than {_MOST_BYTES >> 20} MB: it was not written by Vesalius.")
        try:
            content = read_json(file)
            schema, entries = content["schema"], content["members"]
            whole = 2 <= len(entries) <= _MOST_MEMBERS and all(isinstance(entry, Mapping) for entry in entries)
        except (OSError, ValueError, KeyError, TypeError):
            schema, entries, whole = SCHEMA, [], False
        if schema != SCHEMA:
            raise InputError(f"{file} is of schema {schema}, and this version reads schema {SCHEMA}: update Vesalius.")
        if not whole:
            raise InputError(f"{file} is damaged: create it again with `vesalius ensemble runs=SWEEP`.")
        return list(entries)

    def _check_hashes(self, member: Path, entry: Mapping[str, Any]) -> None:
        hashes = entry.get("sha256")
        for name in [*_FILES, *(name for name in _MORE_FILES if (member / name).is_file())]:
            file = member / name
            if not file.is_file():
                raise InputError(f"{file} is missing: copy the whole folder of the ensemble.")
            if not isinstance(hashes, Mapping) or hashes.get(name) != file_hash(file):
                raise InputError(
                    f"{file} is not the file that the ensemble was evaluated with, by its hash: take it from a backup, "
                    "or create the ensemble again."
                )


def _place(number: int) -> str:
    return f"members/{number}"
