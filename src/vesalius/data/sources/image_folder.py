"""Images sorted into folders, one folder a class."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.images import DECODER_VERSION, adapt_channels, decode_image
from vesalius.data.samples import listed
from vesalius.data.sources.base import Source
from vesalius.data.sources.index_table import groups_from_index

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_FILES_A_TASK = 256


class ImageFolder(Source):
    """`root/{train,val,test}/class/*` with fixed splits, or `root/class/*` without.

    A class folder may have folders inside. Hidden files and files with other extensions are passed over. The path
    relative to `root` is the `sample_id`. Without an index table or a pattern every image is a group of its own,
    which is right only if no patient has two images.

    Args:
        root: the folder.
        index: a CSV or TSV table that says which group a file belongs to; looked for in `root` first.
        index_file_column: its column with the file's path (the end of it will do).
        index_group_column: its column with the group.
        group_pattern: instead, a regular expression searched in the file name; its first group is the `group_id`.
        extensions: file name endings taken as images, in any case.
        channels: make every image grey (1) or RGB (3); None leaves them as they are.
        classes: the classes in the order wanted; None sorts the folders' names.
        ordinal: the classes, as ordered, are grades.

    Raises:
        InputError: with every problem of the folder's layout or of these settings.
    """

    def __init__(
        self,
        root: str,
        index: str | None = None,
        index_file_column: str = "file",
        index_group_column: str = "group",
        group_pattern: str | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        channels: Literal[1, 3] | None = None,
        classes: Sequence[str] | None = None,
        ordinal: bool = False,
    ) -> None:
        self.root = Path(root).expanduser()
        self._index, self._columns = index, (index_file_column, index_group_column)
        self._extensions = tuple(f".{ending.lower().lstrip('.')}" for ending in extensions)
        self._channels = channels
        self._pattern = self._check_settings(group_pattern)
        self._files = self._scan()
        found = sorted({folder for _, folder, _ in self._files})
        self.classes = tuple(classes) if classes is not None else tuple(found)
        self._check_classes(found)
        two = len(self.classes) == 2
        self.task = "ordinal" if ordinal else "binary" if two else "multiclass"

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the relative paths; `split` is missing where the folders do not say."""
        number_of = {name: number for number, name in enumerate(self.classes)}
        paths = [path for _, _, path in self._files]
        return pd.DataFrame(
            {
                "sample_id": paths,
                "group_id": self._groups(paths),
                "split": pd.Series([split for split, _, _ in self._files], dtype=object),
                "target": [number_of[folder] for _, folder, _ in self._files],
            }
        )

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (C, H, W), uint8 or uint16 (see `decode_image`)."""
        name = str(row["sample_id"])
        return adapt_channels(decode_image(self.root / name, name), self._channels)

    def fingerprint(self) -> str:
        """BLAKE2 over every relative path and content; one read of all files.

        100,000 files of 9 kB take about 3 s on two cores once the system has them in memory. Nothing is remembered
        between runs: a file changed in place must never be mistaken for the old one.
        """
        paths = [path for _, _, path in self._files]
        chunks = [paths[start : start + _FILES_A_TASK] for start in range(0, len(paths), _FILES_A_TASK)]
        digest = hashlib.blake2b(json.dumps([DECODER_VERSION, self._channels]).encode(), digest_size=16)
        with ThreadPoolExecutor() as pool:
            for part in pool.map(self._digest, chunks):
                digest.update(part)
        return digest.hexdigest()

    def _digest(self, paths: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for path in paths:
            try:
                content = (self.root / path).read_bytes()
            except OSError as error:
                raise InputError(f"{path} cannot be opened ({error.strerror}): see its permissions.") from error
            name = path.encode()
            digest.update(len(name).to_bytes(8, "little") + name + len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.digest()

    def _check_settings(self, pattern: str | None) -> re.Pattern[str] | None:
        problems = []
        if not self.root.is_dir():
            problems.append(f"the image folder {self.root} does not exist: correct `data.source.root`.")
        if self._channels not in (None, 1, 3):
            problems.append(f"`data.source.channels={self._channels}` must be 1, 3 or null.")
        if pattern is not None and self._index is not None:
            problems.append("`data.source.index` and `data.source.group_pattern` exclude each other: set one.")
        compiled = None
        try:
            compiled = re.compile(pattern) if pattern is not None else None
        except re.error as error:
            problems.append(f"`data.source.group_pattern={pattern}` is no regular expression: {error}.")
        if compiled is not None and compiled.groups == 0:
            problems.append(f"`data.source.group_pattern={pattern}` has no group: put (...) around the patient's part.")
        if problems:
            raise InputError(problems)
        return compiled

    def _scan(self) -> list[tuple[str | None, str, str]]:
        """Split, class folder and relative path of every image, sorted by path."""
        folders = [folder for folder in _folders(self.root) if any(self._images(folder))]
        splits = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
        problems = []
        if splits and len(splits) < len(folders):
            others = [folder.name for folder in folders if folder not in splits]
            problems.append(
                f"{self.root} holds both splits ({listed([folder.name for folder in splits])}) and other folders "
                f"({listed(others)}): keep either root/{{train,val,test}}/class/* or root/class/*."
            )
            splits = []
        parents: list[tuple[str | None, Path]] = [
            (SPLIT_FOLDERS[folder.name.lower()], folder) for folder in splits
        ] or [(None, self.root)]
        files = []
        if splits:
            empty = [f for f in _folders(self.root) if f.name.lower() in SPLIT_FOLDERS and f not in splits]
            problems += [f"the split folder {folder} holds no image: fill or delete it." for folder in empty]
        for split, parent in parents:
            loose = [entry.name for entry in os.scandir(parent) if entry.is_file() and self._is_image(entry.name)]
            if loose:
                problems.append(
                    f"{len(loose)} image(s) lie in {parent} outside any class folder: {listed(sorted(loose))}; "
                    "move each into the folder of its class."
                )
            for folder in _folders(parent):
                images = list(self._images(folder))
                if not images and split is None:
                    problems.append(
                        f"the class folder {folder} holds no image ({', '.join(self._extensions)}): fill or delete it."
                    )
                files += [(split, folder.name, path.relative_to(self.root).as_posix()) for path in images]
        if not files and not problems:
            problems.append(f"{self.root} holds no class folder with an image in it: correct `data.source.root`.")
        if problems:
            raise InputError(problems)
        return sorted(files, key=lambda file: file[2])

    def _images(self, folder: Path) -> Iterator[Path]:
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(parent, name) for name in names if self._is_image(name))

    def _is_image(self, name: str) -> bool:
        return not name.startswith(".") and name.lower().endswith(self._extensions)

    def _check_classes(self, found: Sequence[str]) -> None:
        unlisted = [name for name in found if name not in self.classes]
        absent = [name for name in self.classes if name not in found]
        problems = []
        if unlisted:
            problems.append(f"`data.source.classes` lacks the folder(s) {listed(unlisted)}: add or delete them.")
        if absent:
            problems.append(f"`data.source.classes` names {listed(absent)}, but {self.root} has no such folder(s).")
        if len(set(self.classes)) < len(self.classes):
            problems.append("`data.source.classes` names a class twice: name each once.")
        if problems:
            raise InputError(problems)

    def _groups(self, paths: list[str]) -> list[str]:
        if self._index is not None:
            inside = self.root / self._index
            path = inside if inside.is_file() else Path(self._index).expanduser()
            file_column, group_column = self._columns
            return groups_from_index(path, paths, file_column=file_column, group_column=group_column)
        if self._pattern is None:
            return paths
        matches = [self._pattern.search(path.rpartition("/")[2]) for path in paths]
        unmatched = [path for path, match in zip(paths, matches, strict=True) if not (match and match.group(1))]
        if unmatched:
            raise InputError(
                f"`data.source.group_pattern={self._pattern.pattern}` finds no group in {len(unmatched)} file "
                f"name(s): {listed(unmatched)}; correct the pattern or rename the files."
            )
        return [str(match.group(1)) for match in matches if match]


def _folders(parent: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(parent) if entry.is_dir() and not entry.name.startswith("."))
