"""The samples in the files that a manifest names."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.headers import Frame, read_image_header
from vesalius.data.formats.dicom.index import SeriesFiles, index_folder
from vesalius.data.formats.dicom.ordering import BadSeries, Grid, arrange, series_window, spanning_window
from vesalius.data.formats.dicom.reading import NotDicom
from vesalius.data.formats.endings import IMAGE_ENDINGS, kind_of
from vesalius.data.formats.folders import wanted_names
from vesalius.data.formats.nifti import read_grid
from vesalius.data.formats.video import read_timeline
from vesalius.data.sources.natural_order import natural_order
from vesalius.data.sources.tables.file_reader import Part, ReadOptions
from vesalius.data.sources.vocabulary import Unit


def list_parts(path: Path, options: ReadOptions) -> list[Part]:
    """The samples in a file or folder: at least one, which may be one that cannot be read."""
    kind, whole = kind_of(path), ((str(path), None),)
    try:
        if kind == "image":
            return [Part(whole)]
        if kind == "nifti":
            return _volume_parts(path, options)
        if kind == "video":
            return _clip_parts(path, options.unit)
        if kind == "folder" and (images := _image_names(path)):
            frames = tuple((str(path / name), None) for name in images)
            return [Part((frame,)) for frame in frames] if options.unit == "slice" else [Part(frames)]
        return _dicom_parts(path, options.unit)
    except BadSeries as error:
        return [Part(whole, problem=str(error))]
    except NotDicom:
        return [Part(whole, problem="it is no image, DICOM, NIfTI or video file: correct the path, or convert it")]
    except InputError:  # reading it raises the reason, by the name of the sample
        what = "the folder holds neither image files nor DICOM files that can be read: correct the path"
        return [Part(whole, problem=what if kind == "folder" else None)]


def _volume_parts(path: Path, options: ReadOptions) -> list[Part]:
    grid = read_grid(path, path.name)
    count, volumes = grid.slices(options.plane), grid.frames
    frames = np.arange(count * volumes).reshape(count, volumes)
    if options.unit == "slice":
        chosen, times = frames.reshape(-1, 1), None
    elif options.unit == "volume":
        chosen, times = frames.T, None
    elif volumes == 1:
        raise BadSeries("it is a single volume without time: set data.source.unit=volume")
    else:
        step = grid.repetition_time
        chosen, times = frames, None if step is None else tuple(number * step for number in range(volumes))
    acquisition = grid.acquisition(options.plane)
    return [
        Part(tuple((str(path), number) for number in numbers), times, acquisition=acquisition)
        for numbers in chosen.tolist()
    ]


def _clip_parts(path: Path, unit: Unit) -> list[Part]:
    timeline = read_timeline(path, path.name)
    if unit == "slice":
        return [Part(((str(path), number),)) for number in range(len(timeline.times))]
    if unit == "volume":
        raise BadSeries("it is a clip over time and no volume: set data.source.unit=time_series")
    return [Part(((str(path), None),), timeline.times)]


def _image_names(folder: Path) -> list[str]:
    """The images straight in a folder, in natural order."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    return natural_order(wanted_names(names, IMAGE_ENDINGS))


def _dicom_parts(path: Path, unit: Unit) -> list[Part]:
    """The frames of a DICOM file, or of a folder with the files of one series."""
    if not path.is_dir():
        header = read_image_header(path, path.name)
        if unit == "slice" or len(header.frames) == 1:
            return [_dicom_part(path.parent, [frame]) for frame in header.frames]
        return _cut(path.parent, arrange(header.frames, slice_gap=header.slice_gap, phases=header.phases), unit)
    index = index_folder(path, progress=False)
    if index.damaged:
        raise BadSeries(f"{len(index.damaged)} DICOM file(s) of the folder are damaged: replace or delete them")
    if unit != "slice" and len(index.series) != 1:
        raise BadSeries(f"the folder holds {len(index.series)} series: give each a folder and a row of its own")
    return [part for series in index.series for part in series_parts(path, series, unit)]


def series_parts(root: Path, series: SeriesFiles, unit: Unit, *, one_window: bool = False) -> list[Part]:
    """The samples in a DICOM series, in order.

    Args:
        root: the folder that was indexed.
        series: of its index.
        unit: what a sample is.
        one_window: whether slices are shown in one window that spans those of the whole series, as `Dicom` does; else
            each in its own.

    Raises:
        BadSeries: if they cannot be ordered, for another unit than slices.
    """
    if unit != "slice":
        return _cut(root, series.arrange(), unit)
    shared = series_window(series.frames) if one_window else None
    return [
        Part(((str(root / frame.path), frame.number),), window=shared, acquisition=frame.acquisition)
        for frame in _sort_frames(series.frames)
    ]


def _sort_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Frames in the order of a series, or by number if they are none."""
    try:
        return [frame for phase in arrange(frames).frames for frame in phase]
    except BadSeries:  # they may still be good images
        return sorted(frames, key=lambda frame: (frame.order, frame.path))


def _cut(root: Path, grid: Grid, unit: Unit) -> list[Part]:
    """A volume for each phase, or a time series for each slice position."""
    if unit == "volume":
        return [_dicom_part(root, phase) for phase in grid.frames]
    if not grid.has_time:
        raise BadSeries("its slices have no phases: set data.source.unit=volume")
    places = list(zip(*grid.frames, strict=True))
    times = [None] * len(places) if grid.times is None else list(zip(*grid.times, strict=True))
    return [_dicom_part(root, place, stamps) for place, stamps in zip(places, times, strict=True)]


def _dicom_part(root: Path, frames: Sequence[Frame], times: tuple[float, ...] | None = None) -> Part:
    window, files = spanning_window(frames), tuple((str(root / frame.path), frame.number) for frame in frames)
    return Part(files, times, window, acquisition=frames[0].acquisition)
