"""Volumes and series of volumes in NIfTI files (or others that nibabel reads), as slices or as series."""

import fnmatch
import logging
import math
from collections import Counter
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
from vesalius.data.formats.acquisition import Plane
from vesalius.data.formats.decode_cache import DecodeCache
from vesalius.data.formats.endings import VOLUME_ENDINGS, other_half
from vesalius.data.formats.images import adapt_channels
from vesalius.data.formats.nifti import DECODER_VERSION, Grid, read_grid
from vesalius.data.remote.mirror import local_folder
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.folder_layout import find_file
from vesalius.data.sources.labelled_source import LabelledSource, expand_rows
from vesalius.data.sources.vocabulary import Slices, Unit, slices_problems
from vesalius.data.sources.volumes.cuts import Cut, cuts_of
from vesalius.data.sources.volumes.preparation import VolumePreparation
from vesalius.data.sources.volumes.segments import segment_rows
from vesalius.terminal import show_progress

logger = logging.getLogger("vesalius")


class Nifti(LabelledSource):
    """Files below a folder, with a table of targets or sorted into class folders.

    Files are reoriented to the closest canonical orientation and cut into upright slices (see `upright_slices`). A
    sample is, by `unit`: a `slice`; a `volume`, as a series of its slices; or a slice position of a 4-D file as a
    `time_series`, whose times are multiples of the repetition time (the times of the slices within it are ignored). The
    columns `first` and `last` of the table cut several samples out of a 4-D file.

    Args:
        root: the folder.
        labels: see `LabelledSource`.
        key: see `LabelledSource`; may be None with `first` and `last`.
        pattern: names (relative paths) of the files wanted, such as `*_bold.nii.gz`; None takes all but
            masks and segmentations next to others.
        unit: what a sample is.
        plane: `axial`, `coronal` or `sagittal` slices.
        slices: numbers of the slices wanted, from 0 (negative: from the end), "middle", or None for all.
        window: "auto" (unsigned 8-bit and 16-bit files and colour stay as they are, all others become float32), "none"
            (float32), or centre and width, which give uint16.
        nan: the value for NaN and infinite voxels; "error" refuses files that have any.
        first, last: columns of the table with the first and last volume of a sample, from 0.
        run_length: volumes per run, if a file holds several runs; None if it holds one.
        detrend: "linear" subtracts the line of each voxel over its run.
        standardize: "run" scales each voxel to mean 0 and standard deviation 1 over its run.
        mask: a file with the grid of all others; voxels where it is 0 become 0.
        repetition_time: seconds between volumes, instead of those in the headers.
        channels: convert every image to grey (1) or RGB (3); None leaves them as they are.
        **options: the other options of `LabelledSource`.

    Raises:
        InputError: with every problem of these settings, the folder and the table.
    """

    what = "volume"
    endings = VOLUME_ENDINGS
    unit: Unit

    def __init__(
        self,
        root: str,
        labels: str | None = None,
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
        **options: Any,
    ) -> None:
        self.unit, self.series, self._pattern = unit, unit != "slice", pattern
        self.takes_masks = pattern is not None
        folder = local_folder(root)
        mask_file = None if mask is None else find_file(folder, mask)
        self._preparation = VolumePreparation(plane, window, nan, run_length, detrend, standardize, mask_file)
        self._slices, self._channels = slices, channels
        self._columns, self._repetition_time = (first, last), repetition_time
        self._check_settings(labels)
        self._cache, self._has_warned = DecodeCache(), False
        super().__init__(folder, labels, key=key, **options)

    def is_wanted(self, path: str) -> bool:
        """Whether the path fits the pattern; the mask never does."""
        mask = self._preparation.mask
        if mask is not None and self.root / path == mask:
            return False
        return self._pattern is None or fnmatch.fnmatch(path, self._pattern)

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths; a file that cannot be read has a row that cannot be loaded."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One slice (C, H, W), or one series (T, C, H, W): uint8, uint16 or float32."""
        name, cut, path = str(row["sample_id"]), row["_cut"], str(row["_path"])
        if cut.problem is not None:
            raise InputError(f"{name} {cut.problem}")
        slices = self._cache.get(path, lambda: self._read_slices(path, name), self._uses[path])
        if not cut.places or max(cut.places) >= len(slices) or max(cut.frames) >= slices.shape[1]:
            raise InputError(f"{name} changed while it was read: start again.")
        chosen = slices[np.ix_(cut.places, cut.frames)].reshape(-1, *slices.shape[2:])
        images = [adapt_channels(image, self._channels) for image in chosen]
        return np.stack(images) if self.series else np.ascontiguousarray(images[0])

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The file, and its other half if it has one."""
        return [self.root / name for name in _halves(self.root, str(row["_path"]))]

    def fingerprint(self) -> str:
        """A digest of every file used, its parts that are samples, and the settings; reads these files once."""
        table = self._table
        paths = sorted({name for path in set(table["_path"]) for name in _halves(self.root, path)})
        parts = [(path, *astuple(cut)) for path, cut in zip(table["_path"], table["_cut"], strict=True)]
        settings = [DECODER_VERSION, self.series, self._channels, *self._preparation.settings(), parts, *self.masking]
        return content_digest(self.root, paths, settings, show_names=not self._pseudonyms)

    @cached_property
    def _table(self) -> pd.DataFrame:
        first, last = self._columns
        if self.labels is not None and first is not None and last is not None:
            rows = self.add_names(segment_rows(self.labels, self.paths, self._key, first, last, skip=self._skip))
        else:
            rows = self.labelled_files()
        paths = sorted(set(rows["_path"]))
        with ThreadPoolExecutor() as pool:
            read = show_progress(pool.map(self._grid, paths), len(paths), "read headers")
            grids = dict(zip(paths, read, strict=True))
        self._check_ends(rows, grids)
        cuts = [
            (number, row["_file"], cut)
            for number, row in enumerate(rows.to_dict("records"))
            for cut in self._cuts(row, grids[row["_path"]])
        ]
        table = expand_rows(rows, [(number, file + cut.suffix) for number, file, cut in cuts])
        table["_cut"] = pd.Series([cut for _, _, cut in cuts], dtype=object)
        plane = self._preparation.plane
        known = {path: grid.acquisition(plane) for path, grid in grids.items() if grid is not None}
        table["_acquisition"] = pd.Series([known.get(path) for path in table["_path"]], dtype=object)
        if self.unit == "time_series":
            self._add_times(table, grids)
        return table.drop(columns=["_first", "_last"], errors="ignore")

    @cached_property
    def _uses(self) -> dict[str, int]:
        """How many samples each file has."""
        return dict(Counter(self._table["_path"]))

    def _grid(self, path: str) -> Grid | None:
        """The grid of a file; None if it cannot be read, for which `load` raises the reason."""
        try:
            return read_grid(self.root / path)
        except InputError:
            return None

    def _cuts(self, row: Mapping[Hashable, Any], grid: Grid | None) -> Iterator[Cut]:
        """The samples in a file, or in a segment of it; one that cannot be loaded if the file cannot be used."""
        frames = range(row["_first"], row["_last"] + 1) if "_first" in row else None
        suffix = "" if frames is None else f"_t{frames[0]:03d}"
        if grid is None:
            yield Cut(suffix)
        elif (problem := self._preparation.mismatch(grid)) is not None:
            yield Cut(suffix, problem=problem)
        else:
            yield from cuts_of(grid, self.unit, self._preparation.plane, self._slices, frames)

    def _read_slices(self, path: str, name: str) -> np.ndarray:
        slices, filled = self._preparation.slices(self.root / path, name)
        if filled and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s has %d voxel(s) that are NaN or infinite; in it, and in other files, they become %s.",
                name,
                filled,
                self._preparation.nan,
            )
        return slices

    def _add_times(self, table: pd.DataFrame, grids: Mapping[str, Grid | None]) -> None:
        """Add the seconds of each frame since the first, if they are known."""
        read = {path: grid for path, grid in grids.items() if grid is not None}
        steps = {path: self._repetition_time or grid.repetition_time for path, grid in read.items()}
        known = {path: step for path, step in steps.items() if step is not None}
        unknown = sorted(path for path, grid in read.items() if path not in known and grid.frames > 1)
        if known and unknown:
            raise InputError(
                f"{len(unknown)} file(s) do not state the seconds between volumes, and others do: "
                f"{format_list(unknown)}; set `data.source.repetition_time`."
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

    def _check_settings(self, labels: str | None) -> None:
        problems = self._preparation.problems() + slices_problems(self._slices)
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


def _halves(root: Path, path: str) -> list[str]:
    """The relative paths of a file and of its other half, if it has one."""
    other = other_half(root / path)
    return [path] if other is None else [path, Path(path).with_name(other.name).as_posix()]
