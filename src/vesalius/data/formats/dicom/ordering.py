"""The order of the images of a series: by position along the normal of the slices, then by time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.data.formats.dicom.headers import Frame

ORIENTATION_TOLERANCE = 0.01  # of the direction cosines, 0.6 degrees
POSITION_TOLERANCE = 0.01  # mm, along the normal
IN_PLANE_TOLERANCE = 0.5  # mm
MISSING = 1.5  # times the usual gap
IRREGULAR = 0.2  # of the usual gap


class BadSeries(Exception):
    """A series that cannot be ordered: the reason and the cure, without anything that identifies the patient."""


@dataclass(frozen=True)
class Grid:
    """A series in order.

    Attributes:
        frames: phases of slices; `frames[t][z]`, z by rising position along the normal.
        times: seconds since the first phase at the same position, `times[t][z]`; None where they are unknown.
    """

    frames: tuple[tuple[Frame, ...], ...]
    times: tuple[tuple[float, ...], ...] | None

    @property
    def has_time(self) -> bool:
        """Whether there are several phases."""
        return len(self.frames) > 1


def check_instances(frames: Sequence[Frame]) -> None:
    """Refuse images that occur twice.

    Raises:
        BadSeries: if any does.
    """
    names = [(frame.instance, frame.number) for frame in frames if frame.instance]
    twice = len(names) - len(set(names))
    if twice:
        raise BadSeries(f"{twice} image(s) occur twice (the same SOPInstanceUID in two files): delete the copies")


def group_by_orientation(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each orientation, and those that have none."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if _is_same(frame.orientation, group[0].orientation):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def check_orientation(frames: Sequence[Frame]) -> None:
    """Refuse slices of several orientations, as in a localiser.

    Raises:
        BadSeries: if there are several.
    """
    count = len(group_by_orientation(frames))
    if count > 1:
        raise BadSeries(f"its slices have {count} orientations (a localiser?): split it, or leave it out")


def arrange(frames: Sequence[Frame], *, slice_gap: float | None = None, phases: int | None = None) -> Grid:
    """Sort the images of one series by position, then by time.

    Images at the same position are phases. They are sorted by the first of TemporalPositionIdentifier, time within a
    cine, AcquisitionTime, TriggerTime, ContentTime and InstanceNumber that differs among the images of every position.

    Args:
        frames: of one echo.
        slice_gap: mm between slices by the headers; used where there are only two positions.
        phases: the number of phases by the headers.

    Raises:
        BadSeries: for images that occur twice, several orientations, sizes or frames of reference, unequal phases, a
            missing slice, uneven gaps, or phases without an order.
    """
    check_instances(frames)
    check_orientation(frames)
    _check_uniform(frames)
    columns = _columns(frames)
    counts = sorted({len(column) for column in columns})
    if len(counts) > 1:
        raise BadSeries(
            f"its phases are unequal: of its {len(columns)} slice positions some have {counts[0]} image(s), some "
            f"{counts[-1]}; add the missing files, or leave it out"
        )
    _check_gaps(columns, slice_gap)
    if counts[0] == 1:
        return Grid((tuple(column[0] for column in columns),), None)
    ordered, by_identifier = _by_time(columns)
    if by_identifier and phases is not None and phases > counts[0]:
        raise BadSeries(f"it has {counts[0]} of {phases} phases: add the missing files, or leave it out")
    return Grid(tuple(zip(*ordered, strict=True)), _seconds(ordered))


def spanning_window(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """Centre and width of one window that spans those of all frames, so that equal values are equally bright.

    None where all windows are equal, or where a frame has none that is known.
    """
    windows = {frame.window for frame in frames}
    known = [window for window in windows if window is not None]
    if len(windows) < 2 or len(known) < len(windows):
        return None
    low, high = min(low for low, _ in known), max(high for _, high in known)
    return ((low + high) / 2, high - low) if high > low else None


def series_window(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """`spanning_window` of the frames of a series; None where one has no position and may be an image by itself."""
    return None if any(frame.position is None for frame in frames) else spanning_window(frames)


def _is_same(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < ORIENTATION_TOLERANCE


def _check_uniform(frames: Sequence[Frame]) -> None:
    for what, values in (
        ("sizes or types of pixels", {frame.shape for frame in frames}),
        ("frames of reference", {frame.frame_of_reference for frame in frames}),
    ):
        if len(values) > 1:
            raise BadSeries(f"its images have {len(values)} {what}: split it, or leave it out")


def _columns(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each position, by rising position; frames without any position are one column."""
    placed = [frame for frame in frames if frame.position is not None and frame.orientation is not None]
    if not placed:
        return [list(frames)]
    if len(placed) < len(frames):
        raise BadSeries(f"{len(frames) - len(placed)} of its images have no position: complete the files, or split it")
    turn = np.array(placed[0].orientation).reshape(2, 3)
    axes = np.vstack([turn, np.cross(turn[0], turn[1])])
    places = np.array([frame.position for frame in placed]) @ axes.T
    columns: list[list[int]] = []
    for index in np.argsort(places[:, 2], kind="stable"):
        if columns and places[index, 2] - places[columns[-1][0], 2] < POSITION_TOLERANCE:
            columns[-1].append(int(index))
        else:
            columns.append([int(index)])
    if any(np.ptp(places[column, :2], axis=0).max() > IN_PLANE_TOLERANCE for column in columns):
        raise BadSeries("it has images side by side in one plane (several stations?): split it, or leave it out")
    return [[placed[index] for index in column] for column in columns]


def _check_gaps(columns: Sequence[Sequence[Frame]], slice_gap: float | None) -> None:
    """Refuse a missing slice; one missing at an end cannot be noticed."""
    if len(columns) < 2:
        return
    first = columns[0][0]
    turn = np.array(first.orientation).reshape(2, 3)
    normal = np.cross(turn[0], turn[1])
    gaps = np.diff([float(np.dot(column[0].position or (), normal)) for column in columns])
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2]) if len(gaps) > 1 else slice_gap or float(gaps[0])
    wide = gaps > MISSING * usual
    if wide.any():
        lost = int(np.rint(gaps[wide] / usual - 1).sum())
        raise BadSeries(
            f"about {lost} slice(s) are missing (a gap of {gaps.max():.1f} mm where {usual:.1f} mm are usual): add the "
            "files, or leave it out"
        )
    if len(gaps) > 1 and (np.abs(gaps - usual) > IRREGULAR * usual).any():
        raise BadSeries(
            f"the gaps between its slices are uneven ({gaps.min():.1f} to {gaps.max():.1f} mm): split it, or leave "
            "it out"
        )


Clock = Callable[[Frame], float | int | tuple[int, ...] | None]
_IDENTIFIER: Clock = lambda frame: frame.temporal  # noqa: E731
_STAMPS: tuple[Clock, ...] = (
    lambda frame: frame.elapsed,
    lambda frame: frame.acquired,
    lambda frame: frame.trigger,
    lambda frame: frame.content,  # last: images are often reconstructed in another order than they were acquired in
)
_CLOCKS: tuple[Clock, ...] = (_IDENTIFIER, *_STAMPS, lambda frame: frame.order)


def _by_time(columns: Sequence[Sequence[Frame]]) -> tuple[list[list[Frame]], bool]:
    """The frames of each position by the first clock on which they all differ; whether that is the identifier."""
    for clock in _CLOCKS:
        if all(_distinct([clock(frame) for frame in column]) for column in columns):
            return [sorted(column, key=clock) for column in columns], clock is _IDENTIFIER  # type: ignore[arg-type]
    raise BadSeries(
        f"{len(columns[0])} images have the same position and no order (no time, no number): number them, or leave it "
        "out"
    )


def _distinct(values: Sequence[object]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _seconds(columns: Sequence[Sequence[Frame]]) -> tuple[tuple[float, ...], ...] | None:
    """Seconds since the first phase, by the first time stamp that rises with the order at every position."""
    for stamp in _STAMPS:
        stamps = [[stamp(frame) for frame in column] for column in columns]
        if any(value is None for column in stamps for value in column):
            continue
        seconds = np.array(stamps, dtype=np.float64)
        if (np.diff(seconds, axis=1) > 0).all():
            since_first = (seconds - seconds[:, :1]).T
            return tuple(tuple(float(f"{value:.6f}") for value in phase) for phase in since_first)
    return None
