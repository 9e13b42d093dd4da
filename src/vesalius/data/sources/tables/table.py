"""A manifest: a table that says where each file is, whose it is and what it shows."""

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

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.values import Window
from vesalius.data.formats.nifti import PLANES, Plane
from vesalius.data.identities import Identities
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.tables.csv_table import require_columns
from vesalius.data.sources.tables.file_kinds import UNITS, Part, Reading, Unit, kind_of, load_part, versions, with_bits
from vesalius.data.sources.tables.file_parts import list_parts
from vesalius.data.sources.tables.labels import Labels
from vesalius.data.sources.tables.manifest_paths import path_problems, resolve_paths
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.tables.time_cells import read_times

logger = logging.getLogger("vesalius")

NO_GROUP = "none"
_AT_ONCE = 16  # files that a thread looks at in one go
_FIRST = ["sample_id", "group_id", "split"]


class Table(Source):
    """Files of any kind, listed in a CSV or TSV table: one row a file.

    A file is an image (PNG, JPEG, TIFF, BMP), a DICOM or NIfTI file, a video clip, or a folder with the frames of a
    series (DICOM or images). With `unit="slice"` every 2-D slice or frame of a file is an image. Otherwise a file is a
    series of frames; or, where a column names the series, its rows are the frames of one, in the order of their time
    (of the rows, without one). Rows of a series must agree on everything else.

    Identities: with `pseudonyms` (the rule), paths, series and groups are replaced by keyed hashes (see `Identities`).
    Without it `sample_id` is the path relative to `root`, and `group_id` what the table says.

    Args:
        manifest: the table.
        path: its column with the file, relative to `root` or absolute.
        target: its column(s) with the class or quantity, None for data without labels; see `Labels` for this,
            `classes`, `task`, `separator`.
        group: its column with the patient; `none` says that no two rows (no two series) share one.
        root: the folder that relative paths start from; None for the manifest's own.
        split: its column with train, val or test, where these are fixed.
        series: its column that rows of one series share.
        time: its column with the time of a frame: seconds, dates, or times of a day, ISO 8601.
        subgroups: columns to report on.
        classes: the classes in the order wanted.
        task: what the targets mean.
        separator: what stands between the names in a cell of several classes.
        unit: what a sample is: a `slice` (any frame by itself), a `volume` (its slices one after another) or a
            `time_series`.
        window: grey values of DICOM and NIfTI files: `auto`, `none`, or centre and width.
        plane: how volumes in NIfTI files are cut: `axial`, `coronal` or `sagittal`.
        bits: 8 or 16 brings whole-number images to one type, scaled by the whole range of the type; None leaves them.
        unmatched: `skip` leaves out rows without a file or without a target, and counts them.
        pseudonyms: whether to hide paths and groups.

    Raises:
        InputError: with everything in the table that cannot be used; from `samples`, with all paths that lead nowhere.
    """

    def __init__(
        self,
        manifest: str,
        path: str,
        target: str | Sequence[str] | None,
        group: str,
        root: str | None = None,
        split: str | None = None,
        series: str | None = None,
        time: str | None = None,
        subgroups: Sequence[str] = (),
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        separator: str | None = None,
        unit: Unit = "slice",
        window: str | Sequence[float] = "auto",
        plane: Plane = "axial",
        bits: Literal[8, 16] | None = None,
        unmatched: Literal["error", "skip"] = "error",
        pseudonyms: bool = True,
    ) -> None:
        if time is not None and series is None:
            raise InputError("`data.source.time` orders the rows of a series: name the column of `data.source.series`.")
        self.series = unit != "slice"
        self._joins_rows = series is not None and self.series
        self._labels = Labels(
            manifest,
            key=str(series) if self._joins_rows else path,
            target=target,
            classes=classes,
            task=task,
            group=None if group == NO_GROUP else group,
            split=split,
            subgroups=subgroups,
            separator=separator,
            table_option="manifest",
            key_option="series" if self._joins_rows else "path",
        )
        self.task, self.classes = self._labels.task, self._labels.classes
        self._root = Path(root).expanduser() if root is not None else Path(manifest).expanduser().parent
        self._path, self._time = path, time if self._joins_rows else None
        self._reading, self._bits = Reading(unit, _window(window), plane), bits
        self._skip, self._pseudonyms = unmatched == "skip", pseudonyms
        self._what = "series" if self._joins_rows else "files"
        columns = {"data.source.path": path, "data.source.series": series, "data.source.time": time}
        named = {option: column for option, column in columns.items() if column is not None}
        require_columns(self._labels.table, named, self._labels.name)
        self._check_settings(group)

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the real paths (or names of the series), whatever that of the manifest is."""
        return self._samples.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image (C, H, W), or one series (T, C, H, W)."""
        name = str(row["sample_id"])
        image = load_part(row["_part"], name, self._reading)
        if self._joins_rows and len(image) != len(row["_part"].frames):
            raise InputError(f"{name} has a row whose file holds several frames: leave out `data.source.series`.")
        return with_bits(image, self._bits, name)

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files of one image or series."""
        return [Path(file) for file in row["_part"].files]

    def fingerprint(self) -> str:
        """BLAKE2 over relative path and content of every file, which frames make a series, and the options."""
        parts = self._samples["_part"]
        made = [[(self._relative(file), number) for file, number in part.frames] for part in parts]
        used = {file for part in parts for file in part.files}
        files = sorted(self._relative(file) for file in used if not os.path.isdir(file))
        settings = [versions(sorted(used)), asdict(self._reading), self._bits, made]
        return content_digest(self._root, files, settings, show_names=not self._pseudonyms)

    @cached_property
    def _samples(self) -> pd.DataFrame:
        table, name = self._labels.table, self._labels.name
        paths = resolve_paths(table[self._path], self._root)
        problems = path_problems(table[self._path], paths, self._root, name=name, skip=self._skip)
        rows = pd.DataFrame({"key": table[self._labels.key], "path": paths})
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
        found = (paths != "").to_numpy()
        there = np.array([bool(found[lines].all()) for lines in members.values()])
        if not there.all():
            logger.warning("%d %s are left out, since files of theirs are missing.", int((~there).sum()), self._what)
        targets = target_columns(labels)
        kept = there & labels[targets].notna().all(axis=1).to_numpy()
        groups = {key: lines for (key, lines), stays in zip(members.items(), kept, strict=True) if stays}
        labels = labels[kept] if self.task == "regression" else labels[kept].astype(dict.fromkeys(targets, int))
        return self._cut(rows, groups, labels)

    def _cut(self, rows: pd.DataFrame, members: Mapping[str, np.ndarray], labels: pd.DataFrame) -> pd.DataFrame:
        """The sample table: a row for each part of each file, or for each series of rows."""
        real, parts = self._parts(rows, members)
        owners = self._hidden("series" if self._joins_rows else "file", real)
        groups = self._hidden("patient", labels["group_id"].tolist()) if "group_id" in labels else owners
        labels = labels.assign(group_id=groups)
        if "split" not in labels:
            labels["split"] = None
        cut = [
            (number, f"{owners[number]}_{position:03d}" if len(parts[number]) > 1 else owners[number], part)
            for number in sorted(range(len(real)), key=real.__getitem__)
            for position, part in enumerate(parts[number])
        ]
        table = labels.iloc[[number for number, _, _ in cut]].reset_index(drop=True)
        table.insert(0, "sample_id", [name for _, name, _ in cut])
        table = table[[*_FIRST, *table.columns.difference(_FIRST, sort=False)]]
        table["_part"] = pd.Series([part for _, _, part in cut], dtype=object)
        times = [list(part.times) for _, _, part in cut if part.times is not None]
        if times and len(times) == len(cut):
            table["_times"] = pd.Series(times, dtype=object)
        elif times:
            logger.warning(
                "%d of %d series do not say when their frames were taken: all go by frame number.",
                len(cut) - len(times),
                len(cut),
            )
        return table

    def _parts(self, rows: pd.DataFrame, members: Mapping[str, np.ndarray]) -> tuple[list[str], list[list[Part]]]:
        """The real name of each file or series, and the samples in it."""
        if self._joins_rows:
            return list(members), [[_series_of(rows.iloc[lines])] for lines in members.values()]
        column = rows["path"].tolist()
        paths = [column[lines[0]] for lines in members.values()]
        chunks = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
        with ThreadPoolExecutor() as pool:
            parts = [found for chunk in pool.map(self._list, chunks) for found in chunk]
        if self.series and all(kind_of(Path(path)) == "image" for path in paths):
            raise InputError(
                f"every row of {self._labels.name} is a single image: name the column that the rows of one series "
                "share in `data.source.series`, or say data.source.unit=slice."
            )
        return [self._relative(path) for path in paths], parts

    def _list(self, paths: Sequence[str]) -> list[list[Part]]:
        return [list_parts(Path(path), self._reading) for path in paths]

    def _hidden(self, kind: str, names: list[str]) -> list[str]:
        return Identities.open().pseudonyms(kind, names) if self._pseudonyms else names

    def _relative(self, path: str) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()

    def _check_settings(self, group: str) -> None:
        problems = []
        if not self._root.is_dir():
            problems.append(f"the folder {self._root} does not exist: correct `data.source.root`.")
        if self._reading.plane not in PLANES:
            problems.append(f"`data.source.plane={self._reading.plane}` must be one of {', '.join(PLANES)}.")
        if self._reading.unit not in UNITS:
            problems.append(f"`data.source.unit={self._reading.unit}` must be one of {', '.join(UNITS)}.")
        if self._bits not in (None, 8, 16):
            problems.append(f"`data.source.bits={self._bits}` must be 8, 16 or null.")
        if problems:
            raise InputError(problems)
        if group == NO_GROUP:
            logger.warning(
                "data.source.group=none: every %s is taken for a patient of its own. If a patient has several, the "
                "test set knows patients of the training set, and every figure is too good.",
                "series" if self._joins_rows else "file",
            )


def _window(option: str | Sequence[float]) -> Window:
    if option == "auto" or option == "none":
        return "auto" if option == "auto" else "none"
    if not isinstance(option, str) and len(option) == 2 and option[1] > 0:
        return float(option[0]), float(option[1])
    raise InputError(f"`data.source.window={option}` must be auto, none, or [center, width].")


def _equal_times(rows: pd.DataFrame, name: str) -> list[str]:
    """Sentences on series with two frames at one time."""
    doubled = rows.loc[rows.duplicated(["key", "time"], keep=False), "key"].unique().tolist()
    return [
        f"{len(doubled)} series of {name} have two rows of the same `data.source.time`: {format_list(doubled)}; "
        "correct the times or name the column that tells the rows apart."
    ] * bool(doubled)


def _series_of(rows: pd.DataFrame) -> Part:
    """The rows of a series as one sample, its frames in order of time, else of the rows."""
    if "time" not in rows:
        return Part(tuple((path, None) for path in rows["path"]))
    rows = rows.sort_values("time", kind="stable")
    seconds = (rows["time"] - rows["time"].iloc[0]).tolist()
    return Part(tuple((path, None) for path in rows["path"]), tuple(seconds))
