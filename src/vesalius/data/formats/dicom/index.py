"""The series in a folder of DICOM files of any layout."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.headers import OWN_MANUFACTURER, Frame, Header, read_image_header
from vesalius.data.formats.dicom.limits import NoImage
from vesalius.data.formats.dicom.ordering import Grid, arrange
from vesalius.data.formats.dicom.reading import NotDicom
from vesalius.data.formats.endings import DICOM_ENDINGS, has_ending
from vesalius.data.formats.folders import walk
from vesalius.terminal import show_progress

# Drawn or computed by people and programs, not images of the patient
NOT_IMAGES = ("SEG", "RTDOSE", "PR", "KO", "SR", "REG", "RTSTRUCT", "RTPLAN", "PLAN", "AU", "ECG", "EEG", "DOC")
_WORKERS = 8
_FILES_PER_BATCH = 4096


@dataclass(frozen=True)
class SeriesFiles:
    """The images of one SeriesInstanceUID and one echo; a cine file is a series of its own.

    Attributes:
        patient, issuer, study, uid, modality, description: from the headers; empty where absent.
        part: number of this part of the series (an echo, or a cine file), from 0.
        parts: the number of parts.
        frames: in no order.
        slice_gap: mm between slices by the headers.
        phases: the number of phases by the headers.
    """

    patient: str
    issuer: str
    study: str
    uid: str
    modality: str
    description: str
    part: int
    parts: int
    frames: tuple[Frame, ...]
    slice_gap: float | None
    phases: int | None

    @property
    def folder(self) -> str:
        """The folder of its first file, relative to the folder that was indexed."""
        return Path(min(frame.path for frame in self.frames)).parent.as_posix()

    def arrange(self) -> Grid:
        """Its images in order of position and time.

        Raises:
            BadSeries: if they cannot be ordered.
        """
        return arrange(self.frames, slice_gap=self.slice_gap, phases=self.phases)


@dataclass
class Index:
    """The content of a folder.

    Attributes:
        series: in the order of their first files.
        damaged: path and reason of each file that cannot be read, though it is DICOM or is called so.
        others: the number of DICOM objects that are no images or were not asked for, by kind.
        not_dicom: the number of other files.
    """

    series: list[SeriesFiles] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    not_dicom: int = 0


def index_folder(
    root: Path, *, modality: Sequence[str] | None = None, description: str | None = None, progress: bool = True
) -> Index:
    """Read the headers of all files in a folder, and group the images into series.

    Hidden files, files that are no DICOM, DICOMDIRs, reports, plans, dose maps, segmentations and heat maps that this
    package wrote are skipped. Names of files and folders have no meaning.

    Args:
        root: the folder.
        modality: the modalities wanted, such as `["MR", "CT"]`; None for all that are images of a patient.
        description: a regular expression that must be found in SeriesDescription, in upper or lower case.
        progress: show a bar after two seconds, if there is a terminal.

    Raises:
        InputError: if there is no such folder, no DICOM image in it, or `description` is no regular expression.
    """
    if not root.is_dir():
        raise InputError(f"the folder {root} does not exist: correct `data.source.root`.")
    pattern = _compiled(description)
    names = sorted(_names(root))
    index, headers = Index(), []
    read = show_progress(_headers(root, names), len(names), "read headers", wanted=progress)
    for name, found in zip(names, read, strict=True):
        if isinstance(found, NotDicom) and has_ending(name, DICOM_ENDINGS):
            index.damaged.append((name, f"{name} is no DICOM file, though it is called so: replace or delete it."))
        elif isinstance(found, NotDicom):
            index.not_dicom += 1
        elif isinstance(found, NoImage):
            index.others["objects without an image"] += 1
        elif isinstance(found, InputError):
            index.damaged.append((name, str(found)))
        elif found.manufacturer == OWN_MANUFACTURER:
            index.others["heat maps of Vesalius"] += 1
        elif not _wanted_modality(found.modality, modality):
            index.others[f"images of the modality {found.modality or '(none)'}"] += 1
        elif pattern is not None and not pattern.search(found.description):
            index.others["images of another series description"] += 1
        else:
            headers.append(found)
    index.series = _group_series(headers)
    if not index.series and not index.damaged:
        rest = ", ".join(f"{count} {kind}" for kind, count in index.others.items()) or "none"
        raise InputError(
            f"{root} holds no DICOM image to use ({index.not_dicom} other files; DICOM objects skipped: {rest}): "
            "correct `data.source.root`, `modality` or `description`."
        )
    return index


def _compiled(description: str | None) -> re.Pattern[str] | None:
    try:
        return None if description is None else re.compile(description, re.IGNORECASE)
    except re.error as error:
        raise InputError(f"`data.source.description={description}` is no regular expression: {error}.") from None


def _wanted_modality(modality: str, wanted: Sequence[str] | None) -> bool:
    return modality not in NOT_IMAGES if wanted is None else modality in {name.upper() for name in wanted}


def _names(root: Path) -> Iterator[str]:
    for parent, names in walk(root):
        for name in names:
            path = parent / name
            if name.upper() != "DICOMDIR" and path.is_file():
                yield path.relative_to(root).as_posix()


def _headers(root: Path, names: Sequence[str]) -> Iterator[Header | NotDicom | InputError]:
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="header") as pool:
        waiting = iter(names)
        while part := list(islice(waiting, _FILES_PER_BATCH)):
            yield from pool.map(partial(_header, root), part)


def _header(root: Path, name: str) -> Header | NotDicom | InputError:
    try:
        return read_image_header(root / name, name)
    except (NotDicom, InputError) as error:
        return error


def _group_series(headers: Sequence[Header]) -> list[SeriesFiles]:
    """Series, split into echoes and cine files, in the order of their first files."""
    by_series: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        # a file that has no UID is a series of its own
        own = () if header.series else (header.frames[0].path,)
        by_series.setdefault((header.patient, header.issuer, header.study, header.series, *own), []).append(header)
    series = []
    for members in by_series.values():
        first, parts = members[0], _parts([frame for header in members for frame in header.frames])
        gaps = [header.slice_gap for header in members if header.slice_gap]
        for number, frames in enumerate(parts):
            series.append(
                SeriesFiles(
                    patient=first.patient,
                    issuer=first.issuer,
                    study=first.study,
                    uid=first.series,
                    modality=first.modality,
                    description=first.description,
                    part=number,
                    parts=len(parts),
                    frames=tuple(frames),
                    slice_gap=min(gaps) if gaps else None,
                    phases=first.phases,
                )
            )
    return series


def _parts(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each echo; those of a cine file (several frames without positions) are a part of their own."""
    parts: dict[tuple[float | None, str | None], list[Frame]] = {}
    for frame in frames:
        cine = frame.path if frame.number is not None and frame.position is None else None
        parts.setdefault((frame.echo, cine), []).append(frame)
    return list(parts.values())
