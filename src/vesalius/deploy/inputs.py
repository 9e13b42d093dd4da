"""The images and series in files, folders and tables that a model is to be applied to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.index import index_folder
from vesalius.data.formats.dicom.ordering import BadSeries
from vesalius.data.formats.endings import is_mask, kind_of
from vesalius.data.formats.folders import walk
from vesalius.data.sources.natural_order import natural_order
from vesalius.data.sources.tables.csv_table import read_table, require_columns
from vesalius.data.sources.tables.file_reader import Part, load_part
from vesalius.data.sources.tables.file_samples import list_parts, series_parts
from vesalius.data.sources.tables.manifest_paths import resolve_paths
from vesalius.deploy.contract import InputContract

TABLE_ENDINGS = (".csv", ".tsv")


@dataclass(frozen=True)
class ModelInput:
    """One image, or one series, as the model takes it.

    Attributes:
        images: (1, C, H, W) for an image, (T, C, H, W) for a series.
        seconds: (T,) since the first frame; None for an image.
    """

    images: NDArray[Any]
    seconds: NDArray[np.float32] | None


@dataclass(frozen=True)
class InputFile:
    """A part of a file or folder that is one input.

    Attributes:
        name: relative to the folder it was found in, with the number of the part where a file has several.
        part: where its frames are.
    """

    name: str
    part: Part

    def read(self, contract: InputContract) -> ModelInput:
        """Decode it.

        Raises:
            InputError: if it cannot be read, or is not what the contract asks for.
        """
        loaded = load_part(self.part, self.name, contract.read)
        # A run that set the seconds between frames itself did so for all its files, whatever they state.
        times = self.part.times if contract.frame_seconds is None else None
        return from_array(loaded, self.name, contract, times)


def from_array(
    array: NDArray[Any], name: str, contract: InputContract, times: Sequence[float] | None = None
) -> ModelInput:
    """An input from pixels in memory.

    Args:
        array: an image (H, W) or (C, H, W); a series (T, H, W) or (T, C, H, W); in the run's value range.
        name: what messages call it.
        contract: of the model.
        times: seconds of each frame of a series since the first.

    Raises:
        InputError: if it is not what the contract asks for.
    """
    axes = 4 if contract.series else 3
    if array.ndim == axes - 1:
        array = np.expand_dims(array, -3)
    if array.ndim != axes or 0 in array.shape:
        shape = "a series (T, C, H, W)" if contract.series else "an image (C, H, W)"
        raise InputError(f"{name} has the shape {array.shape}, and the model takes {shape}.")
    frames = np.stack([contract.image(frame, name) for frame in (array if contract.series else array[None])])
    return ModelInput(frames, _seconds(times, len(frames), name, contract) if contract.series else None)


def _seconds(times: Sequence[float] | None, count: int, name: str, contract: InputContract) -> NDArray[np.float32]:
    if not contract.timed:
        return np.arange(count, dtype=np.float32)
    if contract.frame_seconds is not None and times is None:
        return (np.arange(count) * contract.frame_seconds).astype(np.float32)
    if times is None:
        raise InputError(f"{name} has no times of its frames, and the model reads what passes between them.")
    given = np.asarray(times, dtype=np.float64)
    since = (given - given[0] if given.size else given).astype(np.float32)
    if given.shape != (count,) or not np.isfinite(given).all() or not (np.diff(since) > 0).all():
        raise InputError(f"{name} needs one time for each of its {count} frames: finite, and rising.")
    return since


def find_inputs(path: Path, contract: InputContract, column: str | None = None) -> tuple[list[InputFile], list[str]]:
    """The inputs in a file, a folder, or the files of a table.

    Args:
        path: an image, DICOM, NIfTI or video file; a folder of any layout with such files (and, for models of series,
            with folders of frames); or a CSV or TSV table.
        contract: of the model.
        column: of a table: its column with the paths, absolute or relative to the table's folder.

    Returns:
        The inputs in natural order, at least one; and one sentence for each kind of file that is passed over.

    Raises:
        InputError: if there is no such file or folder, or nothing in it that could be an input.
    """
    if not path.exists():
        raise InputError(f"input={path} does not exist: correct the path.")
    if path.suffix.lower() in TABLE_ENDINGS and path.is_file():
        return _of_table(path, contract, column), []
    if column is not None:
        raise InputError(f"column={column} is for a table, and input={path} is none: leave it out.")
    if path.is_file():
        return _named(path.name, list_parts(path, contract.read)), []
    return _of_folder(path, contract)


def _of_table(path: Path, contract: InputContract, column: str | None) -> list[InputFile]:
    table = read_table(path, option="input")
    if column is None:
        raise InputError(
            f"input={path} is a table: name its column with the files in column= ({', '.join(table.columns)})."
        )
    require_columns(table, {"column": column}, path.name)
    found: list[InputFile] = []
    for cell, file in zip(table[column], resolve_paths(table[column], path.parent), strict=True):
        missing = Part(((str(cell), None),), problem="there is no such file: correct the table")
        found += _named(str(cell), list_parts(Path(file), contract.read) if file else [missing])
    return found


def _of_folder(folder: Path, contract: InputContract) -> tuple[list[InputFile], list[str]]:
    """Every file that can be read; for models of series, the image files that are in one folder are its frames."""
    found: list[InputFile] = []
    may_be_dicom: list[str] = []
    masks = 0
    for parent, names in walk(folder):
        relative = parent.relative_to(folder)
        images = [name for name in names if not is_mask(name)] or names  # masks next to images are no inputs
        masks += len(names) - len(images)
        kinds = {name: kind_of(parent / name) for name in images}
        if contract.series and "image" in kinds.values():
            found += _named(relative.as_posix() if relative.parts else folder.name, list_parts(parent, contract.read))
        for name, kind in kinds.items():
            if kind == "dicom":
                may_be_dicom.append((relative / name).as_posix())
            elif not (contract.series and kind == "image"):
                found += _named((relative / name).as_posix(), list_parts(parent / name, contract.read))
    others = [f"{masks} mask(s) next to images are passed over."] * (masks > 0)
    if may_be_dicom:
        of_dicom, rest = _of_dicom(folder, may_be_dicom, contract)
        found += of_dicom
        others += rest
    if not found:
        raise InputError(f"input={folder} holds no image, DICOM, NIfTI or video file: correct the path.")
    place = {name: number for number, name in enumerate(natural_order({one.name for one in found}))}
    return sorted(found, key=lambda one: place[one.name]), others


def _of_dicom(folder: Path, candidates: Sequence[str], contract: InputContract) -> tuple[list[InputFile], list[str]]:
    """The inputs in the DICOM series of a folder, and how many of the candidates are none, by kind."""
    try:
        index = index_folder(folder)
    except InputError:  # none of the files is an image of a patient
        return [], [f"{len(candidates)} file(s) that are no image are passed over: {format_list(candidates)}."]
    found: list[InputFile] = []
    for series in index.series:
        try:
            parts = series_parts(folder, series, contract.read.unit, one_window=contract.one_window)
        except BadSeries as error:
            parts = [Part(((str(folder / series.frames[0].path), None),), problem=str(error))]
        found += _named(series.folder, parts) if contract.series else [_slice(folder, part) for part in parts]
    for name, reason in index.damaged:
        why = reason.removeprefix(f"{name} ").rstrip(".")
        found.append(InputFile(name, Part(((str(folder / name), None),), problem=why)))
    others = [f"{count} {kind} are passed over." for kind, count in index.others.items()]
    known = {frame.path for series in index.series for frame in series.frames} | {name for name, _ in index.damaged}
    rest = len([name for name in candidates if name not in known]) - sum(index.others.values())
    return found, others + [f"{rest} file(s) that are no image are passed over."] * (rest > 0)


def _slice(folder: Path, part: Part) -> InputFile:
    ((file, number),) = part.frames
    name = Path(file).relative_to(folder).as_posix()
    return InputFile(name if number is None else f"{name}#{number}", part)


def _named(name: str, parts: Sequence[Part]) -> list[InputFile]:
    return [InputFile(name if len(parts) == 1 else f"{name}#{number}", part) for number, part in enumerate(parts)]
