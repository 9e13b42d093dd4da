"""What of a series is one sample: a slice, a volume, or a place over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vesalius.data.formats.dicom.headers import Frame
from vesalius.data.formats.dicom.index import SeriesFiles
from vesalius.data.formats.dicom.ordering import BadSeries, Grid, check_instances, check_orientation

Unit = Literal["slice", "volume", "time_series"]
UNITS = ("slice", "volume", "time_series")
Slices = Sequence[int] | Literal["middle"] | None


@dataclass(frozen=True)
class Candidate:
    """What may become a sample.

    Attributes:
        series: that it is part of.
        frames: in order.
        suffix: tells it from other samples of the series.
        times: seconds since the first frame.
        reason: why it cannot be used, and the cure.
    """

    series: SeriesFiles
    frames: tuple[Frame, ...]
    suffix: str = ""
    times: tuple[float, ...] | None = None
    reason: str | None = None


def candidates_of(series: SeriesFiles, unit: Unit, slices: Slices = None) -> list[Candidate]:
    """The samples that a series gives; where it cannot be used, they carry the reason.

    Args:
        series: the files.
        unit: "slice" gives every image, whatever the gaps between them; "volume" every phase as a series of slices;
            "time_series" every position as a series of phases.
        slices: numbers of the positions wanted of a time series; None for all.
    """
    try:
        return list(_candidates(series, unit, slices))
    except BadSeries as reason:
        # single images stay single, since each may have a row of its own in a table
        parts = [(frame,) for frame in series.frames] if unit == "slice" else [series.frames]
        return [Candidate(series, frames, reason=str(reason)) for frames in parts]


def _candidates(series: SeriesFiles, unit: Unit, slices: Slices) -> Iterator[Candidate]:
    if unit == "slice":
        check_instances(series.frames)
        check_orientation(series.frames)
        for frame in sorted(series.frames, key=lambda frame: (frame.path, frame.number or 0)):
            yield Candidate(series, (frame,))
        return
    grid = series.arrange()
    yield from _volumes(series, grid) if unit == "volume" else _time_series(series, grid, slices)


def _volumes(series: SeriesFiles, grid: Grid) -> Iterator[Candidate]:
    if grid.has_time and grid.frames[0][0].position is None:
        raise BadSeries("its images have no position, so they are no volume: leave it out, or take another unit")
    for phase, frames in enumerate(grid.frames):
        yield Candidate(series, frames, suffix=f"_t{phase:03d}" if grid.has_time else "")


def _time_series(series: SeriesFiles, grid: Grid, slices: Slices) -> Iterator[Candidate]:
    if not grid.has_time:
        raise BadSeries("it has a single phase, so it is no time series: leave it out, or take unit=volume")
    count = len(grid.frames[0])
    picked = range(count) if slices is None else [count // 2] if isinstance(slices, str) else slices
    for place in picked:
        if not 0 <= place < count:
            raise BadSeries(f"it has {count} slice position(s), none of number {place}: change `data.source.slices`")
        times = None if grid.times is None else tuple(phase[place] for phase in grid.times)
        frames = tuple(phase[place] for phase in grid.frames)
        yield Candidate(series, frames, suffix=f"_z{place:03d}" if count > 1 else "", times=times)
