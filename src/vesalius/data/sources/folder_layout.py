"""Files sorted into folders, one folder a class: which there are, and what their folders say."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Filed:
    """Something that was found in a class folder.

    Attributes:
        split: train, val or test, where the folders say so.
        label: name of the class folder; None where there are none.
        path: relative to the root, with forward slashes.
    """

    split: str | None
    label: str | None
    path: str


class FolderLayout:
    """`root/{train,val,test}/class/*` with fixed splits, or `root/class/*` without.

    Without labels the files lie straight in `root`, or in `root/{train,val,test}`. A class folder may have folders
    inside. What is hidden, or not wanted, is passed over.

    Args:
        root: the folder.
        wanted: whether a file of this name is wanted.
        what: what the files are, in the singular, for messages.
        endings: names of the endings that are wanted, for messages.
        folders: look for folders (below a class folder) that hold wanted files, rather than for the files.
    """

    def __init__(
        self, root: Path, wanted: Callable[[str], bool], *, what: str, endings: str, folders: bool = False
    ) -> None:
        self._root, self._is_wanted, self._what, self._endings, self._folders = root, wanted, what, endings, folders

    def every(self) -> list[str]:
        """Relative paths of all that is wanted, sorted, wherever it lies."""
        return sorted(path.relative_to(self._root).as_posix() for path in self._below(self._root))

    def scan(self, *, labelled: bool = True) -> list[Filed]:
        """All that lies in class folders, sorted by path.

        Args:
            labelled: there must be class folders; else files may do without, if all of them do.

        Raises:
            InputError: with every problem of the layout.
        """
        if not labelled and not self._folders and (unlabelled := self._without_classes()):
            return sorted(unlabelled, key=lambda filed: filed.path)
        root, what = self._root, self._what
        folders = [folder for folder in _folders(root) if any(self._below(folder))]
        splits = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
        problems = []
        if splits and len(splits) < len(folders):
            others = [folder.name for folder in folders if folder not in splits]
            problems.append(
                f"{root} holds both splits ({format_list([folder.name for folder in splits])}) and other folders "
                f"({format_list(others)}): keep either root/{{train,val,test}}/class/* or root/class/*."
            )
            splits = []
        if splits:
            problems += self._empty_splits(splits)
        parents: list[tuple[str | None, Path]] = [(SPLIT_FOLDERS[folder.name.lower()], folder) for folder in splits]
        found: list[Filed] = []
        for split, parent in parents or [(None, root)]:
            problems += self._loose(parent)
            for folder in _folders(parent):
                paths = list(self._below(folder))
                if not paths and split is None:
                    problems.append(f"the class folder {folder} holds no {what} ({self._endings}): fill or delete it.")
                found += [Filed(split, folder.name, path.relative_to(root).as_posix()) for path in paths]
        if not found and not problems:
            problems.append(f"{root} holds no class folder with {_a(what)} in it: correct `data.source.root`.")
        if problems:
            raise InputError(problems)
        return sorted(found, key=lambda filed: filed.path)

    def _without_classes(self) -> list[Filed]:
        """All files, where they lie straight in the root or in split folders; none where there is any other folder."""
        holders = [folder for folder in _folders(self._root) if any(self._below(folder))]
        loose = self._files(self._root)
        if loose or not holders:
            return [] if holders else [Filed(None, None, name) for name in loose]
        for folder in holders:
            if folder.name.lower() not in SPLIT_FOLDERS or any(path.parent != folder for path in self._below(folder)):
                return []
        problems = self._empty_splits(holders)
        if problems:
            raise InputError(problems)
        return [
            Filed(SPLIT_FOLDERS[folder.name.lower()], None, f"{folder.name}/{name}")
            for folder in holders
            for name in self._files(folder)
        ]

    def _empty_splits(self, holders: Sequence[Path]) -> list[str]:
        empty = [f for f in _folders(self._root) if f.name.lower() in SPLIT_FOLDERS and f not in holders]
        return [f"the split folder {folder} holds no {self._what}: fill or delete it." for folder in empty]

    def _loose(self, parent: Path) -> list[str]:
        """A sentence on what lies beside the class folders, or (for folders of frames) straight in them."""
        places = [parent, *(_folders(parent) if self._folders else [])]
        loose = [f"{place.name}/{name}" if place != parent else name for place in places for name in self._files(place)]
        if not loose:
            return []
        what = "image" if self._folders else self._what
        return [
            f"{len(loose)} {what}(s) lie in {parent} outside any {'clip' if self._folders else 'class'} folder: "
            f"{format_list(sorted(loose))}; move each into the folder of its {'clip' if self._folders else 'class'}."
        ]

    def _files(self, folder: Path) -> list[str]:
        return [entry.name for entry in os.scandir(folder) if entry.is_file() and self._wanted(entry.name)]

    def _below(self, top: Path) -> Iterator[Path]:
        for parent, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            wanted = (name for name in names if self._wanted(name))
            if not self._folders:
                yield from (Path(parent, name) for name in wanted)
            elif Path(parent) != top and any(wanted):
                yield Path(parent)

    def _wanted(self, name: str) -> bool:
        return not name.startswith(".") and self._is_wanted(name)


def check_classes(classes: Sequence[str], found: Sequence[str], root: Path) -> None:
    """Refuse a list of classes that are not the folders found.

    Raises:
        InputError: with every class too many, too few, or named twice.
    """
    unlisted = [name for name in found if name not in classes]
    absent = [name for name in classes if name not in found]
    problems = []
    if unlisted:
        problems.append(f"`data.source.classes` lacks the folder(s) {format_list(unlisted)}: add or delete them.")
    if absent:
        problems.append(f"`data.source.classes` names {format_list(absent)}, but {root} has no such folder(s).")
    if len(set(classes)) < len(classes):
        problems.append("`data.source.classes` names a class twice: name each once.")
    if problems:
        raise InputError(problems)


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _folders(parent: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(parent) if entry.is_dir() and not entry.name.startswith("."))
