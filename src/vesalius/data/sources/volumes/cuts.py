"""What of a volume, or of a series of volumes, is one sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from vesalius.data.formats.nifti import Grid, Plane

Unit = Literal["slice", "volume", "time_series"]
UNITS: tuple[str, ...] = get_args(Unit)
Slices = Sequence[int] | Literal["middle"] | None


@dataclass(frozen=True)
class Cut:
    """One sample's part of a file.

    Attributes:
        suffix: tells it from other samples of the file.
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
        slices: numbers of the slices wanted, from 0 (negative: from the end), "middle", or None for all.
        frames: numbers of the volumes wanted; None for all.
    """
    count = grid.slices(plane)
    numbers = range(count) if slices is None else [count // 2] if isinstance(slices, str) else slices
    places = [number + count * (number < 0) for number in numbers]
    wrong = [number for number, place in zip(numbers, places, strict=True) if not 0 <= place < count]
    if wrong:
        yield Cut(problem=f"has {count} slice(s), none of number {wrong[0]}: change `data.source.slices`.")
    elif unit == "time_series":
        yield from _time_series(grid, count, places, frames)
    else:
        for frame in range(grid.frames) if frames is None else frames:
            time = f"_t{frame:03d}" if grid.frames > 1 else ""
            if unit == "volume":
                yield Cut(time, (frame,), tuple(places))
            else:
                yield from (Cut(time + _place(place, count), (frame,), (place,)) for place in places)


def _time_series(grid: Grid, count: int, places: Sequence[int], frames: range | None) -> Iterator[Cut]:
    if grid.frames == 1:
        yield Cut(problem="is a single volume without time: take `data.source.unit=volume`, or leave it out.")
        return
    start = "" if frames is None else f"_t{frames[0]:03d}"
    for place in places:
        yield Cut(start + _place(place, count), tuple(frames or range(grid.frames)), (place,))


def _place(place: int, count: int) -> str:
    return f"_z{place:03d}" if count > 1 else ""
