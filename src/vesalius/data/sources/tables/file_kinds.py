"""What a file that a manifest names can be, and how each kind is read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pydicom

from vesalius.config.errors import InputError
from vesalius.data.formats.decode_cache import DecodeCache
from vesalius.data.formats.dicom.decode import DECODER_VERSION as DICOM_VERSION
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.formats.dicom.values import Window
from vesalius.data.formats.images import DECODER_VERSION as IMAGE_VERSION
from vesalius.data.formats.images import decode_image
from vesalius.data.formats.nifti import DECODER_VERSION as NIFTI_VERSION
from vesalius.data.formats.nifti import ENDINGS, Plane, read_volume, upright
from vesalius.data.formats.video import DECODER_VERSION as VIDEO_VERSION
from vesalius.data.formats.video import ENDINGS as CLIPS
from vesalius.data.formats.video import library_version, read_frames, read_timeline

Unit = Literal["slice", "volume", "time_series"]
UNITS: tuple[str, ...] = get_args(Unit)
Kind = Literal["image", "dicom", "nifti", "video", "folder"]

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
VOLUMES = (*ENDINGS, ".mnc", ".brik", ".head")
_PAIRS = ((".hdr", ".img"), (".HEAD", ".BRIK"))  # header and voxels in two files

_cache = DecodeCache()


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        unit: what a sample is.
        window: grey values of DICOM and NIfTI files: "auto", "none", or centre and width.
        plane: how the volumes of NIfTI files are cut into slices.
    """

    unit: Unit
    window: Window
    plane: Plane


@dataclass(frozen=True)
class Part:
    """One sample's part of a file or folder.

    Attributes:
        frames: absolute path and number (None for all there are) of each frame or file, in order.
        times: seconds since the first frame, where a series has times.
        window: one window for all frames, where those of a DICOM series would differ.
        problem: why it cannot be read, in words that name nobody.
    """

    frames: tuple[tuple[str, int | None], ...]
    times: tuple[float, ...] | None = None
    window: Window | None = None
    problem: str | None = None

    @property
    def files(self) -> list[str]:
        """The files, each once, with the other half of those that come in pairs."""
        return list(dict.fromkeys(half for file, _ in self.frames for half in _halves(file)))


def load_part(part: Part, name: str, reading: Reading) -> np.ndarray:
    """Decode one sample.

    Args:
        part: what `list_parts` gives.
        name: what messages call it.
        reading: as for `list_parts`.

    Returns:
        (C, H, W) where `unit` is `slice`, else (T, C, H, W).

    Raises:
        InputError: if it cannot be decoded, its frames differ, or it is a series where an image was expected.
    """
    if part.problem is not None:
        raise InputError(f"{name}: {part.problem}.")
    window = part.window if part.window is not None and reading.window == "auto" else reading.window
    pieces = []
    for file, members in groupby(part.frames, key=lambda frame: frame[0]):
        numbers = [number for _, number in members if number is not None]
        pieces.append(_read(Path(file), numbers or None, name, window, reading.plane))
    kinds = sorted({f"{piece.dtype.name} {'×'.join(map(str, piece.shape[1:]))}" for piece in pieces})
    if len(kinds) > 1:
        raise InputError(f"{name} has frames of several types or shapes ({', '.join(kinds)}): make them alike.")
    series = np.concatenate(pieces)
    if reading.unit != "slice":
        return series
    if len(series) != 1:
        raise InputError(f"{name} has {len(series)} frames where one was expected: correct its header.")
    image: np.ndarray = series[0]
    return image


def kind_of(path: Path) -> Kind:
    """What a path is, by its name; what has no known ending is taken for DICOM."""
    if path.is_dir():
        return "folder"
    name = path.name.lower()
    if name.endswith(".img"):  # DICOM files are called so too
        return "nifti" if path.with_suffix(".hdr").exists() else "dicom"
    endings: tuple[tuple[Kind, tuple[str, ...]], ...] = (("image", IMAGES), ("nifti", VOLUMES), ("video", CLIPS))
    return next((kind for kind, known in endings if name.endswith(known)), "dicom")


def versions(files: Sequence[str]) -> dict[str, object]:
    """What the pixels of some files depend on beside their content: the version of each reader they need."""
    known: dict[str, Callable[[], object]] = {
        "image": lambda: IMAGE_VERSION,
        "dicom": lambda: (DICOM_VERSION, pydicom.__version__),
        "nifti": lambda: NIFTI_VERSION,
        "video": lambda: (VIDEO_VERSION, library_version()),
        "folder": lambda: None,
    }
    return {kind: known[kind]() for kind in sorted({kind_of(Path(file)) for file in files})}


def _halves(file: str) -> list[str]:
    stem, ending = os.path.splitext(file)
    other = [twin for pair in _PAIRS for twin in pair if ending in pair and twin != ending]
    return [file, *(stem + twin for twin in other if os.path.exists(stem + twin))]


def with_bits(image: np.ndarray, bits: int | None, name: str) -> np.ndarray:
    """Whole numbers of the type wanted, the whole range of the one type becoming that of the other.

    Raises:
        InputError: for floating-point values, whose range nobody knows.
    """
    if bits is None or image.dtype.itemsize * 8 == bits:
        return image
    if image.dtype.kind == "f":
        raise InputError(
            f"{name} has floating-point values, which `data.source.bits={bits}` cannot scale: "
            "set `data.source.window=[center,width]`."
        )
    if bits == 16:
        return image.astype(np.uint16) * np.uint16(257)
    return ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _read(path: Path, numbers: Sequence[int] | None, name: str, window: Window, plane: Plane) -> np.ndarray:
    """Some frames of a file, or all: (T, C, H, W)."""
    kind = kind_of(path)
    if kind == "image":
        return decode_image(path, name)[None]
    if kind == "dicom":
        return decode_file(path, name, window=window, frames=numbers)
    read = partial(_clip, path) if kind == "video" else partial(_slices, path, window, plane)
    if numbers is None:
        return read(name)
    try:
        frames = _cache.get((str(path), path.stat().st_mtime_ns, window, plane), lambda: read(""))
    except (InputError, OSError):
        frames = read(name)  # says what is wrong, by the sample's own name
    return frames[list(numbers)]


def _clip(path: Path, name: str) -> np.ndarray:
    return read_frames(path, read_timeline(path, name), name=name)


def _slices(path: Path, window: Window, plane: Plane, name: str) -> np.ndarray:
    """All slices of all volumes of a NIfTI file, (S * T, C, H, W): place by place, the volumes of each in order."""
    ends = window if isinstance(window, str) else (window[0] - window[1] / 2, window[0] + window[1] / 2)
    slices = upright(read_volume(path, name, window=ends).voxels, plane)
    return slices.reshape(-1, *slices.shape[2:])
