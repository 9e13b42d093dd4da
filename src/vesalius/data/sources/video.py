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
from vesalius.data.formats.endings import VIDEO_ENDINGS, normalise_endings
from vesalius.data.formats.images import adapt_channels
from vesalius.data.formats.video import (
    DECODER_VERSION,
    Timeline,
    check_sampling,
    library_version,
    read_frames,
    read_timeline,
    select_frames,
)
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.labelled_source import LabelledSource, expand_rows
from vesalius.terminal import show_progress


class Video(LabelledSource):
    """Clips below a folder, with a table of targets or sorted into class folders.

    Frames have the times that the file gives them, also irregular ones. `fps`, `every` and `max_frames` choose the
    frames, in this order (see `select_frames`).

    Args:
        root: the folder.
        unit: `time_series`, or `slice`: every frame is an image.
        fps: keep at most this number of frames per second, those shown nearest to each tick; None keeps all.
        every: of these, keep every `every`-th, from the first on.
        max_frames: of these, keep at most this number, evenly spread.
        channels: convert every frame to grey (1) or RGB (3); None leaves them as they are.
        extensions: endings of file names taken as clips, in upper or lower case.
        **options: those of `LabelledSource`.

    Raises:
        InputError: with every problem of these settings, the folder and the table; if PyAV is not installed.
    """

    what = "clip"

    def __init__(
        self,
        root: str,
        unit: Literal["time_series", "slice"] = "time_series",
        fps: float | None = None,
        every: int = 1,
        max_frames: int | None = None,
        channels: Literal[1, 3] | None = None,
        extensions: Sequence[str] = VIDEO_ENDINGS,
        **options: Any,
    ) -> None:
        self._version = library_version()
        problems = check_sampling(fps, every, max_frames, "data.source")
        if problems:
            raise InputError(problems)
        self.unit, self.series, self.endings = unit, unit != "slice", normalise_endings(extensions)
        self._fps, self._every, self._max_frames, self._channels = fps, every, max_frames, channels
        self._cache = DecodeCache()
        super().__init__(root, **options)

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths; a file that cannot be read has a row that cannot be loaded."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One clip (T, C, H, W), or one frame (C, H, W): uint8 or uint16."""
        name, path = str(row["sample_id"]), str(row["_path"])
        timeline = self._timelines[path]
        if timeline is None:
            read_timeline(self.root / path, name)  # raises the reason
            raise InputError(f"{name} changed while it was read: start again.")
        if self.series:
            return self._decode(path, timeline, row["_frames"], name)
        chosen = self._select(timeline)
        frames = self._cache.get(path, lambda: self._decode(path, timeline, chosen, name), len(chosen))
        image: np.ndarray = frames[chosen.index(row["_frames"][0])]
        return image

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The clip."""
        return [self.root / str(row["_path"])]

    def fingerprint(self) -> str:
        """A digest of every clip used, the frames, and the versions of decoder and library; reads all clips once."""
        table = self._table
        parts = list(zip(table["_path"], map(list, table["_frames"]), strict=True))
        settings = [DECODER_VERSION, self._version, self._channels, parts, *self.masking]
        return content_digest(self.root, sorted(set(table["_path"])), settings, show_names=not self._pseudonyms)

    def _decode(self, path: str, timeline: Timeline, numbers: Sequence[int], name: str) -> np.ndarray:
        frames = read_frames(self.root / path, timeline, numbers, name)
        if self._channels in (None, frames.shape[1]):
            return frames
        return np.stack([adapt_channels(frame, self._channels) for frame in frames])

    def _select(self, timeline: Timeline) -> list[int]:
        return select_frames(timeline.times, fps=self._fps, every=self._every, max_frames=self._max_frames)

    @cached_property
    def _clips(self) -> pd.DataFrame:
        return self.labelled_files()

    @cached_property
    def _timelines(self) -> dict[str, Timeline | None]:
        """The timeline of each clip; None for one that cannot be read."""
        paths = self._clips["_path"].tolist()
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
        for row, (path, name) in enumerate(zip(self._clips["_path"], self._clips["_file"], strict=True)):
            timeline = self._timelines[path]
            if timeline is None:
                samples.append((row, name, (), [0.0]))
                continue
            chosen = self._select(timeline)
            if self.series:
                start = timeline.times[chosen[0]]
                samples.append((row, name, tuple(chosen), [timeline.times[number] - start for number in chosen]))
            else:
                samples += [(row, f"{name}_t{number:03d}", (number,), [0.0]) for number in chosen]
        table = expand_rows(self._clips, [(row, name) for row, name, _, _ in samples])
        table["_frames"] = pd.Series([frames for _, _, frames, _ in samples], dtype=object)
        if self.series:
            table["_times"] = pd.Series([times for *_, times in samples], dtype=object)
        return table
