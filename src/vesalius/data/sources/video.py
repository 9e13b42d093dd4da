"""Video clips as series of frames, or as single images."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.formats.decode_cache import DecodeCache
from vesalius.data.formats.images import adapt_channels
from vesalius.data.formats.video import (
    DECODER_VERSION,
    ENDINGS,
    Timeline,
    check_sampling,
    library_version,
    read_frames,
    read_timeline,
    select,
)
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.labelled_files import LabelledFiles, Labelling
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.terminal import show_progress

UNITS = ("slice", "time_series")


class Video(Source):
    """Clips below a folder, with a table of targets or sorted into class folders.

    Frames carry the times that the file gives them, also where these are irregular. Which are kept, `fps`, `every`
    and `max_frames` say, in this order (see `select`). Without a column for the group, or a pattern, each file is a
    patient of its own.

    Args:
        root: the folder.
        labels, target, key, classes, task, group, split, subgroups, separator, unmatched, group_pattern,
            pseudonyms: see `Labelling`; without `labels` the folders are `root/class/*` or
            `root/{train,val,test}/class/*`.
        unit: `time_series`, or `slice`: every frame kept is an image.
        fps: keep at most so many frames a second, those shown nearest to each tick; None keeps all.
        every: of these, keep the first and then every so many.
        max_frames: of these, keep at most so many, evenly spread.
        channels: make every frame grey (1) or RGB (3); None leaves them as they are.
        extensions: file name endings taken as clips, in any case.

    Raises:
        InputError: with every problem of these settings, the folder and the table; if PyAV is not installed.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        target: str | Sequence[str] | None = None,
        key: str = "path",
        unit: Literal["time_series", "slice"] = "time_series",
        fps: float | None = None,
        every: int = 1,
        max_frames: int | None = None,
        channels: Literal[1, 3] | None = None,
        extensions: Sequence[str] = ENDINGS,
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
        self._version = library_version()
        problems = check_sampling(fps, every, max_frames, "data.source")
        problems += check_frames(unit, channels)
        if problems:
            raise InputError(problems)
        self._fps, self._every, self._max_frames, self._channels = fps, every, max_frames, channels
        self._pseudonyms, self.series = pseudonyms, unit != "slice"
        options = Labelling(
            labels, key, target, classes, task, group, split, subgroups, separator, unmatched, group_pattern, pseudonyms
        )
        endings = tuple(f".{ending.lower().lstrip('.')}" for ending in extensions)
        self._files = LabelledFiles(
            root, options, lambda name: name.lower().endswith(endings), what="clip", endings=endings
        )
        self.root = self._files.root
        self.task, self.classes = self._files.task, self._files.classes
        self._cache = DecodeCache()

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths; a file that cannot be read has a row that cannot be loaded."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One clip (T, C, H, W), or one frame (C, H, W): uint8 or uint16."""
        name, path = str(row["sample_id"]), str(row["_path"])
        timeline = self._timelines[path]
        if timeline is None:
            read_timeline(self.root / path, name)  # says why
            raise InputError(f"{name} changed while it was read: start again.")
        if self.series:
            return self._decoded(path, timeline, row["_frames"], name)
        kept = self._kept(timeline)
        frames = self._cache.get(path, lambda: self._decoded(path, timeline, kept, name))
        image: np.ndarray = frames[kept.index(row["_frames"][0])]
        return image

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The clip."""
        return [self.root / str(row["_path"])]

    def fingerprint(self) -> str:
        """Of every clip used, the frames kept, and the versions of decoder and library; one read of all clips."""
        table = self._table
        made = list(zip(table["_path"], map(list, table["_frames"]), strict=True))
        settings = [DECODER_VERSION, self._version, self._channels, made]
        return content_digest(self.root, sorted(set(table["_path"])), settings, show_names=not self._pseudonyms)

    def _decoded(self, path: str, timeline: Timeline, numbers: Sequence[int], name: str) -> np.ndarray:
        frames = read_frames(self.root / path, timeline, numbers, name)
        if self._channels in (None, frames.shape[1]):
            return frames
        return np.stack([adapt_channels(frame, self._channels) for frame in frames])

    def _kept(self, timeline: Timeline) -> list[int]:
        return select(timeline.times, fps=self._fps, every=self._every, max_frames=self._max_frames)

    @cached_property
    def _rows(self) -> pd.DataFrame:
        return self._files.table()

    @cached_property
    def _timelines(self) -> dict[str, Timeline | None]:
        """Of each clip; None for one that cannot be read."""
        paths = self._rows["_path"].tolist()
        with ThreadPoolExecutor() as pool:
            timelines = show_progress(pool.map(self._timeline, paths), len(paths), "read clips")
            return dict(zip(paths, timelines, strict=True))

    def _timeline(self, path: str) -> Timeline | None:
        try:
            return read_timeline(self.root / path)
        except InputError:
            return None

    @cached_property
    def _table(self) -> pd.DataFrame:
        samples: list[tuple[int, str, tuple[int, ...], list[float]]] = []
        for row, (path, name) in enumerate(zip(self._rows["_path"], self._rows["_file"], strict=True)):
            timeline = self._timelines[path]
            if timeline is None:
                samples.append((row, name, (), [0.0]))
                continue
            kept = self._kept(timeline)
            if self.series:
                start = timeline.times[kept[0]]
                samples.append((row, name, tuple(kept), [timeline.times[number] - start for number in kept]))
            else:
                samples += [(row, f"{name}_t{number:03d}", (number,), [0.0]) for number in kept]
        table = self._rows.iloc[[row for row, *_ in samples]].reset_index(drop=True)
        table.insert(0, "sample_id", [name for _, name, _, _ in samples])
        table["_frames"] = pd.Series([frames for _, _, frames, _ in samples], dtype=object)
        if self.series:
            table["_times"] = pd.Series([times for *_, times in samples], dtype=object)
        return table.drop(columns="_file")


def check_frames(unit: str, channels: int | None) -> list[str]:
    """A sentence for each of these settings that cannot be used."""
    problems = []
    if unit not in UNITS:
        problems.append(f"`data.source.unit={unit}` must be {' or '.join(UNITS)}.")
    if channels not in (None, 1, 3):
        problems.append(f"`data.source.channels={channels}` must be 1, 3 or null.")
    return problems
