"""Images in class folders, or without classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.formats.endings import IMAGE_ENDINGS, normalise_endings
from vesalius.data.formats.images import DECODER_VERSION, adapt_channels, decode_image
from vesalius.data.remote.mirror import local_folder
from vesalius.data.samples import subgroup_problems
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.folder_layout import FolderLayout, check_classes, find_file, sorted_classes
from vesalius.data.sources.patients import find_patients, pattern_problems, unify_patients
from vesalius.data.sources.tables.index_table import groups_from_index, subgroups_from_index


class ImageFolder(Source):
    """`root/{train,val,test}/class/*` with fixed splits, or `root/class/*` without.

    Images straight in `root`, or in `root/{train,val,test}`, are `unlabelled`; then there may be no class folders. A
    class folder may have folders inside. Hidden files and leftovers of systems are skipped; files with other endings,
    and masks next to images, too, and counted. The path relative to `root` is the `sample_id`. Without an index table
    or a pattern every image is a group of its own, which is only right if no patient has two images.

    Args:
        root: the folder, or its address on a server.
        index: a CSV or TSV table with the group of each file; searched in `root` first.
        index_file_column: its column with the file's path, or an end of the path.
        index_group_column: its column with the group.
        subgroups: columns of that table to report on.
        group_pattern: instead, a regular expression searched in the path below the folders of splits and classes; its
            first group is the `group_id`.
        extensions: endings of file names taken as images, in upper or lower case.
        channels: convert every image to grey (1) or RGB (3); None leaves them as they are.
        classes: the classes in the order wanted; None sorts the names of the folders.
        ordinal: the classes, in this order, are grades.
        mask_text: whether print is filled with the grey values around it.

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
        extensions: Sequence[str] = IMAGE_ENDINGS,
        channels: Literal[1, 3] | None = None,
        classes: Sequence[str] | None = None,
        ordinal: bool = False,
        subgroups: Sequence[str] = (),
        mask_text: bool = False,
    ) -> None:
        self.mask_text = mask_text
        self.root = local_folder(root)
        self._index, self._columns = index, (index_file_column, index_group_column)
        self._subgroups = list(subgroups)
        self._channels, self._group_pattern = channels, group_pattern
        self._check_settings()
        layout = FolderLayout(self.root, normalise_endings(extensions), what="image")
        self._items = layout.scan(labelled=ordinal or classes is not None)
        self.passed_over = layout.passed_over
        found = sorted({item.label for item in self._items if item.label is not None})
        self.classes = sorted_classes(found, self.root) if classes is None else tuple(classes)
        check_classes(self.classes, found, self.root)
        two = len(self.classes) == 2
        self.task = "unlabelled" if not found else "ordinal" if ordinal else "binary" if two else "multiclass"

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the relative paths; `split` is missing where there are no split folders."""
        paths = [item.path for item in self._items]
        table = pd.DataFrame(
            {
                "sample_id": paths,
                "group_id": self._groups(paths),
                "split": pd.Series([item.split for item in self._items], dtype=object),
            }
        )
        if self._index is not None and self._subgroups:
            index = find_file(self.root, self._index)
            columns = subgroups_from_index(index, paths, file_column=self._columns[0], subgroups=self._subgroups)
            table = table.assign(**columns)
        if self.task == "unlabelled":
            return table
        number_of = {name: number for number, name in enumerate(self.classes)}
        return table.assign(target=[number_of[str(item.label)] for item in self._items])

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image as (C, H, W), uint8 or uint16 (see `decode_image`)."""
        name = str(row["sample_id"])
        return adapt_channels(decode_image(self.root / name, name), self._channels)

    def sized_image(self, row: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
        """The image, resized before its pixels are copied out of the decoder where nothing else changes them."""
        if self.mask_text or self._channels is not None:
            return self.image(row)
        name = str(row["sample_id"])
        return decode_image(self.root / name, name, size)

    def fingerprint(self) -> str:
        """A digest of every file's path and content, and the settings; reads all files once."""
        return content_digest(
            self.root, [item.path for item in self._items], [DECODER_VERSION, self._channels, *self.masking]
        )

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The image file."""
        return [self.root / str(row["sample_id"])]

    def _check_settings(self) -> None:
        problems = []
        if not self.root.is_dir():
            problems.append(f"the image folder {self.root} does not exist: correct `data.source.root`.")
        if self._group_pattern is not None and self._index is not None:
            problems.append("`data.source.index` and `data.source.group_pattern` exclude each other: set one.")
        if self._subgroups and self._index is None:
            problems.append("`data.source.subgroups` names columns of a table: set `data.source.index` too.")
        problems += subgroup_problems(self._subgroups)
        problems += pattern_problems(self._group_pattern)
        if problems:
            raise InputError(problems)

    def _groups(self, paths: list[str]) -> list[str]:
        if self._index is not None:
            file_column, group_column = self._columns
            path = find_file(self.root, self._index)
            return groups_from_index(path, paths, file_column=file_column, group_column=group_column)
        if self._group_pattern is None:
            return paths
        patients = find_patients(self._group_pattern, [item.inner_path for item in self._items])
        return unify_patients(patients, paths, where="files")
