"""The DICOM images that inputs came from, and the studies that they belong to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.reading import NotDicom, read_header
from vesalius.data.sources.tables.file_reader import Part

_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class SourceImage:
    """A DICOM file, or some frames of one.

    Attributes:
        header: everything before the pixels.
        frames: numbers from 1; empty for the whole file.
    """

    header: Dataset
    frames: tuple[int, ...] = ()


class HeaderCache:
    """Headers of files, each read once."""

    def __init__(self) -> None:
        self._headers: dict[str, Dataset] = {}

    def images_of(self, part: Part, name: str) -> list[SourceImage]:
        """The files of an input, in order, with the frames that it uses of each.

        Args:
            part: the input.
            name: what messages call it.

        Raises:
            InputError: if a file is no DICOM, or has no UIDs to refer to.
        """
        found: dict[str, SourceImage] = {}
        for file, number in part.frames:
            known = found.setdefault(file, SourceImage(self._header(file, name)))
            if number is not None:
                found[file] = replace(known, frames=(*known.frames, number + 1))
        return list(found.values())

    def _header(self, file: str, name: str) -> Dataset:
        if file not in self._headers:
            try:
                header = read_header(Path(file), name)
            except NotDicom:
                raise InputError(f"{name} is no DICOM file, and a report is for a DICOM study.") from None
            try:
                missing = [keyword for keyword in _REQUIRED if not header.get(keyword)]
            except Exception as error:  # nearly anything can be wrong with a damaged value
                reason = f"{name} has a damaged header ({type(error).__name__}), so that no report can refer to it"
                raise InputError(f"{reason}: replace it.") from error
            if missing:
                raise InputError(f"{name} has no {missing[0]}, so that no report can refer to it: complete its header.")
            self._headers[file] = header
        return self._headers[file]


def study_of(images: Sequence[SourceImage]) -> str:
    """The StudyInstanceUID of an input's images."""
    return str(images[0].header.StudyInstanceUID)


def place_in_study(images: Sequence[SourceImage]) -> tuple[float, ...]:
    """What sorts inputs as readers see them: by numbers of series, image and frame."""
    first = images[0]
    return (*(_number(first.header, keyword) for keyword in ("SeriesNumber", "InstanceNumber")), *first.frames[:1])


def _number(header: Dataset, keyword: str) -> float:
    """A number of a header; infinite where it has none that can be read."""
    try:
        return float(header.get(keyword))
    except Exception:  # nearly anything can be wrong with a damaged value
        return math.inf
