"""The samples in a DICOM series: its slices, its volumes, or its slice positions over time."""

from collections.abc import Iterator
from dataclasses import dataclass

from vesalius.data.formats.dicom.headers import Frame
from vesalius.data.formats.dicom.index import SeriesFiles
from vesalius.data.formats.dicom.ordering import BadSeries, Grid, check_instances, check_orientation
from vesalius.data.sources.vocabulary import Slices, Unit, slice_numbers


@dataclass(frozen=True)
class Candidate:
    """Images that may become a sample.

    Attributes:
        series: the series that they are part of.
        frames: in order.
        suffix: makes the name of the series unique to this sample.
        times: seconds since the first frame.
        reason: why it cannot be used, and the cure; None if it can.
    """

    series: SeriesFiles
    frames: tuple[Frame, ...]
    suffix: str = ""
    times: tuple[float, ...] | None = None
    reason: str | None = None


def candidates_of(series: SeriesFiles, unit: Unit, slices: Slices = None) -> list[Candidate]:
    """The samples in a series; if it cannot be used, each has the reason.

    Args:
        series: the files.
        unit: "slice": every image, whatever the gaps between them; "volume": every phase, as a series of slices;
            "time_series": every slice position, as a series of phases.
        slices: the positions wanted of a time series.
    """
    try:
        return list(_candidates(series, unit, slices))
    except BadSeries as reason:
        # images stay single, since each may have its own row in a table
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
        raise BadSeries("its images have no position, so they are no volume: leave it out, or set another unit")
    if grid.has_time and len(grid.frames[0]) == 1:
        raise BadSeries(
            f"its {len(grid.frames)} images all have the same position (did an anonymiser write it?), so they are no "
            "volume: leave it out, or set another unit"
        )
    for phase, frames in enumerate(grid.frames):
        yield Candidate(series, frames, suffix=f"_t{phase:03d}" if grid.has_time else "")


def _time_series(series: SeriesFiles, grid: Grid, slices: Slices) -> Iterator[Candidate]:
    if not grid.has_time:
        raise BadSeries("it has a single phase, so it is no time series: leave it out, or set unit=volume")
    count = len(grid.frames[0])
    places, absent = slice_numbers(slices, count)
    if absent:
        raise BadSeries(f"it has {count} slice position(s), none of number {absent[0]}: change `data.source.slices`")
    for place in places:
        times = None if grid.times is None else tuple(phase[place] for phase in grid.times)
        frames = tuple(phase[place] for phase in grid.frames)
        yield Candidate(series, frames, suffix=f"_z{place:03d}" if count > 1 else "", times=times)
