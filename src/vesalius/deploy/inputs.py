"""The images and series in files, folders and tables that a model is to be applied to."""

import os
from collections import Counter
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
_BROKEN_LINK = "it is a link to a file that does not exist: correct or delete the link"


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
        name: relative to the folder or table it was found in, with the number of the part where a file has several.
        part: where its frames are.
    """

    name: str
    part: Part

    def read(self, contract: InputContract) -> ModelInput:
        """Decode it.

        Raises:
            InputError: if it cannot be read, or is not what the contract asks for.
        """
        contract.check_header(self.part.acquisition, self.name)
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
    array = contract.masked(array)
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


def find_inputs(
    path: Path, contract: InputContract, column: str | None = None, *, whole_names: bool = False
) -> tuple[list[InputFile], list[str]]:
    """The inputs in a file, a folder, or the files of a table.

    Args:
        path: an image, DICOM, NIfTI or video file; a folder of any layout with such files (and, for models of series,
            with folders of frames); or a CSV or TSV table.
        contract: of the model.
        column: of a table: its column with the paths, absolute or relative to the table's folder.
        whole_names: begin the names with `path`, as where there are several.

    Returns:
        The inputs in natural order, at least one; and one sentence for each kind of file that is passed over.

    Raises:
        InputError: if there is no such file or folder, or nothing in it that could be an input.
    """
    if not path.exists():
        raise InputError(f"input={path} does not exist: correct the path.")
    if path.suffix.lower() in TABLE_ENDINGS and path.is_file():
        return _of_table(path, contract, column, path.parent if whole_names else None), []
    if column is not None:
        raise InputError(f"column={column} is for a table, and input={path} is none: leave it out.")
    if path.is_file():
        return _named(str(path) if whole_names else path.name, list_parts(path, contract.read)), []
    return _Folder(path, path if whole_names else None, contract).find()


def _of_table(path: Path, contract: InputContract, column: str | None, within: Path | None) -> list[InputFile]:
    table = read_table(path, option="input")
    if column is None:
        raise InputError(
            f"input={path} is a table: name its column with the files in column= ({', '.join(table.columns)})."
        )
    require_columns(table, {"column": column}, path.name)
    found: list[InputFile] = []
    cells = table[column]
    for (line, cell), file in zip(cells.items(), resolve_paths(cells, path.parent), strict=True):
        name = (cell if within is None else str(within / cell)) if cell else f"line {line} of {path.name}"
        if not cell:
            empty = f"its cell in the column {column} is empty: name a file, or delete the row"
            found.append(_refused(name, empty))
        elif not os.path.exists(file):
            found.append(_refused(name, _BROKEN_LINK if file else "there is no such file: correct the table"))
        elif os.path.isdir(file):
            found += _Folder(Path(file), Path(name), contract).parts(list_parts(Path(file), contract.read))
        else:
            found += _named(name, list_parts(Path(file), contract.read))
    return found


@dataclass(frozen=True)
class _Folder:
    """A folder whose files become inputs.

    Attributes:
        path: of the folder.
        within: what the names of its inputs begin with; None: they are relative to it.
        contract: of the model.
    """

    path: Path
    within: Path | None
    contract: InputContract

    def find(self) -> tuple[list[InputFile], list[str]]:
        """Every file that can be read; for models of series, the image files that are in one folder are its frames."""
        series, options = self.contract.series, self.contract.read
        found: list[InputFile] = []
        may_be_dicom: list[str] = []
        masks = 0
        for parent, names in walk(self.path):
            relative = parent.relative_to(self.path)
            images = [name for name in names if not is_mask(name)] or names  # masks next to images are no inputs
            masks += len(names) - len(images)
            broken = [name for name in images if not (parent / name).exists()]
            found += [_refused(self._name(relative / name), _BROKEN_LINK) for name in broken]
            kinds = {name: kind_of(parent / name) for name in images if name not in broken}
            if series and "image" in kinds.values():
                found += _named(self._name(relative), list_parts(parent, options))
            for name, kind in kinds.items():
                if kind == "dicom":
                    may_be_dicom.append((relative / name).as_posix())
                elif not (series and kind == "image"):
                    found += _named(self._name(relative / name), list_parts(parent / name, options))
        others = [f"{masks} mask(s) next to images are passed over."] * (masks > 0)
        if may_be_dicom:
            of_dicom, rest = self._find_dicom(may_be_dicom)
            found += of_dicom
            others += rest
        if not found:
            raise InputError(f"input={self.path} holds no image, DICOM, NIfTI or video file: correct the path.")
        place = {name: number for number, name in enumerate(natural_order({one.name for one in found}))}
        return sorted(found, key=lambda one: place[one.name]), others

    def _find_dicom(self, candidates: Sequence[str]) -> tuple[list[InputFile], list[str]]:
        """The inputs in the DICOM series of the folder, and how many of the candidates are none, by kind."""
        try:
            index = index_folder(self.path)
        except InputError:  # none of the files is an image of a patient
            return [], [f"{len(candidates)} file(s) that are no image are passed over: {format_list(candidates)}."]
        parts: dict[str, list[Part]] = {}
        series_in = Counter(series.folder for series in index.series)
        for series in index.series:
            first = min(frame.path for frame in series.frames)
            name = series.folder if series_in[series.folder] == 1 else first
            try:
                of_series = series_parts(
                    self.path, series, self.contract.read.unit, one_window=self.contract.one_window
                )
            except BadSeries as error:
                of_series = [Part(((str(self.path / first), None),), problem=str(error))]
            parts.setdefault(name, []).extend(of_series)
        found = [
            file
            for name, those in parts.items()
            for file in (_named(self._name(Path(name)), those) if self.contract.series else self.parts(those))
        ]
        for name, reason in index.damaged:
            found.append(_refused(self._name(Path(name)), reason.removeprefix(f"{name} ").rstrip(".")))
        others = [f"{count} {kind} are passed over." for kind, count in index.others.items()]
        known = {frame.path for series in index.series for frame in series.frames} | {name for name, _ in index.damaged}
        rest = len([name for name in candidates if name not in known]) - sum(index.others.values())
        return found, others + [f"{rest} file(s) that are no image are passed over."] * (rest > 0)

    def parts(self, parts: Sequence[Part]) -> list[InputFile]:
        """Parts of the folder: images by their files, series by the folder."""
        if any(len(part.frames) != 1 or part.problem for part in parts):
            return _named(self._name(Path()), parts)
        found = []
        for part in parts:
            ((file, number),) = part.frames
            name = self._name(Path(file).relative_to(self.path))
            found.append(InputFile(name if number is None else f"{name}#{number}", part))
        return found

    def _name(self, relative: Path) -> str:
        if self.within is not None:
            return (self.within / relative).as_posix()
        return relative.as_posix() if relative.parts else self.path.resolve().name


def _refused(name: str, reason: str) -> InputFile:
    return InputFile(name, Part(((name, None),), problem=reason))


def _named(name: str, parts: Sequence[Part]) -> list[InputFile]:
    return [InputFile(name if len(parts) == 1 else f"{name}#{number}", part) for number, part in enumerate(parts)]
