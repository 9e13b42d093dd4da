"""Volumes and series of volumes in NIfTI files (or others that nibabel reads), as slices or series."""

import fnmatch
import logging
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.decode_cache import DecodeCache
from vesalius.data.formats.images import adapt_channels
from vesalius.data.formats.nifti import DECODER_VERSION, ENDINGS, Grid, Plane, read_grid
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.labelled_files import LabelledFiles, Labelling
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.volumes.cuts import UNITS, Cut, Slices, Unit, cuts_of
from vesalius.data.sources.volumes.preparation import VolumePreparation, either
from vesalius.data.sources.volumes.stretches import stretch_rows
from vesalius.terminal import show_progress

logger = logging.getLogger("vesalius")


class Nifti(Source):
    """Files below a folder, with a table of targets or sorted into class folders.

    Files are brought into the closest canonical orientation and cut into slices that lie upright (see `upright`).
    What a sample is, `unit` says: each `slice` an image; each `volume` a series of its slices; or each slice
    position of a 4-D file a `time_series`, whose times are multiples of the repetition time (the moment at which each
    slice was taken within it is not regarded). Columns `first` and `last` of the table cut several samples out
    of a 4-D file. Without a column for the group, or a pattern, each file is a patient of its own.

    Args:
        root: the folder.
        labels, target, key, classes, task, group, split, subgroups, separator, unmatched, group_pattern,
            pseudonyms: see `Labelling`; without `labels` the folders are `root/class/*` or
            `root/{train,val,test}/class/*`, or for unlabelled data `root/*` or `root/{train,val,test}/*`.
        pattern: names (relative paths) of the files wanted, such as `*_bold.nii.gz`; None takes all.
        unit: what a sample is.
        plane: `axial`, `coronal` or `sagittal` slices.
        slices: numbers of the slices wanted, from 0 (negative: from the end), "middle", or None for all.
        window: "auto" (unsigned 8-bit and 16-bit files and colour stay as they are, all others become float32), "none"
            (float32), or centre and width, which give uint16.
        nan: the value for NaN and infinite voxels; "error" refuses files with such.
        first, last: columns of the table with the first and last volume of a sample, from 0.
        run_length: volumes of a run, where a file holds several; None where it holds one.
        detrend: "linear" subtracts each voxel's line over its run.
        standardize: "run" makes each voxel's mean over its run 0 and its standard deviation 1.
        mask: a file of the same grid as all others, 0 outside; voxels there become 0.
        repetition_time: seconds between volumes, instead of what headers say.
        channels: make every image grey (1) or RGB (3); None leaves them as they are.

    Raises:
        InputError: with every problem of these settings, the folder and the table.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        target: str | Sequence[str] | None = None,
        key: str | None = "path",
        pattern: str | None = None,
        unit: Unit = "slice",
        plane: Plane = "axial",
        slices: Slices = None,
        window: Literal["auto", "none"] | Sequence[float] = "auto",
        nan: float | Literal["error"] = 0.0,
        first: str | None = None,
        last: str | None = None,
        run_length: int | None = None,
        detrend: Literal["linear"] | None = None,
        standardize: Literal["run"] | None = None,
        mask: str | None = None,
        repetition_time: float | None = None,
        channels: Literal[1, 3] | None = None,
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        group: str | None = None,
        split: str | None = None,
        subgroups: Sequence[str] = (),
        separator: str | None = None,
        unmatched: Literal["error", "skip"] = "error",
        group_pattern: str | None = None,
        pseudonyms: bool = True,
    ) -> None:
        self.root, self.series = Path(root).expanduser(), unit != "slice"
        self._preparation = VolumePreparation(
            plane, window, nan, run_length, detrend, standardize, _mask_path(self.root, mask)
        )
        self._unit, self._slices, self._channels = unit, slices, channels
        self._columns, self._repetition_time = (first, last), repetition_time
        self._pseudonyms, self._key, self._skip = pseudonyms, key, unmatched == "skip"
        self._check_settings(labels)
        key = first if key is None else key  # else all rows are about one file, and any column does
        options = Labelling(
            labels, key, target, classes, task, group, split, subgroups, separator, unmatched, group_pattern, pseudonyms
        )
        self._files = LabelledFiles(
            root, options, _is_volume, what="volume", endings=ENDINGS, filed=lambda path: self._is_filed(path, pattern)
        )
        self.task, self.classes = self._files.task, self._files.classes
        self._cache, self._told = DecodeCache(), False

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths; a file that cannot be read has a row that cannot be loaded."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One slice (C, H, W), or one series (T, C, H, W): uint8, uint16 or float32."""
        name, cut, path = str(row["sample_id"]), row["_cut"], str(row["_path"])
        if cut.problem is not None:
            raise InputError(f"{name} {cut.problem}")
        slices = self._cache.get(path, lambda: self._slices_of(path, name))
        if not cut.places or max(cut.places) >= len(slices) or max(cut.frames) >= slices.shape[1]:
            raise InputError(f"{name} changed while it was read: start again.")
        chosen = slices[np.ix_(cut.places, cut.frames)].reshape(-1, *slices.shape[2:])
        images = [adapt_channels(image, self._channels) for image in chosen]
        return np.stack(images) if self.series else np.ascontiguousarray(images[0])

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The file, and its other half if it has one."""
        return [self.root / name for name in _halves(self.root, str(row["_path"]))]

    def fingerprint(self) -> str:
        """Of every file used, which part of it makes which sample, and the settings; one read of these files."""
        table = self._table
        paths = sorted({name for path in set(table["_path"]) for name in _halves(self.root, path)})
        made = [(path, *astuple(cut)) for path, cut in zip(table["_path"], table["_cut"], strict=True)]
        settings = [DECODER_VERSION, self.series, self._channels, *self._preparation.settings(), made]
        return content_digest(self.root, paths, settings, show_names=not self._pseudonyms)

    @cached_property
    def _table(self) -> pd.DataFrame:
        files, (first, last) = self._files, self._columns
        if first is not None and last is not None:
            rows = files.named(stretch_rows(files, self._key, first, last, skip=self._skip))
        else:
            rows = files.table()
        paths = sorted(set(rows["_path"]))
        with ThreadPoolExecutor() as pool:
            read = show_progress(pool.map(self._grid, paths), len(paths), "read headers")
            grids = dict(zip(paths, read, strict=True))
        self._check_ends(rows, grids)
        cuts = [list(self._cuts(row, grids[row["_path"]])) for row in rows.to_dict("records")]
        table = rows.iloc[np.repeat(np.arange(len(rows)), [len(found) for found in cuts])].reset_index(drop=True)
        table["_cut"] = pd.Series([cut for found in cuts for cut in found], dtype=object)
        table.insert(
            0, "sample_id", [name + cut.suffix for name, cut in zip(table["_file"], table["_cut"], strict=True)]
        )
        if self._unit == "time_series":
            self._add_times(table, grids)
        return table.drop(columns=["_file", "_first", "_last"], errors="ignore")

    def _grid(self, path: str) -> Grid | None:
        """The grid of a file, if it can be read; if not, `load` says why."""
        try:
            return read_grid(self.root / path)
        except InputError:
            return None

    def _cuts(self, row: Mapping[Hashable, Any], grid: Grid | None) -> Iterator[Cut]:
        """The samples of a file, or of a stretch of it; one that cannot be loaded if the file cannot be used."""
        frames = range(row["_first"], row["_last"] + 1) if "_first" in row else None
        suffix = "" if frames is None else f"_t{frames[0]:03d}"
        if grid is None:
            yield Cut(suffix)
        elif (problem := self._preparation.misfit(grid)) is not None:
            yield Cut(suffix, problem=problem)
        else:
            yield from cuts_of(grid, self._unit, self._preparation.plane, self._slices, frames)

    def _slices_of(self, path: str, name: str) -> np.ndarray:
        slices, filled = self._preparation.slices(self.root / path, name)
        if filled and not self._told:
            self._told = True
            logger.warning(
                "%s has %d voxel(s) that are NaN or infinite; there, and in other files, they become %s.",
                name,
                filled,
                self._preparation.nan,
            )
        return slices

    def _add_times(self, table: pd.DataFrame, grids: Mapping[str, Grid | None]) -> None:
        """Note seconds since the first frame, if they are known."""
        read = {path: grid for path, grid in grids.items() if grid is not None}
        steps = {path: self._repetition_time or grid.repetition_time for path, grid in read.items()}
        known = {path: step for path, step in steps.items() if step is not None}
        unknown = sorted(path for path, grid in read.items() if path not in known and grid.frames > 1)
        if known and unknown:
            raise InputError(
                f"{len(unknown)} file(s) do not say how many seconds lie between volumes, and others do: "
                f"{format_list(unknown)}; give it as `data.source.repetition_time`."
            )
        if known:
            pairs = zip(table["_path"], table["_cut"], strict=True)
            times = [[number * known.get(path, 1.0) for number in range(len(cut.frames))] for path, cut in pairs]
            table["_times"] = pd.Series(times, dtype=object)

    def _check_ends(self, rows: pd.DataFrame, grids: Mapping[str, Grid | None]) -> None:
        if "_last" not in rows:
            return
        counts = {path: grid.frames for path, grid in grids.items() if grid is not None}
        beyond = [
            f"{path} ({last} of {counts[path]})"
            for path, last in zip(rows["_path"], rows["_last"], strict=True)
            if last >= counts.get(path, math.inf)
        ]
        if beyond:
            raise InputError(
                f"{len(beyond)} row(s) have a `{self._columns[1]}` beyond the last volume, counted from 0: "
                f"{format_list(beyond)}; correct the table."
            )

    def _is_filed(self, path: str, pattern: str | None) -> bool:
        mask = self._preparation.mask
        if mask is not None and self.root / path == mask:
            return False
        return pattern is None or fnmatch.fnmatch(path, pattern)

    def _check_settings(self, labels: str | None) -> None:
        problems = self._preparation.problems()
        if self._unit not in UNITS:
            problems.append(f"`data.source.unit={self._unit}` must be {either(UNITS)}.")
        if self._channels not in (1, 3, None):
            problems.append(f"`data.source.channels={self._channels}` must be 1, 3 or null.")
        slices: object = self._slices
        if isinstance(slices, str) and slices != "middle":
            problems.append(f"`data.source.slices={slices}` must be middle, a list of numbers, or null.")
        first, last = self._columns
        if (first is None) != (last is None):
            problems.append("`data.source.first` and `data.source.last` go together: name both columns or none.")
        elif first is not None and labels is None:
            problems.append("`data.source.first` names a column of a table: set `data.source.labels`.")
        step = self._repetition_time
        if step is not None and not 0 < step < math.inf:
            problems.append(f"`data.source.repetition_time={step}` must be a positive number of seconds, or null.")
        if problems:
            raise InputError(problems)


def _is_volume(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _halves(root: Path, path: str) -> list[str]:
    """The file, and the voxels that lie beside a header."""
    if not path.lower().endswith(".hdr"):
        return [path]
    others = [path[:-4] + ending for ending in (".img", ".IMG", ".img.gz")]
    return [path, *[other for other in others if (root / other).is_file()][:1]]


def _mask_path(root: Path, mask: str | None) -> Path | None:
    if mask is None:
        return None
    inside = root / mask
    return inside if inside.is_file() else Path(mask).expanduser()
