"""Clips that are folders of image files, one file per frame."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.formats.endings import IMAGE_ENDINGS, normalise_endings
from vesalius.data.formats.folders import wanted_names
from vesalius.data.formats.images import DECODER_VERSION, adapt_channels, decode_image
from vesalius.data.formats.video import check_sampling, select_frames
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.labelled_source import LabelledSource, expand_rows
from vesalius.data.sources.natural_order import natural_order


class FrameFolder(LabelledSource):
    """`root/class/clip/*` or `root/{train,val,test}/class/clip/*`, or clips anywhere with a table of targets.

    A clip is a folder with images straight in it. Its frames are in the natural order of their names: numbers count by
    value (`2.png` comes before `10.png`).

    Args:
        root: the folder.
        unit: `time_series`, or `slice`: every frame is an image.
        frame_rate: frames per second, which give the times of the frames; None if unknown.
        every: keep every `every`-th frame, from the first on.
        max_frames: of these, keep at most this number, evenly spread.
        channels: convert every frame to grey (1) or RGB (3); None leaves them as they are.
        extensions: endings of file names taken as frames, in upper or lower case.
        **options: those of `LabelledSource`; `key` names the folder of a clip.

    Raises:
        InputError: with every problem of these settings, the folder and the table.
    """

    what = "frame folder"
    folders = True

    def __init__(
        self,
        root: str,
        unit: Literal["time_series", "slice"] = "time_series",
        frame_rate: float | None = None,
        every: int = 1,
        max_frames: int | None = None,
        channels: Literal[1, 3] | None = None,
        extensions: Sequence[str] = IMAGE_ENDINGS,
        **options: Any,
    ) -> None:
        problems = check_sampling(None, every, max_frames, "data.source")
        if frame_rate is not None and not 0 < frame_rate < float("inf"):
            problems.append(f"`data.source.frame_rate={frame_rate}` must be a positive number, or null.")
        if problems:
            raise InputError(problems)
        self.unit, self.series, self.endings = unit, unit != "slice", normalise_endings(extensions)
        self._frame_rate, self._every, self._max_frames, self._channels = frame_rate, every, max_frames, channels
        super().__init__(root, **options)

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the folders' paths."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One clip (T, C, H, W), or one frame (C, H, W)."""
        name = str(row["sample_id"])
        frames = []
        for number, path in enumerate(row["_frames"]):
            frame_name = f"{name} (frame {number})" if self.series else name
            frames.append(adapt_channels(decode_image(self.root / path, frame_name), self._channels))
        kinds = sorted({f"{'×'.join(map(str, frame.shape))} {frame.dtype}" for frame in frames})
        if len(kinds) > 1:
            raise InputError(f"{name} has frames of several shapes or types ({', '.join(kinds)}): make them alike.")
        return np.stack(frames) if self.series else frames[0]

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files of the frames."""
        return [self.root / path for path in row["_frames"]]

    def fingerprint(self) -> str:
        """A digest of every frame used, and of the clip that it is part of; reads all frames once."""
        parts = [list(frames) for frames in self._table["_frames"]]
        paths = sorted({path for frames in parts for path in frames})
        return content_digest(
            self.root, paths, [DECODER_VERSION, self._channels, parts, *self.masking], show_names=not self._pseudonyms
        )

    @cached_property
    def _table(self) -> pd.DataFrame:
        clips = self.labelled_files()
        samples: list[tuple[int, str, tuple[str, ...], list[float]]] = []
        for row, (folder, name) in enumerate(zip(clips["_path"], clips["_file"], strict=True)):
            entries = os.listdir(self.root / folder)
            files = natural_order(wanted_names(entries, self.endings))
            numbers = select_frames(range(len(files)), every=self._every, max_frames=self._max_frames)
            paths = [f"{folder}/{files[number]}" for number in numbers]
            if self.series:
                rate = self._frame_rate or 1.0
                samples.append((row, name, tuple(paths), [(number - numbers[0]) / rate for number in numbers]))
            else:
                pairs = zip(numbers, paths, strict=True)
                samples += [(row, f"{name}_t{number:03d}", (path,), [0.0]) for number, path in pairs]
        table = expand_rows(clips, [(row, name) for row, name, _, _ in samples])
        table["_frames"] = pd.Series([frames for _, _, frames, _ in samples], dtype=object)
        if self.series and self._frame_rate is not None:
            table["_times"] = pd.Series([times for *_, times in samples], dtype=object)
        return table
