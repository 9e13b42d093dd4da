"""The samples in a volume, or in a series of volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vesalius.data.formats.acquisition import Plane
from vesalius.data.formats.nifti import Grid
from vesalius.data.sources.vocabulary import Slices, Unit, slice_numbers


@dataclass(frozen=True)
class Cut:
    """The part of a file that is one sample.

    Attributes:
        suffix: makes the name of the file unique to this sample.
        frames: numbers of the volumes over time.
        places: numbers of the slices.
        problem: why it cannot be used, and the cure; the rest of a sentence.
    """

    suffix: str = ""
    frames: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    problem: str | None = None


def cuts_of(grid: Grid, unit: Unit, plane: Plane, slices: Slices, frames: range | None = None) -> Iterator[Cut]:
    """The samples in a file.

    Args:
        grid: of the file.
        unit: what a sample is: a `slice`; a `volume`, whose slices are the frames of a series; or, for each slice
            position, a `time_series`.
        plane: of the slices.
        slices: the slices wanted.
        frames: numbers of the volumes wanted; None for all.
    """
    count = grid.slices(plane)
    places, absent = slice_numbers(slices, count)
    if absent:
        yield Cut(problem=f"has {count} slice(s), none of number {absent[0]}: change `data.source.slices`.")
    elif unit == "time_series":
        yield from _time_series(grid, count, places, frames)
    else:
        for frame in range(grid.frames) if frames is None else frames:
            time = f"_t{frame:03d}" if grid.frames > 1 else ""
            if unit == "volume":
                yield Cut(time, (frame,), tuple(places))
            else:
                yield from (Cut(time + _suffix(place, count), (frame,), (place,)) for place in places)


def _time_series(grid: Grid, count: int, places: Sequence[int], frames: range | None) -> Iterator[Cut]:
    if grid.frames == 1:
        yield Cut(problem="is a single volume without time: set `data.source.unit=volume`, or leave it out.")
        return
    start = "" if frames is None else f"_t{frames[0]:03d}"
    for place in places:
        yield Cut(start + _suffix(place, count), tuple(frames or range(grid.frames)), (place,))


def _suffix(place: int, count: int) -> str:
    return f"_z{place:03d}" if count > 1 else ""
