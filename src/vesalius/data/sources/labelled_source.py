"""Sources of files below a folder: targets from the folders that the files are in, or from a table."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.identities import Identities
from vesalius.data.remote.mirror import local_folder
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source
from vesalius.data.sources.folder_layout import FiledItem, FolderLayout, check_classes, find_file, sorted_classes
from vesalius.data.sources.patients import find_patients, pattern_problems, unify_patients
from vesalius.data.sources.tables.labels import Labels, columns_without_table, whole_targets
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.vocabulary import NO_GROUP

logger = logging.getLogger("vesalius")


class LabelledSource(Source):
    """Files (or folders of frames) below a root folder, with targets, patients and splits.

    Args:
        root: the folder, or its address on a server.
        labels: a CSV or TSV table (searched in the root first). None takes the class from the folders, which are
            `root/class/*` or `root/{train,val,test}/class/*`; files straight in the root, or in its train, val and test
            folders, are `unlabelled`.
        target, classes, task, split, subgroups, separator, replace: see `Labels`.
        key: its column with the file's path, or an end of the path; None where all rows are about the only file.
        group: its column with the patient; `none` means that no two files share one.
        unmatched: `skip` leaves out files that have no row or no target, and rows that have no file.
        group_pattern: instead of `group`, a regular expression searched in the path relative to the root, or to the
            folders of splits and classes; its first group is the patient. Without either, each file is taken for a
            patient of its own.
        pseudonyms: whether paths and patients are replaced by keyed hashes.
        mask_text: whether print, and what stands still over a clip, is filled with the grey values around it.

    Attributes:
        root: the folder.
        labels: the table, if there is one.
        what: what a file is, in the singular, for messages.
        folders: whether the samples are folders of files, instead of files.
        endings: of the names of the files, in lower case; set before this constructor is called.
        takes_masks: whether masks and segmentations next to images are samples; likewise.

    Raises:
        InputError: with every problem of the folder, the table or the options.
    """

    what: ClassVar[str]
    folders: ClassVar[bool] = False
    endings: tuple[str, ...]
    takes_masks: bool = False

    def __init__(
        self,
        root: str | Path,
        labels: str | None = None,
        target: str | Sequence[str] | None = None,
        key: str | None = "path",
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        group: str | None = None,
        split: str | None = None,
        subgroups: Sequence[str] = (),
        separator: str | None = None,
        replace: Mapping[str, str | None] | None = None,
        unmatched: Literal["error", "skip"] = "error",
        group_pattern: str | None = None,
        pseudonyms: bool = True,
        mask_text: bool = False,
    ) -> None:
        self.mask_text = mask_text
        self.root = local_folder(root)
        self._key, self._skip, self._pseudonyms = key, unmatched == "skip", pseudonyms
        self._group_pattern, self._must_have_classes = group_pattern, classes is not None or task != "auto"
        table_only = {
            "target": target,
            "group": group,
            "split": split,
            "separator": separator,
            "subgroups": subgroups,
            "replace": replace,
        }
        problems = []
        if not self.root.is_dir():
            problems.append(f"the folder {self.root} does not exist: correct `data.source.root`.")
        if labels is None:
            problems += columns_without_table(table_only)
        elif not target:
            problems.append(
                "`data.source.target` must name the column of the labels with the class or continuous target."
            )
        if group is not None and group_pattern is not None:
            problems.append("`data.source.group` and `data.source.group_pattern` exclude each other: set one.")
        problems += pattern_problems(group_pattern)
        if problems:
            raise InputError(problems)
        self._layout = FolderLayout(
            self.root, self.endings, what=self.what, folders=self.folders, masks=self.takes_masks
        )
        self.labels: Labels | None = None
        if labels is not None:
            self.labels = Labels(
                find_file(self.root, labels),
                key=key,
                target=target,
                classes=classes,
                task=task,
                group=None if group == NO_GROUP else group,
                split=split,
                subgroups=subgroups,
                separator=separator,
                replace=replace,
            )
            self.task, self.classes = self.labels.task, self.labels.classes
        else:
            self.task, self.classes = self._folder_classes(classes, task)
        if group is None and group_pattern is None:
            logger.warning(
                "every %s is taken for a patient of its own, since neither data.source.group nor "
                "data.source.group_pattern is set.",
                self.what,
            )

    def is_wanted(self, path: str) -> bool:
        """Whether a file at this relative path, whose ending is right, is wanted."""
        return True

    @cached_property
    def paths(self) -> list[str]:
        """All files wanted, relative to the root, sorted.

        Raises:
            InputError: if there is none.
        """
        if self.labels is None:
            return [item.path for item in self._items]
        paths = [path for path in self._layout.all_paths() if self.is_wanted(path)]
        if not paths:
            raise InputError(f"{self.root} holds no {self.what}: correct `data.source.root`.")
        return paths

    def labelled_files(self) -> pd.DataFrame:
        """One row per labelled file, sorted by path: the target(s), subgroups, and the columns of `add_names`."""
        if self.labels is None:
            items = self._items
            table = pd.DataFrame({"_path": [item.path for item in items]})
            if self.task != "unlabelled":
                number_of = {name: number for number, name in enumerate(self.classes)}
                table["target"] = [number_of[str(item.label)] for item in items]
            table["split"] = pd.Series([item.split for item in items], dtype=object)
            return self.add_names(table)
        if self._key is None:
            raise InputError(f"`data.source.key` must name the column of {self.labels.name} with the file's path.")
        joined = self.labels.join(
            self.paths, what=f"{self.what}s", unmatched="skip" if self._skip else "error", endings=True
        ).assign(_path=self.paths)
        labelled = joined[joined[target_columns(joined)].notna().all(axis=1)].reset_index(drop=True)
        return self.add_names(whole_targets(labelled, self.task))

    def add_names(self, files: pd.DataFrame) -> pd.DataFrame:
        """Add `_file` (what each file is called), `group_id` and `split` to a table with `_path`, as pseudonyms.

        Raises:
            InputError: if the pattern finds no patient in some paths.
        """
        paths = files["_path"].tolist()
        files = files.assign(_file=self._names("file", paths))
        if "group_id" in files:
            files["group_id"] = self._names("patient", files["group_id"].tolist())
        elif self._group_pattern is not None:
            inner = {item.path: item.inner_path for item in self._items} if self.labels is None else {}
            patients = find_patients(self._group_pattern, [inner.get(path, path) for path in paths])
            patients = unify_patients(patients, files["_file"].tolist(), where=f"{self.what}s")
            files["group_id"] = self._names("patient", patients)
        else:
            files["group_id"] = files["_file"]
        if "split" not in files:
            files["split"] = pd.Series([None] * len(files), dtype=object)
        self.passed_over = {**self._layout.passed_over, **(self.labels.left_out if self.labels is not None else {})}
        return files

    def _names(self, kind: str, real: Sequence[str]) -> list[str]:
        """Pseudonyms, or the real names if these are asked for."""
        return Identities.open().pseudonyms(kind, real) if self._pseudonyms else list(real)

    @cached_property
    def _items(self) -> list[FiledItem]:
        """The files in class folders, or without classes, sorted by path."""
        items = [item for item in self._layout.scan(labelled=self._must_have_classes) if self.is_wanted(item.path)]
        if not items:
            raise InputError(f"{self.root} holds no {self.what} of the names wanted: correct `data.source.pattern`.")
        return items

    def _folder_classes(self, classes: Sequence[str] | None, task: TaskOption) -> tuple[Task, tuple[str, ...]]:
        found = sorted({item.label for item in self._items if item.label is not None})
        if not found:
            return "unlabelled", ()
        names = sorted_classes(found, self.root) if classes is None else tuple(map(str, classes))
        check_classes(names, found, self.root)
        if task in ("multilabel", "regression"):
            raise InputError(f"`data.source.task={task}` needs a table: name it in `data.source.labels`.")
        if task == "ordinal":
            if classes is None:
                raise InputError("`data.source.task=ordinal` needs the order of the folders in `data.source.classes`.")
            return "ordinal", names
        return "binary" if len(names) == 2 else "multiclass", names


def expand_rows(files: pd.DataFrame, samples: Sequence[tuple[int, str]]) -> pd.DataFrame:
    """One row per sample, from one row per file.

    Args:
        files: from `LabelledSource.labelled_files`.
        samples: for each sample the position of its file's row, and its `sample_id`.
    """
    table = files.iloc[[row for row, _ in samples]].reset_index(drop=True)
    table.insert(0, "sample_id", [name for _, name in samples])
    return table.drop(columns="_file")
