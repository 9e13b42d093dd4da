"""Files sorted into class folders: which classes there are, and the class and split of each file."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.endings import has_ending
from vesalius.data.formats.folders import is_leftover, is_mask_folder, walk, wanted_names
from vesalius.data.remote.mirror import local_file
from vesalius.data.sources.vocabulary import SPLIT_WORDS, spelt_alike

# Files that may lie next to data and describe them
_DESCRIPTIONS = (".csv", ".tsv", ".txt", ".json", ".md", ".xml", ".html", ".pdf", ".xls", ".xlsx", ".yaml", ".yml")


@dataclass(frozen=True)
class FiledItem:
    """A file (or a folder of files), with the class and split of the folders that it is in.

    Attributes:
        split: train, val or test; None without split folders.
        label: name of the class folder; None without class folders.
        path: relative to the root, with forward slashes.
    """

    split: str | None
    label: str | None
    path: str

    @property
    def inner_path(self) -> str:
        """The path below the folders of the split and the class, where a patient may be named."""
        return "/".join(self.path.split("/")[(self.split is not None) + (self.label is not None) :])


class FolderLayout:
    """`root/{train,val,test}/class/*` with fixed splits, or `root/class/*` without.

    Without labels the files are straight in `root`, or in `root/{train,val,test}`. A class folder may have folders
    inside. Files that are not wanted, hidden ones and leftovers of systems are skipped; links to folders are followed.
    Split folders may have any name in `SPLIT_WORDS`.

    Args:
        root: the folder.
        endings: of the names of the files wanted, in lower case.
        what: what the files are, in the singular, for messages.
        folders: the items are the folders (below a class folder) that hold wanted files, not the files.
        masks: take masks and segmentations next to images, too.

    Attributes:
        passed_over: the number of files that are not items, by kind, once the items were listed.
    """

    def __init__(
        self, root: Path, endings: Sequence[str], *, what: str, folders: bool = False, masks: bool = False
    ) -> None:
        self._root, self._endings, self._what, self._folders, self._masks = root, endings, what, folders, masks
        self.passed_over: Counter[str] = Counter()

    def all_paths(self) -> list[str]:
        """The relative paths of all items, sorted, in whatever folders they are."""
        self._count_others()
        return sorted(path.relative_to(self._root).as_posix() for path in self._below(self._root))

    def scan(self, *, labelled: bool = True) -> list[FiledItem]:
        """All items in class folders, sorted by path.

        Args:
            labelled: there must be class folders; otherwise there may be none, for all items.

        Raises:
            InputError: with every problem of the layout.
        """
        self._count_others()
        if not labelled and not self._folders and (unlabelled := self._without_classes()):
            return sorted(unlabelled, key=lambda item: item.path)
        root, what = self._root, self._what
        folders = [folder for folder in self._inner(root) if any(self._below(folder))]
        splits = [folder for folder in folders if _split_of(folder)]
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
        parents: list[tuple[str | None, Path]] = [(_split_of(folder), folder) for folder in splits]
        items: list[FiledItem] = []
        for split, parent in parents or [(None, root)]:
            problems += self._misplaced(parent)
            for folder in self._inner(parent):
                paths = list(self._below(folder))
                if not paths and split is None:
                    problems.append(
                        f"the class folder {folder} holds no {what} ({', '.join(self._endings)}): fill or delete it."
                    )
                items += [FiledItem(split, folder.name, path.relative_to(root).as_posix()) for path in paths]
        if not items and not problems:
            article = "an" if what[0] in "aeiou" else "a"
            problems.append(f"{root} holds no class folder with {article} {what} in it: correct `data.source.root`.")
        if not problems and len(folders) == 1 and not splits:
            problems += self._wrapped(folders[0])
        if problems:
            raise InputError(problems)
        return sorted(items, key=lambda item: item.path)

    def _wrapped(self, folder: Path) -> list[str]:
        """A sentence where the only folder holds those of the classes or splits, as unpacked archives do."""
        inner = [below.name for below in self._inner(folder) if any(self._below(below))]
        if len(inner) < 2 or self._files(folder):
            return []
        return [
            f"{self._root} holds a single folder, {folder.name}, which holds {format_list(inner)}: set "
            f"data.source.root={folder}."
        ]

    def _without_classes(self) -> list[FiledItem]:
        """All files, if they are straight in the root or in split folders; empty if there is any other folder."""
        folders = [folder for folder in self._inner(self._root) if any(self._below(folder))]
        loose = self._files(self._root)
        if loose or not folders:
            return [] if folders else [FiledItem(None, None, name) for name in loose]
        for folder in folders:
            if not _split_of(folder) or any(path.parent != folder for path in self._below(folder)):
                return []
        problems = self._empty_splits(folders)
        if problems:
            raise InputError(problems)
        return [
            FiledItem(_split_of(folder), None, f"{folder.name}/{name}")
            for folder in folders
            for name in self._files(folder)
        ]

    def _empty_splits(self, filled: Sequence[Path]) -> list[str]:
        empty = [folder for folder in self._inner(self._root) if _split_of(folder) and folder not in filled]
        return [f"the split folder {folder} holds no {self._what}: fill or delete it." for folder in empty]

    def _misplaced(self, parent: Path) -> list[str]:
        """A sentence on files next to the class folders, or (for folders of frames) straight in them."""
        places = [parent, *(self._inner(parent) if self._folders else [])]
        loose = [f"{place.name}/{name}" if place != parent else name for place in places for name in self._files(place)]
        if not loose:
            return []
        what, kind = ("image", "clip") if self._folders else (self._what, "class")
        return [
            f"{len(loose)} {what}(s) lie in {parent} outside any {kind} folder: {format_list(sorted(loose))}; "
            f"move each into the folder of its {kind}."
        ]

    def _files(self, folder: Path) -> list[str]:
        return self._wanted([entry.name for entry in os.scandir(folder) if entry.is_file()])

    def _below(self, top: Path) -> Iterator[Path]:
        for parent, names in walk(top):
            wanted = [] if self._is_of_masks(parent, top) else self._wanted(names)
            if not self._folders:
                yield from (parent / name for name in wanted)
            elif parent != top and wanted:
                yield parent

    def _count_others(self) -> None:
        """Count the files that are passed over: masks, and files of other endings but those that describe data."""
        self.passed_over = Counter()
        for parent, names in walk(self._root):
            wanted = set() if self._is_of_masks(parent, self._root) else set(self._wanted(names))
            for name in names:
                if name in wanted or (not has_ending(name, self._endings) and has_ending(name, _DESCRIPTIONS)):
                    continue
                ending = Path(name).suffix.lower() or "without an ending"
                is_other = not has_ending(name, self._endings)
                self.passed_over[ending if is_other else "masks and segmentations"] += 1

    def _inner(self, parent: Path) -> list[Path]:
        """The folders straight in one, without those of masks."""
        return [folder for folder in _folders(parent) if self._masks or not is_mask_folder(folder)]

    def _is_of_masks(self, folder: Path, top: Path) -> bool:
        """Whether a folder is one of masks, or lies in one, below `top`."""
        inner = [folder, *folder.parents][: len(folder.relative_to(top).parts)]
        return not self._masks and any(map(is_mask_folder, inner))

    def _wanted(self, names: Sequence[str]) -> list[str]:
        return wanted_names(names, self._endings, masks=self._masks)


def check_classes(classes: Sequence[str], found: Sequence[str], root: Path) -> None:
    """Refuse a list of classes that differs from the folders found.

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


def sorted_classes(found: Sequence[str], root: Path) -> tuple[str, ...]:
    """The names of the class folders as classes, in order.

    Raises:
        InputError: if some look like one class spelt in several ways.
    """
    alike = [" and ".join(group) for group in spelt_alike(found)]
    if alike:
        raise InputError(
            f"class folders in {root} look like one class spelt in several ways ({format_list(alike)}): move the files "
            "into one, or list all in `data.source.classes` if they are different classes."
        )
    return tuple(sorted(found))


def find_file(root: Path, name: str) -> Path:
    """The file of this name in the folder, if there is one; otherwise the name as a path, or an address, of its own."""
    inside = root / name
    return inside if inside.is_file() else local_file(name)


def _split_of(folder: Path) -> str | None:
    return SPLIT_WORDS.get(folder.name.lower())


def _folders(parent: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(parent) if entry.is_dir() and not is_leftover(entry.name))
