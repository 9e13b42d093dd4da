"""Clips that come as folders of image files, one file a frame."""

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.formats.images import DECODER_VERSION, adapt_channels, decode_image
from vesalius.data.formats.video import check_sampling, select
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.image_folder import EXTENSIONS
from vesalius.data.sources.labelled_files import LabelledFiles, Labelling
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.video import check_frames


class FrameFolder(Source):
    """`root/class/clip/*` or `root/{train,val,test}/class/clip/*`, or clips anywhere with a table of targets.

    A clip is a folder with images straight in it. Its frames are in the natural order of their names, in which numbers
    count by value (`2.png` comes before `10.png`).

    Args:
        root: the folder.
        labels, target, key, classes, task, group, split, subgroups, separator, unmatched, group_pattern,
            pseudonyms: see `Labelling`; the key names the folder of a clip.
        unit: `time_series`, or `slice`: every frame kept is an image.
        frame_rate: frames a second, from which their times follow; None if nobody knows.
        every: keep the first frame and then every so many.
        max_frames: of these, keep at most so many, evenly spread.
        channels: make every frame grey (1) or RGB (3); None leaves them as they are.
        extensions: file name endings taken as frames, in any case.

    Raises:
        InputError: with every problem of these settings, the folder and the table.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        target: str | Sequence[str] | None = None,
        key: str = "path",
        unit: Literal["time_series", "slice"] = "time_series",
        frame_rate: float | None = None,
        every: int = 1,
        max_frames: int | None = None,
        channels: Literal[1, 3] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
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
        problems = check_sampling(None, every, max_frames, "data.source") + check_frames(unit, channels)
        if frame_rate is not None and not 0 < frame_rate < float("inf"):
            problems.append(f"`data.source.frame_rate={frame_rate}` must be a positive number, or null.")
        if problems:
            raise InputError(problems)
        self._frame_rate, self._every, self._max_frames, self._channels = frame_rate, every, max_frames, channels
        self._pseudonyms, self.series = pseudonyms, unit != "slice"
        self._endings = tuple(f".{ending.lower().lstrip('.')}" for ending in extensions)
        options = Labelling(
            labels, key, target, classes, task, group, split, subgroups, separator, unmatched, group_pattern, pseudonyms
        )
        self._files = LabelledFiles(
            root, options, self._is_frame, what="folder of frames", endings=self._endings, folders=True
        )
        self.root = self._files.root
        self.task, self.classes = self._files.task, self._files.classes

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the folders' paths."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One clip (T, C, H, W), or one frame (C, H, W)."""
        name = str(row["sample_id"])
        frames = []
        for number, path in enumerate(row["_frames"]):
            called = f"{name} (frame {number})" if self.series else name
            frames.append(adapt_channels(decode_image(self.root / path, called), self._channels))
        kinds = sorted({f"{'×'.join(map(str, frame.shape))} {frame.dtype}" for frame in frames})
        if len(kinds) > 1:
            raise InputError(f"{name} has frames of several shapes or types ({', '.join(kinds)}): make them alike.")
        return np.stack(frames) if self.series else frames[0]

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The frames' files."""
        return [self.root / path for path in row["_frames"]]

    def fingerprint(self) -> str:
        """Of every frame used, and the clip that it is of; one read of all frames."""
        parts = [list(frames) for frames in self._table["_frames"]]
        paths = sorted({path for frames in parts for path in frames})
        return content_digest(
            self.root, paths, [DECODER_VERSION, self._channels, parts], show_names=not self._pseudonyms
        )

    @cached_property
    def _table(self) -> pd.DataFrame:
        rows = self._files.table()
        samples: list[tuple[int, str, tuple[str, ...], list[float]]] = []
        for row, (folder, name) in enumerate(zip(rows["_path"], rows["_file"], strict=True)):
            files = natural_order([entry for entry in os.listdir(self.root / folder) if self._is_frame(entry)])
            numbers = select(range(len(files)), every=self._every, max_frames=self._max_frames)
            paths = [f"{folder}/{files[number]}" for number in numbers]
            if self.series:
                rate = self._frame_rate or 1.0
                samples.append((row, name, tuple(paths), [(number - numbers[0]) / rate for number in numbers]))
            else:
                pairs = zip(numbers, paths, strict=True)
                samples += [(row, f"{name}_t{number:03d}", (path,), [0.0]) for number, path in pairs]
        table = rows.iloc[[row for row, *_ in samples]].reset_index(drop=True)
        table.insert(0, "sample_id", [name for _, name, _, _ in samples])
        table["_frames"] = pd.Series([frames for _, _, frames, _ in samples], dtype=object)
        if self.series and self._frame_rate is not None:
            table["_times"] = pd.Series([times for *_, times in samples], dtype=object)
        return table.drop(columns="_file")

    def _is_frame(self, name: str) -> bool:
        return not name.startswith(".") and name.lower().endswith(self._endings)


def natural_order(names: Sequence[str]) -> list[str]:
    """Names sorted as people do: runs of digits by their value, letters without regard to case."""

    def parts(name: str) -> tuple[list[tuple[int, int, str]], str]:
        split = re.split(r"(\d+)", name)
        return [(1, int(part), "") if part.isdecimal() else (0, 0, part.casefold()) for part in split], name

    return sorted(names, key=parts)
