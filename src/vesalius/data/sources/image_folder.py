"""Images in folders, one folder a class, or without classes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.images import DECODER_VERSION, adapt_channels, decode_image
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.folder_layout import FolderLayout, check_classes
from vesalius.data.sources.tables.index_table import groups_from_index

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class ImageFolder(Source):
    """`root/{train,val,test}/class/*` with fixed splits, or `root/class/*` without.

    Images that lie straight in `root`, or in `root/{train,val,test}`, are `unlabelled`; they cannot stand beside class
    folders. A class folder may have folders inside. Hidden files and files with other extensions are passed over. The
    path relative to `root` is the `sample_id`. Without an index table or a pattern every image is a group of its own,
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
        endings = ", ".join(self._extensions)
        layout = FolderLayout(self.root, self._is_image, what="image", endings=endings)
        self._files = layout.scan(labelled=ordinal or classes is not None)
        found = sorted({filed.label for filed in self._files if filed.label is not None})
        self.classes = tuple(classes) if classes is not None else tuple(found)
        check_classes(self.classes, found, self.root)
        two = len(self.classes) == 2
        self.task = "unlabelled" if not found else "ordinal" if ordinal else "binary" if two else "multiclass"

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the relative paths; `split` is missing where the folders do not say."""
        paths = [filed.path for filed in self._files]
        table = pd.DataFrame(
            {
                "sample_id": paths,
                "group_id": self._groups(paths),
                "split": pd.Series([filed.split for filed in self._files], dtype=object),
            }
        )
        if self.task == "unlabelled":
            return table
        number_of = {name: number for number, name in enumerate(self.classes)}
        return table.assign(target=[number_of[str(filed.label)] for filed in self._files])

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (C, H, W), uint8 or uint16 (see `decode_image`)."""
        name = str(row["sample_id"])
        return adapt_channels(decode_image(self.root / name, name), self._channels)

    def fingerprint(self) -> str:
        """Of every file's path and content, and the settings; one read of all files."""
        return content_digest(self.root, [filed.path for filed in self._files], [DECODER_VERSION, self._channels])

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The image file."""
        return [self.root / str(row["sample_id"])]

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

    def _is_image(self, name: str) -> bool:
        return name.lower().endswith(self._extensions)

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
                f"name(s): {format_list(unmatched)}; correct the pattern or rename the files."
            )
        return [str(match.group(1)) for match in matches if match]
