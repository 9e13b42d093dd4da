"""Volumes in NIfTI files (or other formats that nibabel reads): voxels in one orientation, and upright slices."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage

from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import Acquisition, Plane
from vesalius.data.formats.endings import VOLUME_ENDINGS, has_ending
from vesalius.data.formats.inflation import is_bomb
from vesalius.data.formats.window import Window, edges_of

DECODER_VERSION = 1  # part of every store's key: raise it whenever a voxel may change

_orientations: Any = nib.orientations  # nibabel types it only in part

MAX_VOXELS = 2**31  # 8 GiB as float32
_INFLATION = {".gz": 1032, ".mgz": 1032, ".bz2": 2**20, ".zst": 2**20, ".mnc": 2**20}  # most bytes from one byte
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_AFNI_SECONDS = {77001: 1e-3, 77002: 1.0}
_QUOTED = re.compile(r"\s*(['\"])[^'\"]*\1")


@dataclass(frozen=True)
class Grid:
    """The geometry of a file by its header, in closest canonical orientation.

    Attributes:
        shape: voxels from left to right, posterior to anterior, inferior to superior.
        frames: volumes over time; 1 for a 3-D file.
        repetition_time: seconds between two volumes; None for a 3-D file, or where the header does not state it.
        affine: (4, 4) from voxel numbers to millimetres (right, anterior, superior).
    """

    shape: tuple[int, int, int]
    frames: int
    repetition_time: float | None
    affine: np.ndarray

    def slices(self, plane: Plane) -> int:
        """The number of slices of a volume in a plane."""
        return self.shape[_axis(plane)]

    def acquisition(self, plane: Plane) -> Acquisition:
        """What the header states of the slices in a plane."""
        sides = np.linalg.norm(self.affine[:3, :3], axis=0) * self.shape
        height, width = (float(sides[axis]) for axis in _rows_and_columns(plane))
        return Acquisition(plane=plane, extent=(height, width))


@dataclass(frozen=True)
class Volume:
    """The voxels of a file.

    Attributes:
        grid: its geometry.
        voxels: (X, Y, Z, T, C), the axes as in `grid`; uint8, uint16 or float32. C is 3 for colour, else 1.
        filled: the number of voxels that were NaN or infinite, and were filled.
    """

    grid: Grid
    voxels: np.ndarray
    filled: int = 0


def read_grid(path: Path, name: str | None = None) -> Grid:
    """Read the header of a file and check it against the file's size; no voxel is read.

    Args:
        path: the file; any volume that nibabel knows (NIfTI, Analyze, MGH, MINC 1, AFNI, PAR/REC, ECAT).
        name: what messages call it; its path unless given.

    Raises:
        InputError: if the file is no volume, is damaged, or has fewer voxels than its header claims.
    """
    return _open(path, name or str(path))[1]


def read_volume(
    path: Path, name: str | None = None, *, window: Window = "auto", nan: float | Literal["error"] = 0.0
) -> Volume:
    """Read the voxels of a file.

    In this order: the scaling of the header is applied (in 32-bit floats), axes are swapped and flipped to the
    closest canonical orientation (no voxel is interpolated), NaN and infinite voxels are filled, the window is applied.

    Args:
        path: the file.
        name: what messages call it; its path unless given.
        window: `auto` keeps 8-bit and 16-bit unsigned files without scaling, and colour, as they are, and
            converts all others to float32 (by the type on disk, never by the content, so that files of one kind get
            one type); `none` converts all but colour to float32; centre and width give uint16, 0 to 65535 from the
            lower to the upper edge of the window.
        nan: the value that NaN and infinite voxels get; `error` refuses them.

    Raises:
        InputError: as `read_grid` does; if the file ends early; for complex voxels; for NaN with `nan="error"`.
    """
    name = name or str(path)
    image, grid = _open(path, name)
    try:
        data = _voxels(image, name, native=window == "auto")
        oriented = _reorient(data, image.affine)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise _unreadable(path, name, error) from error
    filled = 0
    if oriented.dtype.kind == "f":
        oriented, filled = _fill(oriented, name, nan)
        if not isinstance(window, str):
            oriented = _apply_window(oriented, window)
    return Volume(grid, oriented, filled)


def _apply_window(voxels: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map the window to 0..65535 (uint16), and values outside to the nearer end."""
    low, high = edges_of(window)
    mapped = np.empty(voxels.shape, np.uint16)
    for number, part in enumerate(voxels):  # the whole in 64 bits would take several times the memory
        scaled = (part.astype(np.float64) - low) * (65535 / (high - low))
        mapped[number] = np.rint(np.clip(scaled, 0, 65535))
    return mapped


def upright_slices(voxels: np.ndarray, plane: Plane) -> np.ndarray:
    """Slices in the orientation in which a screen shows them, without a copy.

    Args:
        voxels: (X, Y, Z, ..., C) in canonical orientation.
        plane: `axial`: rows from anterior to posterior, columns from the patient's right to the left (the
            radiological convention), slices from inferior to superior. `coronal`: rows from superior to inferior,
            columns from right to left, slices from posterior to anterior. `sagittal`: rows from superior to
            inferior, columns from anterior to posterior, slices from left to right.

    Returns:
        (S, ..., C, H, W).
    """
    rows, columns = _rows_and_columns(plane)
    flipped = np.flip(voxels, (rows, columns))
    return np.moveaxis(flipped, (_axis(plane), -1, rows, columns), (0, -3, -2, -1))


def _axis(plane: Plane) -> int:
    return {"axial": 2, "coronal": 1, "sagittal": 0}[plane]


def _rows_and_columns(plane: Plane) -> tuple[int, int]:
    """The axes of the volume that run down and across a slice."""
    return {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[plane]


def _open(path: Path, name: str) -> tuple[Any, Grid]:
    """The image, its voxels still on disk, and its grid."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{name} is no file: name the volume in it.")
    except OSError as error:
        raise InputError(f"{name} cannot be opened ({error.strerror}): put it back, or see its permissions.") from error
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes): delete it or put the real volume there.")
    try:
        # not mapped: if a mapped file is cut short while it is read, the process ends
        image = nib.load(path, mmap=False) if _takes_mmap(path) else nib.load(path)
        if not isinstance(image, SpatialImage):
            raise InputError(f"{name} holds no volume but a {type(image).__name__}: take it out of the data.")
        grid = _grid(image, name)
        _check_size(image, path, name)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged header can make nibabel raise nearly anything
        raise _unreadable(path, name, error) from error
    return image, grid


def _takes_mmap(path: Path) -> bool:
    return has_ending(path.name, (*VOLUME_ENDINGS, ".img"))


def _grid(image: Any, name: str) -> Grid:
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4:
        raise InputError(f"{name} has {len(shape)} dimensions; a volume has 3, or 4 with time: split it into such.")
    if min(shape) < 1:
        raise InputError(f"{name} has no voxel (its shape is {shape}): delete it.")
    if len(shape) == 4 and isinstance(image, nib.Minc1Image):
        raise InputError(f"{name} is a MINC file with time, whose axes come in no fixed order: convert it to NIfTI.")
    sides, frames = (*shape, 1)[:3], shape[3] if len(shape) == 4 else 1
    orientation = _orientation(image.affine, name)
    canonical = [0, 0, 0]
    for side, (axis, _) in zip(sides, orientation, strict=True):
        canonical[int(axis)] = side
    affine = image.affine @ _orientations.inv_ornt_aff(orientation, sides)
    grid_shape = (canonical[0], canonical[1], canonical[2])
    return Grid(grid_shape, frames, _repetition_time(image.header) if frames > 1 else None, affine)


def _orientation(affine: np.ndarray, name: str) -> np.ndarray:
    """(3, 2): the canonical axis that each axis of the file becomes, and its direction."""
    if affine is not None and np.isfinite(affine).all():
        orientation: np.ndarray = _orientations.io_orientation(affine)
        if not np.isnan(orientation).any():
            return orientation
    raise InputError(f"{name} has no orientation in space (its affine is singular): write a valid affine.")


def _repetition_time(header: Any) -> float | None:
    """Seconds between two volumes; None where the header does not state them, or not in which unit."""
    step, unit = 0.0, 0.0
    if isinstance(header, nib.Nifti1Header):
        step, unit = float(header["pixdim"][4]), _SECONDS.get(_time_unit(header), 0.0)
    elif isinstance(header, nib.MGHImage.header_class):
        step, unit = float(header["tr"]), 1e-3
    elif isinstance(header, nib.brikhead.AFNIHeader) and "TAXIS_NUMS" in header.info:
        step, unit = float(header.info["TAXIS_FLOATS"][1]), _AFNI_SECONDS.get(header.info["TAXIS_NUMS"][2], 0.0)
    seconds = step * unit
    return seconds if np.isfinite(seconds) and seconds > 0 else None


def _time_unit(header: Any) -> str:
    return str(header.get_xyzt_units()[1])


def _check_size(image: Any, path: Path, name: str) -> None:
    """Refuse a file that is too small for what its header claims, before memory is allocated for it."""
    voxels = int(np.prod([int(side) for side in image.shape], dtype=object))
    if voxels > MAX_VOXELS:
        raise InputError(
            f"{name} has {voxels} voxels by its header, and {MAX_VOXELS} is the most: it is damaged, or must be cut "
            "into several files."
        )
    holder = image.file_map.get("image") if image.file_map else None
    file = Path(holder.filename) if holder is not None and holder.filename else path
    size = file.stat().st_size
    offset = int(getattr(image.dataobj, "offset", 0) or 0)
    needed = voxels * image.get_data_dtype().itemsize + offset
    if needed > size * _INFLATION.get(file.suffix.lower(), 1):
        raise InputError(
            f"{name} should have {needed} bytes of voxels by its header, but has only {size} bytes: it is damaged or "
            "cut short; replace or delete it."
        )
    if is_bomb(size, max(needed, 4 * voxels)) and file.suffix.lower() in _INFLATION:
        raise InputError(
            f"{name} unpacks to {needed} bytes from {size}, as no real volume does: it is damaged, or written to fill "
            "the memory; delete it."
        )


def _voxels(image: Any, name: str, *, native: bool) -> np.ndarray:
    """(X, Y, Z, T, C), in the orientation of the file; the scaling applied."""
    stored = image.get_data_dtype()
    if stored.kind == "c":
        raise InputError(f"{name} holds complex voxels: save their magnitude (or phase) instead.")
    if stored.names is not None:
        return _colour(np.asanyarray(image.dataobj), name)
    scaling = getattr(image.dataobj, "slope", 1), getattr(image.dataobj, "inter", 0)
    plain = isinstance(image.dataobj, nib.arrayproxy.ArrayProxy) and scaling == (1, 0)
    if native and plain and stored.kind == "u" and stored.itemsize <= 2:
        data = np.asanyarray(image.dataobj).astype(stored.newbyteorder("="), copy=False)
    else:
        with np.errstate(all="ignore"):  # what overflows becomes infinite, and is filled later
            data = np.asanyarray(image.dataobj, dtype=np.float32)
    return _five_axes(data, 1)


def _colour(data: np.ndarray, name: str) -> np.ndarray:
    names = data.dtype.names or ()
    if names not in (("R", "G", "B"), ("R", "G", "B", "A")):
        raise InputError(
            f"{name} has voxels of the parts {', '.join(names)}: save it with one number per voxel, or RGB."
        )
    colours = np.stack([data[part] for part in "RGB"], axis=-1)
    if "A" in names and (data["A"] < 255).any():  # laid over black
        colours = np.rint(colours * (data["A"][..., None] / 255.0)).astype(np.uint8)
    return _five_axes(colours, 3)


def _five_axes(data: np.ndarray, channels: int) -> np.ndarray:
    x, y, z, frames = (*data.shape[: data.ndim - (channels > 1)], 1, 1)[:4]
    return data.reshape(x, y, z, frames, channels)


def _reorient(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    oriented: np.ndarray = _orientations.apply_orientation(data, _orientations.io_orientation(affine))
    return oriented


def _fill(voxels: np.ndarray, name: str, nan: float | Literal["error"]) -> tuple[np.ndarray, int]:
    bad = ~np.isfinite(voxels)
    count = int(bad.sum())
    if count and isinstance(nan, str):
        raise InputError(
            f"{name} has {count} voxel(s) that are NaN or infinite: repair it, or set data.source.nan to a value."
        )
    return (np.where(bad, np.float32(nan), voxels) if count else voxels), count


def _unreadable(path: Path, name: str, error: Exception) -> InputError:
    """One sentence from any error of a damaged file, without the path, which must not reach a log."""
    if isinstance(error, ImageFileError) and "work out file type" in str(error):
        return InputError(f"{name} is in no format of volumes that nibabel knows: convert it to NIfTI.")
    if isinstance(error, ImportError):
        return InputError(f"{name} is in a format that needs {error.name} to be read: convert it to NIfTI.")
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name} lacks its other half (a header and its voxels are two files): put both there.")
    words = _QUOTED.sub("", str(error)).replace(str(path), "the file").split()
    names = {path.name, path.stem}
    reason = " ".join(word for word in words if "/" not in word and "\\" not in word and word not in names)
    return InputError(
        f"{name} cannot be read as a volume ({reason or type(error).__name__}): it is damaged or of another kind; "
        "replace or delete it."
    )
