"""Files and what is known of them: from the folders that they lie in, or from a table beside them."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.data.identities import Identities
from vesalius.data.samples import target_columns
from vesalius.data.sources.folder_layout import Filed, FolderLayout, check_classes
from vesalius.data.sources.tables.labels import Labels, columns_without_table
from vesalius.data.sources.tables.target_cells import TaskOption

logger = logging.getLogger("vesalius")

NO_GROUP = "none"


@dataclass(frozen=True)
class Labelling:
    """The options of a source that say where targets and groups come from.

    Attributes:
        labels: a CSV or TSV table (looked for in the root first); None takes the class from the folders, and files that
            lie straight in the root, or in its train, val and test folders, for `unlabelled`.
        key: its column with the file's path, or an end of it; None where all rows are about the only file.
        target, classes, task, split, subgroups, separator, unmatched: see `Labels`.
        group: its column with the patient; `none` says that no two files share one.
        group_pattern: a regular expression searched in the relative path; its first group is the patient.
        pseudonyms: whether paths and groups are replaced by keyed hashes.
    """

    labels: str | None
    key: str | None
    target: str | Sequence[str] | None
    classes: Sequence[str] | None
    task: TaskOption
    group: str | None
    split: str | None
    subgroups: Sequence[str]
    separator: str | None
    unmatched: Literal["error", "skip"]
    group_pattern: str | None
    pseudonyms: bool


class LabelledFiles:
    """The files below a root, each with its targets.

    Args:
        root: the folder.
        options: where targets and groups come from.
        wanted: whether a file of this name is wanted.
        what: what the files are, in the singular, for messages.
        endings: of their names, for messages.
        folders: take folders that hold wanted files instead.
        filed: whether a relative path is wanted.

    Attributes:
        root: the folder.
        task: what the targets mean.
        classes: names of the classes or quantities.
        labels: the table, where there is one.

    Raises:
        InputError: with every problem of the folder, the table or the options.
    """

    def __init__(
        self,
        root: str,
        options: Labelling,
        wanted: Callable[[str], bool],
        *,
        what: str,
        endings: Sequence[str],
        folders: bool = False,
        filed: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self.root, self._options, self._what, self._filed = Path(root).expanduser(), options, what, filed
        self._layout = FolderLayout(self.root, wanted, what=what, endings=", ".join(endings), folders=folders)
        self._check(options)
        self.labels = self._read_labels(options)
        self.task: Task
        self.classes: tuple[str, ...]
        if self.labels is not None:
            self.task, self.classes = self.labels.task, self.labels.classes
        else:
            self.task, self.classes = self._task_of_folders(options)
        if options.group is None and options.group_pattern is None:
            logger.warning(
                "every %s is taken for a patient of its own, since neither data.source.group nor "
                "data.source.group_pattern says otherwise.",
                what,
            )

    @cached_property
    def paths(self) -> list[str]:
        """All files wanted, relative to the root, sorted.

        Raises:
            InputError: if there is none.
        """
        if self.labels is None:
            return [filed.path for filed in self._in_folders]
        found = [path for path in self._layout.every() if self._filed(path)]
        if not found:
            raise InputError(f"{self.root} holds no {self._what}: correct `data.source.root`.")
        return found

    def table(self) -> pd.DataFrame:
        """A row for each labelled file, sorted by path: `_path`, the target(s), `group_id`, `split`, subgroups."""
        if self.labels is None:
            filed = self._in_folders
            table = pd.DataFrame({"_path": [one.path for one in filed]})
            if self.task != "unlabelled":
                number_of = {name: number for number, name in enumerate(self.classes)}
                table["target"] = [number_of[str(one.label)] for one in filed]
            table["split"] = pd.Series([one.split for one in filed], dtype=object)
            return self.named(table)
        if self._options.key is None:
            raise InputError(f"`data.source.key` must name the column of {self.labels.name} that says which file.")
        joined = self.labels.join(
            self.paths, what=f"{self._what}s", unmatched=self._options.unmatched, endings=True
        ).assign(_path=self.paths)
        targets = target_columns(joined)
        joined = joined[joined[targets].notna().all(axis=1)].reset_index(drop=True)
        return self.named(joined if self.task == "regression" else joined.astype(dict.fromkeys(targets, int)))

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add to a table with `_path` what each file is called (`_file`), `group_id` and `split`; hide what is hidden.

        Raises:
            InputError: if the pattern finds no group in some paths.
        """
        paths, pattern = table["_path"].tolist(), self._options.group_pattern
        table = table.assign(_file=self._hidden("file", paths))
        if "group_id" in table:
            table["group_id"] = self._hidden("patient", table["group_id"].tolist())
        elif pattern is not None:
            table["group_id"] = self._hidden("patient", _groups_in(paths, pattern))
        else:
            table["group_id"] = table["_file"]
        if "split" not in table:
            table["split"] = pd.Series([None] * len(table), dtype=object)
        return table

    def _hidden(self, kind: str, names: Sequence[str]) -> list[str]:
        return Identities.open().pseudonyms(kind, names) if self._options.pseudonyms else list(names)

    @cached_property
    def _in_folders(self) -> list[Filed]:
        labelled = self._options.classes is not None or self._options.task != "auto"
        found = [filed for filed in self._layout.scan(labelled=labelled) if self._filed(filed.path)]
        if not found:
            raise InputError(f"{self.root} holds no {self._what} of the names wanted: correct `data.source.pattern`.")
        return found

    def _task_of_folders(self, options: Labelling) -> tuple[Task, tuple[str, ...]]:
        found = sorted({filed.label for filed in self._in_folders if filed.label is not None})
        if not found:
            return "unlabelled", ()
        classes = tuple(found if options.classes is None else map(str, options.classes))
        check_classes(classes, found, self.root)
        if options.task in ("multilabel", "regression"):
            raise InputError(f"`data.source.task={options.task}` needs a table: name it in `data.source.labels`.")
        if options.task == "ordinal" and options.classes is None:
            raise InputError("`data.source.task=ordinal` needs the order of the folders in `data.source.classes`.")
        two: Task = "binary" if len(classes) == 2 else "multiclass"
        return ("ordinal" if options.task == "ordinal" else two), classes

    def _read_labels(self, options: Labelling) -> Labels | None:
        if options.labels is None:
            return None
        inside = self.root / options.labels
        target = options.target
        assert target is not None  # checked
        path = inside if inside.is_file() else Path(options.labels).expanduser()
        key = options.key if options.key is not None else (target if isinstance(target, str) else target[0])
        return Labels(
            path,
            key=key,
            target=target,
            classes=options.classes,
            task=options.task,
            group=None if options.group == NO_GROUP else options.group,
            split=options.split,
            subgroups=options.subgroups,
            separator=options.separator,
        )

    def _check(self, options: Labelling) -> None:
        problems = []
        if not self.root.is_dir():
            problems.append(f"the folder {self.root} does not exist: correct `data.source.root`.")
        if options.labels is None:
            table_only = ("target", "group", "split", "separator", "subgroups")
            problems += columns_without_table({name: getattr(options, name) for name in table_only})
        elif not options.target:
            problems.append("`data.source.target` must name the column of the labels with the class or quantity.")
        if options.group is not None and options.group_pattern is not None:
            problems.append("`data.source.group` and `data.source.group_pattern` exclude each other: set one.")
        problems += _pattern_problems(options.group_pattern)
        if problems:
            raise InputError(problems)


def _groups_in(paths: Sequence[str], pattern: str) -> list[str]:
    matches = [re.search(pattern, path) for path in paths]
    unmatched = [path for path, match in zip(paths, matches, strict=True) if not (match and match.group(1))]
    if unmatched:
        raise InputError(
            f"`data.source.group_pattern={pattern}` finds no group in {len(unmatched)} path(s): "
            f"{format_list(unmatched)}; correct the pattern or rename the files."
        )
    return [str(match.group(1)) for match in matches if match]


def _pattern_problems(pattern: str | None) -> list[str]:
    if pattern is None:
        return []
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return [f"`data.source.group_pattern={pattern}` is no regular expression: {error}."]
    if groups == 0:
        return [f"`data.source.group_pattern={pattern}` has no group: put (...) around the patient's part."]
    return []
