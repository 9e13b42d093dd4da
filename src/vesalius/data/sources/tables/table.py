"""A manifest: a table with the path, the patient and the target of each file."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.addresses import is_address, parent_address
from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import Plane
from vesalius.data.formats.endings import kind_of
from vesalius.data.formats.window import to_window, window_problems
from vesalius.data.identities import Identities
from vesalius.data.remote.mirror import copies_of, local_file
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.patients import find_patients, pattern_problems, unify_patients
from vesalius.data.sources.tables.csv_table import require_columns
from vesalius.data.sources.tables.file_reader import Part, ReadOptions, decoder_versions, load_part
from vesalius.data.sources.tables.file_samples import list_parts
from vesalius.data.sources.tables.labels import Labels, whole_targets
from vesalius.data.sources.tables.manifest_paths import path_problems, resolve_paths
from vesalius.data.sources.tables.remote_cells import fetch_cells
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.tables.time_cells import read_times
from vesalius.data.sources.vocabulary import NO_GROUP, Unit

logger = logging.getLogger("vesalius")

_FILES_PER_TASK = 16
_FIRST_COLUMNS = ["sample_id", "group_id", "split"]


class Table(Source):
    """Files of any kind, listed in a CSV or TSV table: one row per file.

    A file is an image (PNG, JPEG, WebP, ...), a DICOM or NIfTI file, a video clip, or a folder with the frames of a
    series (DICOM or images). With `unit="slice"` every 2-D slice or frame of a file is an image. Otherwise a file is a
    series of frames; or, with the column `series`, the rows of each series are its frames, in the order of their time
    (or of the rows, without times). Rows of a series must agree on everything else.

    By default paths, series and groups are replaced by keyed hashes (see `Identities`). Without `pseudonyms`,
    `sample_id` is the path relative to `root`, and `group_id` the cell of the table.

    Args:
        manifest: the table, or its address on a server.
        path: its column with the file: relative to `root`, absolute, or an address.
        target: its column(s) with the class or continuous target, None for data without labels; see `Labels` for this,
            `classes`, `task` and `separator`.
        group: its column with the patient; `none` means that no two rows (no two series) share one.
        group_pattern: instead of `group`, a regular expression searched in the path relative to `root` (of the first
            row of a series); its first group is the patient.
        root: the folder of relative paths, or its address; None for the folder of the manifest.
        split: its column with train, val or test, where these are fixed.
        series: its column that rows of one series share.
        time: its column with the time of a frame: seconds, dates, or times of a day, ISO 8601.
        subgroups: columns to report on.
        classes: the classes in the order wanted.
        task: the meaning of the targets.
        separator: between the names in a cell of several classes.
        replace: what cells of the target are read as; null for no value.
        unit: what a sample is: a `slice` (any frame by itself), a `volume` (its slices one after another) or a
            `time_series`.
        window: of the grey values of DICOM and NIfTI files: `auto`, `none`, or centre and width.
        plane: of the slices of NIfTI volumes: `axial`, `coronal` or `sagittal`.
        unmatched: `skip` leaves out rows without a file or without a target, and counts them.
        pseudonyms: whether to hide paths and groups.
        mask_text: whether print, and what stands still over a clip, is filled with the grey values around it.

    Raises:
        InputError: with every problem of the table; from `samples`, with all paths that do not exist.
    """

    def __init__(
        self,
        manifest: str,
        path: str,
        target: str | Sequence[str] | None,
        group: str | None = None,
        root: str | None = None,
        split: str | None = None,
        series: str | None = None,
        time: str | None = None,
        subgroups: Sequence[str] = (),
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        separator: str | None = None,
        replace: Mapping[str, str | None] | None = None,
        unit: Unit = "slice",
        window: Literal["auto", "none"] | Sequence[float] = "auto",
        plane: Plane = "axial",
        unmatched: Literal["error", "skip"] = "error",
        group_pattern: str | None = None,
        pseudonyms: bool = True,
        mask_text: bool = False,
    ) -> None:
        self.mask_text = mask_text
        problems = pattern_problems(group_pattern)
        if (group is None) == (group_pattern is None):
            problems.append(
                "one of `data.source.group`, the column with the patient, and `data.source.group_pattern`, which finds "
                "the patient in the path, must be set; data.source.group=none if no two rows share a patient."
            )
        if problems:
            raise InputError(problems)
        if time is not None and series is None:
            raise InputError("`data.source.time` orders the rows of a series: name the column of `data.source.series`.")
        self.unit, self.series = unit, unit != "slice"
        self._joins_rows = series is not None and self.series
        self._key = str(series) if self._joins_rows else path
        self._labels = Labels(
            local_file(manifest),
            key=self._key,
            target=target,
            classes=classes,
            task=task,
            group=None if group == NO_GROUP else group,
            split=split,
            subgroups=subgroups,
            separator=separator,
            replace=replace,
            table_option="manifest",
            key_option="series" if self._joins_rows else "path",
        )
        self.task, self.classes = self._labels.task, self._labels.classes
        self._base = root if root is not None else parent_address(manifest)
        self._root = copies_of(self._base) if is_address(self._base) else Path(self._base).expanduser()
        self._group_pattern = group_pattern
        self._path, self._time = path, time if self._joins_rows else None
        self._skip, self._pseudonyms = unmatched == "skip", pseudonyms
        self._what = "series" if self._joins_rows else "files"
        columns = {"data.source.path": path, "data.source.series": series, "data.source.time": time}
        named = {option: column for option, column in columns.items() if column is not None}
        require_columns(self._labels.table, named, self._labels.name)
        self._check_settings(group, window)
        edges = window if isinstance(window, str) else [float(edge) for edge in window]
        self._read_options = ReadOptions(unit, to_window(edges), plane)

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the real paths (or names of the series), whatever that of the manifest is."""
        return self._samples.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image (C, H, W), or one series (T, C, H, W)."""
        name = str(row["sample_id"])
        image = load_part(row["_part"], name, self._read_options)
        if self._joins_rows and len(image) != len(row["_part"].frames):
            raise InputError(f"{name} has a row whose file holds several frames: leave out `data.source.series`.")
        return image

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files of one image or series."""
        return [Path(file) for file in row["_part"].files]

    def fingerprint(self) -> str:
        """A digest of the relative path and content of every file, the frames of each series, and the options."""
        parts = self._samples["_part"]
        frames = [[(self._relative(file), number) for file, number in part.frames] for part in parts]
        used = {file for part in parts for file in part.files}
        files = sorted(self._relative(file) for file in used if not os.path.isdir(file))
        settings = [decoder_versions(sorted(used)), asdict(self._read_options), frames, *self.masking]
        return content_digest(self._root, files, settings, show_names=not self._pseudonyms)

    @cached_property
    def _samples(self) -> pd.DataFrame:
        table, name = self._labels.table, self._labels.name
        paths = resolve_paths(fetch_cells(table[self._path], self._base), self._root)
        problems = path_problems(table[self._path], paths, self._root, name=name, skip=self._skip)
        rows = pd.DataFrame({"key": table[self._key], "path": paths})
        try:
            if self._time is not None:
                rows["time"] = read_times(table[self._time], option="data.source.time")
                problems += _equal_times(rows, name)
        except InputError as error:
            problems += error.problems
        members = {str(key): np.asarray(lines) for key, lines in rows.groupby("key", sort=False).indices.items()}
        try:
            labels = self._labels.join(list(members), what=self._what, unmatched="skip" if self._skip else "error")
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        exists = (paths != "").to_numpy()
        complete = np.array([bool(exists[lines].all()) for lines in members.values()])
        if not complete.all():
            logger.warning("%d %s are left out, since files of theirs are missing.", int((~complete).sum()), self._what)
        missing = {
            "series with missing files" if self._joins_rows else "files that are missing": int((~complete).sum())
        }
        self.passed_over = {kind: count for kind, count in (missing | self._labels.left_out).items() if count}
        used = complete & labels[target_columns(labels)].notna().all(axis=1).to_numpy()
        members = {key: lines for (key, lines), use in zip(members.items(), used, strict=True) if use}
        return self._sample_table(rows, members, whole_targets(labels[used], self.task))

    def _sample_table(
        self, rows: pd.DataFrame, members: Mapping[str, np.ndarray], labels: pd.DataFrame
    ) -> pd.DataFrame:
        """One row for each part of each file, or for each series of rows."""
        real, parts = self._parts(rows, members)
        owners = self._names("series" if self._joins_rows else "file", real)
        groups = owners
        if "group_id" in labels:
            groups = self._names("patient", labels["group_id"].tolist())
        elif self._group_pattern is not None:
            first = [self._relative(rows["path"].iloc[lines[0]]) for lines in members.values()]
            patients = unify_patients(find_patients(self._group_pattern, first), owners, where=self._what)
            groups = self._names("patient", patients)
        labels = labels.assign(group_id=groups)
        if "split" not in labels:
            labels["split"] = None
        samples = [
            (number, f"{owners[number]}_{position:03d}" if len(parts[number]) > 1 else owners[number], part)
            for number in sorted(range(len(real)), key=real.__getitem__)
            for position, part in enumerate(parts[number])
        ]
        table = labels.iloc[[number for number, _, _ in samples]].reset_index(drop=True)
        table.insert(0, "sample_id", [name for _, name, _ in samples])
        table = table[[*_FIRST_COLUMNS, *table.columns.difference(_FIRST_COLUMNS, sort=False)]]
        table["_part"] = pd.Series([part for _, _, part in samples], dtype=object)
        table["_acquisition"] = pd.Series([part.acquisition for _, _, part in samples], dtype=object)
        times = [list(part.times) for _, _, part in samples if part.times is not None]
        if times and len(times) == len(samples):
            table["_times"] = pd.Series(times, dtype=object)
        elif times:
            logger.warning(
                "%d of %d series have no times of their frames: frame numbers are used for all series.",
                len(samples) - len(times),
                len(samples),
            )
        return table

    def _parts(self, rows: pd.DataFrame, members: Mapping[str, np.ndarray]) -> tuple[list[str], list[list[Part]]]:
        """The real name of each file or series, and the samples in it."""
        if self._joins_rows:
            return list(members), [[_join_rows(rows.iloc[lines])] for lines in members.values()]
        column = rows["path"].tolist()
        paths = [column[lines[0]] for lines in members.values()]
        chunks = [paths[start : start + _FILES_PER_TASK] for start in range(0, len(paths), _FILES_PER_TASK)]
        with ThreadPoolExecutor() as pool:
            parts = [found for chunk in pool.map(self._list, chunks) for found in chunk]
        if self.series and all(kind_of(Path(path)) == "image" for path in paths):
            raise InputError(
                f"every row of {self._labels.name} is a single image: name the column that the rows of one series "
                "share in `data.source.series`, or set data.source.unit=slice."
            )
        return [self._relative(path) for path in paths], parts

    def _list(self, paths: Sequence[str]) -> list[list[Part]]:
        return [list_parts(Path(path), self._read_options) for path in paths]

    def _names(self, kind: str, real: list[str]) -> list[str]:
        return Identities.open().pseudonyms(kind, real) if self._pseudonyms else real

    def _relative(self, path: str) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()

    def _check_settings(self, group: str | None, window: str | Sequence[float]) -> None:
        problems = window_problems(window)
        if not is_address(self._base) and not self._root.is_dir():
            problems.append(f"the folder {self._root} does not exist: correct `data.source.root`.")
        if problems:
            raise InputError(problems)
        if group == NO_GROUP:
            logger.warning(
                "data.source.group=none: every %s is taken for a patient of its own. If a patient has several, the "
                "test set shares patients with the training set, and every figure is too good.",
                "series" if self._joins_rows else "file",
            )


def _equal_times(rows: pd.DataFrame, name: str) -> list[str]:
    """A sentence on series with two frames at one time."""
    doubled = rows.loc[rows.duplicated(["key", "time"], keep=False), "key"].unique().tolist()
    return [
        f"{len(doubled)} series of {name} have two rows of the same `data.source.time`: {format_list(doubled)}; "
        "correct the times or name the column that tells the rows apart."
    ] * bool(doubled)


def _join_rows(rows: pd.DataFrame) -> Part:
    """The rows of a series as one sample, its frames in the order of their times, or of the rows without times."""
    if "time" not in rows:
        return Part(tuple((path, None) for path in rows["path"]))
    rows = rows.sort_values("time", kind="stable")
    seconds = (rows["time"] - rows["time"].iloc[0]).tolist()
    return Part(tuple((path, None) for path in rows["path"]), tuple(seconds))
