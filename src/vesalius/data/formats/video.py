"""Video files as frames and the times at which they are shown, read with PyAV."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.config.errors import InputError

DECODER_VERSION = 1  # part of every store's key: raise it whenever a pixel may change

MAX_BYTES = 4 * 2**30  # of the frames kept of one clip
MAX_PIXELS = 2**26  # of a frame
_MAX_PACKETS = 2_000_000  # ten hours at 50 frames a second
# Only containers of video: a playlist could make the library open other files, and network addresses
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,gif,asf,flv,ogg"
_MICROSECONDS = 1e6


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip, in the order in which they are shown.

    Attributes:
        stamps: the time stamp of each frame in the file's own units, rising; frames are found again by it.
        times: seconds of each frame since the first.
        timed: whether frames carry these stamps; otherwise `stamps` number them in the order of decoding.
        size: height and width in pixels, as stored (before any rotation).
    """

    stamps: tuple[int, ...]
    times: tuple[float, ...]
    timed: bool
    size: tuple[int, int]


def select_frames(
    times: Sequence[float], *, fps: float | None = None, every: int = 1, max_frames: int | None = None
) -> list[int]:
    """Numbers of the frames to keep, rising.

    Args:
        times: seconds of each frame since the first, rising.
        fps: keep the frames shown nearest to 0, 1/fps, 2/fps, ... seconds, each once: never more than `fps` per second,
            and all of a slower clip.
        every: of these, keep every `every`-th, from the first on.
        max_frames: of these, keep at most this number, evenly spread from the first to the last; 1 keeps the middle.
    """
    kept = np.arange(len(times))
    if fps is not None:
        seconds = np.asarray(times, dtype=float)
        wanted = np.arange(math.floor(seconds[-1] * fps + 1e-6) + 1) / fps
        after = np.clip(np.searchsorted(seconds, wanted), 1, max(1, len(seconds) - 1))
        before = after - 1
        after = np.minimum(after, len(seconds) - 1)
        kept = np.unique(np.where(wanted - seconds[before] <= seconds[after] - wanted, before, after))
    kept = kept[::every]
    if max_frames is not None and len(kept) > max_frames:
        middle = (len(kept) - 1) / 2
        places = np.linspace(0, len(kept) - 1, max_frames) if max_frames > 1 else np.array([middle])
        kept = kept[np.rint(places).astype(int)]
    numbers: list[int] = kept.tolist()
    return numbers


def read_timeline(path: Path, name: str | None = None) -> Timeline:
    """Read the time stamps of a clip; frames are only decoded where the container has no stamps.

    Args:
        path: the file.
        name: what messages call it; its path unless given.

    Raises:
        InputError: if the file is no video, is damaged or cut short; if PyAV is not installed.
    """
    name = name or str(path)
    with _open(path, name) as (container, stream):
        size = (stream.codec_context.height, stream.codec_context.width)
        if 0 in size or math.prod(size) > MAX_PIXELS:
            raise InputError(f"{name} has frames of {size[1]}×{size[0]} pixels: it is damaged or must be shrunk.")
        shown, decoded = _packet_stamps(container, stream, name)
        step, kind = stream.time_base, container.format.name
    _check_trailer(path, kind, name)
    # AVI has a constant rate and stores when a frame is decoded; only the decoder knows the order of showing.
    # The stamps of a bare MPEG stream are invented by the library.
    timed = kind not in ("avi", "mpegvideo") and shown is not None
    stamps = shown if timed else decoded if kind == "avi" else None
    if stamps is None:
        stamps, step = _count_frames(path, name)
    if not stamps:
        raise InputError(f"{name} holds no frame: it is damaged or cut short; replace or delete it.")
    times = tuple(float((stamp - stamps[0]) * step) for stamp in stamps)
    return Timeline(tuple(stamps) if timed else tuple(range(len(stamps))), times, timed, size)


def read_frames(
    path: Path, timeline: Timeline, numbers: Sequence[int] | None = None, name: str | None = None
) -> np.ndarray:
    """Decode frames of a clip.

    Grey clips give one channel, all others three; more than 8 bits per channel give uint16 over its whole range. The
    rotation that a camera stored is applied (in quarter turns). Transparent pixels are laid over black. Pixels that
    are not square stay as they are.

    Args:
        path: the file.
        timeline: from `read_timeline`.
        numbers: which frames, rising; all unless given.
        name: what messages call the clip; its path unless given.

    Returns:
        (T, C, H, W) uint8 or uint16.

    Raises:
        InputError: if a frame is missing or damaged, if frames differ in size, or if they take too much memory.
    """
    name = name or str(path)
    numbers = range(len(timeline.stamps)) if numbers is None else numbers
    place_of = {timeline.stamps[number] if timeline.timed else number: place for place, number in enumerate(numbers)}
    frames: np.ndarray | None = None
    missing, last = set(place_of), -math.inf
    for number, frame in enumerate(_decode(path, name)):
        stamp = frame.pts if timeline.timed else number
        if stamp is not None and stamp <= last:
            raise InputError(f"{name} has times that do not rise from frame to frame: encode it again.")
        last = last if stamp is None else stamp
        if stamp not in missing:
            continue
        if frame.is_corrupt:
            break
        pixels = _pixels(frame)
        if frames is None:
            _check_memory(len(place_of), pixels, name)
            frames = np.empty((len(place_of), *pixels.shape), pixels.dtype)
        if pixels.shape != frames.shape[1:] or pixels.dtype != frames.dtype:
            raise InputError(
                f"{name} changes from {_describe(frames[0])} to {_describe(pixels)} at its frame {number}: cut it "
                "there."
            )
        frames[place_of[stamp]] = pixels
        missing.discard(stamp)
        if not missing:
            break
    if frames is None or missing:
        raise InputError(
            f"{name}: {len(missing)} of the {len(place_of)} frames wanted cannot be decoded; the clip is damaged or "
            "cut short: replace it, or encode it again."
        )
    return frames


def check_sampling(fps: float | None, every: int, max_frames: int | None, option: str) -> list[str]:
    """A sentence for each setting of `select_frames` that cannot be used."""
    problems = []
    if fps is not None and not 0 < fps < math.inf:
        problems.append(f"`{option}.fps={fps}` must be a positive number of frames per second, or null.")
    if every < 1:
        problems.append(f"`{option}.every={every}` must be 1 or more.")
    if max_frames is not None and max_frames < 1:
        problems.append(f"`{option}.max_frames={max_frames}` must be 1 or more, or null.")
    return problems


def library_version() -> str:
    """The version of PyAV, since another library may decode lossy clips a little differently."""
    return str(_av().__version__)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise InputError("reading video needs PyAV: type pip install 'vesalius[medical]'") from None
    av.logging.set_level(av.logging.PANIC)  # damage is reported in our own messages
    return av


@contextmanager
def _open(path: Path, name: str) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; any error of the library becomes one `InputError`."""
    av = _av()
    try:
        if not path.is_file():
            raise InputError(f"{name} does not exist or is no file: put it there or take it out of the data.")
        if path.stat().st_size == 0:
            raise InputError(f"{name} is empty (0 bytes): delete it or put the real clip there.")
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        with av.open(str(path.absolute()), container_options=options, metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic
            streams = [stream for stream in container.streams.video if not stream.disposition & cover]
            if not streams:
                raise InputError(f"{name} holds no video: take it out of the data.")
            if streams[0].codec_context is None:
                raise InputError(f"{name} is damaged, or in an encoding that PyAV cannot decode: encode it again.")
            streams[0].codec_context.thread_count = 1  # several clips are decoded at once already
            yield container, streams[0]
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(
            f"{name} cannot be read as a video ({reason}): it is damaged, cut short or of another kind; replace or "
            "delete it."
        ) from error


def _packet_stamps(container: Any, stream: Any, name: str) -> tuple[list[int] | None, list[int] | None]:
    """The time stamps of showing and of decoding of all frames to be shown, rising; None where some lack or repeat."""
    stamps: list[tuple[int | None, int | None]] = []
    count, start = 0, None
    for packet in container.demux(stream):
        if packet.dts is None and packet.pts is None and packet.size == 0:
            continue  # the end
        count += 1
        if packet.is_corrupt:
            raise InputError(f"{name} is damaged or cut short at its frame {count}: replace or delete it.")
        if count > _MAX_PACKETS:
            raise InputError(f"{name} has more than {_MAX_PACKETS} frames: cut it into several clips.")
        if packet.size == 0 or packet.is_discard:
            continue
        if start is None and packet.is_keyframe:
            start = packet.pts
        stamps.append((packet.pts, packet.dts))
    if count < stream.frames:
        raise InputError(f"{name} is cut short: {count} of its {stream.frames} frames are there; replace or delete it.")
    shown = _sorted_stamps([stamp for stamp, _ in stamps])
    decoded = _sorted_stamps([stamp for _, stamp in stamps])
    if shown is not None and start is not None:
        shown = [stamp for stamp in shown if stamp >= start]  # frames before the first complete one are not shown
        _check_end(container, stream, shown, name)
    return shown, decoded


def _sorted_stamps(stamps: Sequence[int | None]) -> list[int] | None:
    """The stamps, sorted; None where one lacks or two are the same."""
    known = {stamp for stamp in stamps if stamp is not None}
    return sorted(known) if len(known) == len(stamps) else None


def _check_trailer(path: Path, kind: str, name: str) -> None:
    if kind == "gif":
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64))
            if not file.read().rstrip(b"\0").endswith(b";"):
                raise InputError(f"{name} is cut short: its end is missing; replace or delete it.")


def _check_end(container: Any, stream: Any, stamps: Sequence[int], name: str) -> None:
    """Refuse a Matroska file that ends long before the end it states; other containers state their number of frames."""
    known = len(container.streams) == 1 and container.duration is not None
    if "matroska" not in container.format.name or not known or len(stamps) < 2:
        return
    steps = np.diff(stamps) * float(stream.time_base)
    seconds = container.duration / _MICROSECONDS
    end = stamps[-1] * float(stream.time_base)
    if seconds - end > 2.5 * steps.max():
        raise InputError(f"{name} is cut short: it ends after {end:.2f} of {seconds:.2f} s; replace or delete it.")


def _count_frames(path: Path, name: str) -> tuple[list[int], Any]:
    """The numbers of all frames, counted by decoding them, and the seconds between two."""
    with _open(path, name) as (container, stream):
        rate = stream.guessed_rate
        count = sum(1 for _ in container.decode(stream))
    if not rate:
        raise InputError(f"{name} has neither time stamps nor a frame rate: encode it again.")
    return list(range(count)), 1 / rate


def _decode(path: Path, name: str) -> Iterator[Any]:
    with _open(path, name) as (container, stream):
        yield from container.decode(stream)


def _pixels(frame: Any) -> np.ndarray:
    """(C, H, W) of one frame."""
    kind = frame.format
    deep = any(part.bits > 8 for part in kind.components)
    colours = [part for part in kind.components if not part.is_alpha]
    if len(colours) == 1 and not kind.has_palette and not kind.is_bayer:
        pixels = frame.to_ndarray(format="gray16le" if deep else "gray")[..., None]
    elif deep:
        pixels = frame.to_ndarray(format="rgb48le")
    elif kind.has_palette or len(colours) < len(kind.components):
        pixels = _over_black(frame.to_ndarray(format="rgba"))
    else:
        pixels = frame.to_ndarray(format="rgb24")
    turned = np.rot90(pixels, round(frame.rotation / 90))  # both turn anticlockwise
    return np.ascontiguousarray(turned.transpose(2, 0, 1))


def _over_black(rgba: np.ndarray) -> np.ndarray:
    if (rgba[..., 3] == 255).all():
        return rgba[..., :3]
    flat: np.ndarray = np.rint(rgba[..., :3] * (rgba[..., 3:] / 255.0)).astype(np.uint8)
    return flat


def _check_memory(count: int, pixels: np.ndarray, name: str) -> None:
    needed = count * pixels.nbytes
    if needed > MAX_BYTES:
        raise InputError(
            f"{name} takes {needed / 2**30:.1f} GiB in {count} frames, and at most {MAX_BYTES / 2**30:.0f} are read: "
            "keep fewer of them with `data.source.fps`, `data.source.every` or `data.source.max_frames`."
        )


def _describe(pixels: np.ndarray) -> str:
    channels, height, width = pixels.shape
    return f"{width}×{height} pixels of {channels} channel(s) in {pixels.dtype}"
