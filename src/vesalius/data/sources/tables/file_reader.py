"""Reading the samples of a manifest, from files of any kind."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom

from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import UNKNOWN, Acquisition, Plane
from vesalius.data.formats.decode_cache import DecodeCache
from vesalius.data.formats.dicom.decode import DECODER_VERSION as DICOM_VERSION
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.formats.endings import kind_of, other_half
from vesalius.data.formats.images import DECODER_VERSION as IMAGE_VERSION
from vesalius.data.formats.images import decode_image
from vesalius.data.formats.nifti import DECODER_VERSION as NIFTI_VERSION
from vesalius.data.formats.nifti import read_volume, upright_slices
from vesalius.data.formats.video import DECODER_VERSION as VIDEO_VERSION
from vesalius.data.formats.video import library_version, read_frames, read_timeline
from vesalius.data.formats.window import Window
from vesalius.data.sources.vocabulary import Unit

_cache = DecodeCache()


@dataclass(frozen=True)
class ReadOptions:
    """The options for reading files.

    Attributes:
        unit: what a sample is.
        window: of the grey values of DICOM and NIfTI files.
        plane: of the slices of NIfTI volumes.
    """

    unit: Unit
    window: Window
    plane: Plane


@dataclass(frozen=True)
class Part:
    """The part of a file or folder that is one sample.

    Attributes:
        frames: absolute path and number (None for all) of each frame or file, in order.
        times: seconds since the first frame; None for a series without times.
        window: one window for all frames of a DICOM series whose own windows differ.
        problem: why it cannot be read, in words that identify nobody.
        acquisition: what the header of its first frame states.
    """

    frames: tuple[tuple[str, int | None], ...]
    times: tuple[float, ...] | None = None
    window: Window | None = None
    problem: str | None = None
    acquisition: Acquisition = UNKNOWN

    @property
    def files(self) -> list[str]:
        """The files, each once, with the other half of a header or of its voxels."""
        return list(dict.fromkeys(half for file, _ in self.frames for half in _halves(file)))


def load_part(part: Part, name: str, options: ReadOptions) -> np.ndarray:
    """Decode one sample.

    Args:
        part: from `list_parts`.
        name: what messages call it.
        options: as for `list_parts`.

    Returns:
        (C, H, W) where `unit` is `slice`, else (T, C, H, W).

    Raises:
        InputError: if it cannot be decoded, its frames differ, or it is a series where an image was expected.
    """
    if part.problem is not None:
        raise InputError(f"{name}: {part.problem}.")
    window = part.window if part.window is not None and options.window == "auto" else options.window
    pieces = []
    for file, members in groupby(part.frames, key=lambda frame: frame[0]):
        numbers = [number for _, number in members if number is not None]
        pieces.append(_read(Path(file), numbers or None, name, window, options.plane))
    kinds = sorted({f"{piece.dtype.name} {'×'.join(map(str, piece.shape[1:]))}" for piece in pieces})
    if len(kinds) > 1:
        raise InputError(f"{name} has frames of several types or shapes ({', '.join(kinds)}): make them alike.")
    series = np.concatenate(pieces)
    if options.unit != "slice":
        return series
    if len(series) != 1:
        raise InputError(f"{name} has {len(series)} frames where one was expected: correct its header.")
    image: np.ndarray = series[0]
    return image


def forget_files(folder: Path) -> None:
    """Drop what is cached of the files below a folder, for files that are read once and then deleted."""
    inside = f"{folder}{os.sep}"
    _cache.drop(lambda key: key[0].startswith(inside))


def decoder_versions(files: Sequence[str]) -> dict[str, object]:
    """The version of each decoder that some files need: the pixels depend on it, besides the content of the files."""
    known: dict[str, Callable[[], object]] = {
        "image": lambda: IMAGE_VERSION,
        "dicom": lambda: (DICOM_VERSION, pydicom.__version__),
        "nifti": lambda: NIFTI_VERSION,
        "video": lambda: (VIDEO_VERSION, library_version()),
        "folder": lambda: None,
    }
    return {kind: known[kind]() for kind in sorted({kind_of(Path(file)) for file in files})}


def _halves(file: str) -> list[str]:
    other = other_half(Path(file))
    return [file] if other is None else [file, str(other)]


def _read(path: Path, numbers: Sequence[int] | None, name: str, window: Window, plane: Plane) -> np.ndarray:
    """Some frames of a file, or all: (T, C, H, W)."""
    kind = kind_of(path)
    if kind == "image":
        return decode_image(path, name)[None]
    if kind == "dicom":
        return decode_file(path, name, window=window, frames=numbers)
    read = partial(_read_clip, path) if kind == "video" else partial(_read_slices, path, window, plane)
    if numbers is None:
        return read(name)
    try:
        frames = _cache.get((str(path), path.stat().st_mtime_ns, window, plane), lambda: read(""))
    except (InputError, OSError):
        frames = read(name)  # raises the reason, by the name of the sample
    return frames[list(numbers)]


def _read_clip(path: Path, name: str) -> np.ndarray:
    return read_frames(path, read_timeline(path, name), name=name)


def _read_slices(path: Path, window: Window, plane: Plane, name: str) -> np.ndarray:
    """All slices of all volumes of a NIfTI file, (S * T, C, H, W): for each slice position, its volumes in order."""
    slices = upright_slices(read_volume(path, name, window=window).voxels, plane)
    return slices.reshape(-1, *slices.shape[2:])
