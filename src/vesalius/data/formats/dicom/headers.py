"""The header of a DICOM file: patient and series, and for each image its position, time and window."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.valuerep import DT, TM

from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import UNKNOWN, Acquisition, Plane
from vesalius.data.formats.dicom.decode import frame_transform
from vesalius.data.formats.dicom.limits import check_image, frame_count
from vesalius.data.formats.dicom.reading import read_header
from vesalius.data.formats.dicom.values import Range, file_window, has_lut, has_voi, whole_range

Vector = tuple[float, ...]

#: The manufacturer in what this package writes: reports and heat maps, which are no data.
OWN_MANUFACTURER = "Vesalius"

_STRAIGHT = math.cos(math.radians(35))  # a slice that is turned further is oblique

HEADER_TAGS = (
    *("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("Modality", "SeriesDescription", "FrameOfReferenceUID", "InstanceNumber", "ImageType", "Manufacturer"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SpacingBetweenSlices", "SliceThickness", "EchoTime"),
    *("TemporalPositionIdentifier", "NumberOfTemporalPositions", "TriggerTime"),
    *("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
    *("NumberOfFrames", "FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)


@dataclass(frozen=True)
class Frame:
    """One image: a file, or a frame of one.

    Attributes:
        path: of the file, relative to the folder that was indexed.
        number: of the frame in the file, from 0; None if the file holds only one.
        instance: SOPInstanceUID of the file.
        shape: rows, columns, samples per pixel, and bytes per sample of the decoded image.
        position, orientation: ImagePositionPatient and ImageOrientationPatient in mm; None where the file has none.
        frame_of_reference: UID of the coordinate system that these are in.
        echo: EchoTime in ms.
        temporal: TemporalPositionIdentifier or TemporalPositionIndex.
        acquired, content: AcquisitionTime and ContentTime in seconds, counted from year 1 where there is a date, else
            from midnight.
        trigger: TriggerTime, or the delay after a cardiac trigger, in seconds.
        elapsed: seconds since the first frame of the same file, for a cine.
        order: InstanceNumber, then the place among the frames of the file.
        window: lower and upper edge of the window, or of the whole range if there is none. None for colour and VOI
            LUTs.
        acquisition: modality, plane and size in mm.
    """

    path: str
    number: int | None
    instance: str
    shape: tuple[int, int, int, int]
    position: Vector | None
    orientation: Vector | None
    frame_of_reference: str
    echo: float | None
    temporal: int | None
    acquired: float | None
    content: float | None
    trigger: float | None
    elapsed: float | None
    order: tuple[int, ...]
    window: Range | None
    acquisition: Acquisition = UNKNOWN


@dataclass(frozen=True)
class Header:
    """The header of a file, and its frames.

    Attributes:
        patient, issuer: PatientID and IssuerOfPatientID; empty where the file has none.
        study, series: UIDs.
        modality, description: of the series.
        manufacturer: of the machine or program that wrote it.
        slice_gap: mm between slices by the header (SpacingBetweenSlices, or SliceThickness if that is larger).
        phases: NumberOfTemporalPositions.
        frames: in the file's order.
    """

    patient: str
    issuer: str
    study: str
    series: str
    modality: str
    description: str
    manufacturer: str
    slice_gap: float | None
    phases: int | None
    frames: tuple[Frame, ...]


def read_image_header(path: Path, name: str) -> Header:
    """Read the header of an image.

    Args:
        path: the file.
        name: its path relative to the folder that is indexed.

    Raises:
        NotDicom: if it is no DICOM file.
        NoImage: if it holds no image.
        InputError: if it is damaged.
    """
    dataset = read_header(path, name, HEADER_TAGS)
    try:
        return _image_header(dataset, name)
    except InputError:
        raise
    except Exception as error:  # nearly anything can be wrong with the values of a damaged header
        raise InputError(f"{name} has a damaged header ({type(error).__name__}): replace or delete it.") from error


def _image_header(dataset: Dataset, name: str) -> Header:
    check_image(dataset, name, pixels_read=False)
    gap, thickness = _number(dataset.get("SpacingBetweenSlices")), _number(dataset.get("SliceThickness"))
    phases = _number(dataset.get("NumberOfTemporalPositions"))
    return Header(
        patient=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        modality=_text(dataset, "Modality").upper(),
        description=_text(dataset, "SeriesDescription"),
        manufacturer=_text(dataset, "Manufacturer"),
        slice_gap=None if gap is None else max(abs(gap), thickness or 0.0),
        phases=None if phases is None else int(phases),
        frames=tuple(_frames(dataset, name)),
    )


def _frames(dataset: Dataset, name: str) -> Iterator[Frame]:
    count = frame_count(dataset)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    elapsed = _elapsed(dataset, count) if count > 1 and not per_frame else None
    instance_number = int(_number(dataset.get("InstanceNumber")) or 0)
    for number in range(count):
        groups = [per_frame[number] if number < len(per_frame) else Dataset(), shared]
        content = _item(groups, "FrameContentSequence")
        cardiac = _item(groups, "CardiacSynchronizationSequence")
        indices = _vector(content.get("DimensionIndexValues")) or (float(number),)
        delay = _first_number(cardiac.get("NominalCardiacTriggerDelayTime"), dataset.get("TriggerTime"))
        temporal = _first_number(content.get("TemporalPositionIndex"), dataset.get("TemporalPositionIdentifier"))
        echo = _item(groups, "MREchoSequence").get("EffectiveEchoTime") or dataset.get("EchoTime")
        plane, turn = _item(groups, "PlanePositionSequence"), _item(groups, "PlaneOrientationSequence")
        orientation = _vector((turn if turn else dataset).get("ImageOrientationPatient"), 6)
        yield Frame(
            path=name,
            number=number if count > 1 else None,
            instance=_text(dataset, "SOPInstanceUID"),
            shape=_shape(dataset),
            position=_vector((plane if plane else dataset).get("ImagePositionPatient"), 3),
            orientation=orientation,
            frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
            echo=_number(echo),
            temporal=None if temporal is None else int(temporal),
            acquired=_moment(content.get("FrameAcquisitionDateTime") or content.get("FrameReferenceDateTime"))
            if content
            else _acquired(dataset),
            content=None if count > 1 else _clock(dataset.get("ContentDate"), dataset.get("ContentTime")),
            trigger=None if delay is None else delay / 1000.0,
            elapsed=None if elapsed is None else elapsed[number],
            order=(instance_number, *(int(value) for value in indices)),
            window=_window(dataset, number),
            acquisition=Acquisition(
                modality=_text(dataset, "Modality").upper(),
                photometric=_text(dataset, "PhotometricInterpretation"),
                plane=_plane(orientation),
                extent=_extent(dataset, _item(groups, "PixelMeasuresSequence")),
            ),
        )


def _plane(orientation: Vector | None) -> Plane | None:
    """The plane that an image is in, by the direction of its normal; None for an oblique one."""
    if orientation is None:
        return None
    (x, y, z), (u, v, w) = orientation[:3], orientation[3:]
    normal = [abs(y * w - z * v), abs(z * u - x * w), abs(x * v - y * u)]
    planes: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
    return planes[normal.index(max(normal))] if max(normal) > _STRAIGHT * math.hypot(*normal) else None


def _extent(dataset: Dataset, measures: Dataset) -> tuple[float, float] | None:
    """Height and width in mm, by the spacing in the patient, or else on the detector."""
    stated = [measures.get("PixelSpacing")]
    stated += [dataset.get(name) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")]
    spacing = next((one for value in stated if (one := _vector(value, 2)) is not None), None)
    if spacing is None or min(spacing) <= 0:
        return None
    return spacing[0] * int(dataset.Rows), spacing[1] * int(dataset.Columns)


def _first_number(*values: object) -> float | None:
    """The first value that is a number; 0 is one."""
    numbers = (_number(value) for value in values)
    return next((number for number in numbers if number is not None), None)


def _shape(dataset: Dataset) -> tuple[int, int, int, int]:
    samples = 3 if str(dataset.get("PhotometricInterpretation")) == "PALETTE COLOR" else dataset.get("SamplesPerPixel")
    wide = 1 if int(dataset.get("BitsStored") or 16) <= 8 else 2
    return int(dataset.Rows), int(dataset.Columns), int(samples or 1), wide


def _window(dataset: Dataset, number: int) -> Range | None:
    """The edges of the grey values shown; None where they are not mapped linearly from black to white."""
    if not str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        return None
    transform = frame_transform(dataset, number)
    window = file_window(transform)
    if window is None or has_lut(transform, "VOILUTSequence"):
        if has_voi(transform) or "PixelRepresentation" not in dataset:
            return None
        return whole_range(transform, int(dataset.BitsStored), signed=dataset.PixelRepresentation == 1)
    center, width, function = window
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    return center - width / 2, center + width / 2


def _elapsed(dataset: Dataset, count: int) -> tuple[float, ...] | None:
    """Seconds since the first frame of a cine; None where the header does not state them."""
    steps = _vector(dataset.get("FrameTimeVector"))
    if steps is not None and len(steps) == count:
        return tuple(step / 1000.0 for step in accumulate((0.0, *steps[1:])))
    step = _number(dataset.get("FrameTime"))
    rate = _number(dataset.get("CineRate")) or _number(dataset.get("RecommendedDisplayFrameRate"))
    seconds = step / 1000.0 if step else 1.0 / rate if rate else None
    return None if seconds is None or seconds <= 0 else tuple(number * seconds for number in range(count))


def _acquired(dataset: Dataset) -> float | None:
    moment = _moment(dataset.get("AcquisitionDateTime"))
    # Without the date, a series across midnight would be sorted wrongly.
    date = dataset.get("AcquisitionDate") or dataset.get("ContentDate") or dataset.get("SeriesDate")
    return _clock(date, dataset.get("AcquisitionTime")) if moment is None else moment


def _clock(date: object, time: object) -> float | None:
    """Seconds of a date (which may be absent) and a time."""
    try:
        clock = TM(str(time)) if time else None
    except ValueError:
        return None
    if clock is None:
        return None
    seconds = clock.hour * 3600.0 + clock.minute * 60.0 + clock.second + clock.microsecond / 1e6
    day = str(date or "").replace(".", "")
    try:
        return seconds + (datetime.strptime(day, "%Y%m%d").toordinal() * 86400.0 if day else 0.0)
    except ValueError:
        return seconds


def _moment(value: object) -> float | None:
    try:
        moment = DT(str(value)) if value else None
    except ValueError:
        return None
    if moment is None:
        return None
    offset = moment.utcoffset()
    seconds = moment.hour * 3600.0 + moment.minute * 60.0 + moment.second + moment.microsecond / 1e6
    return moment.toordinal() * 86400.0 + seconds - (offset.total_seconds() if offset else 0.0)


def _item(groups: Sequence[Dataset], keyword: str) -> Dataset:
    """The first item of a functional group, the frame's own before the shared one."""
    found = [item for group in groups for item in (group.get(keyword) or [])[:1]]
    return found[0] if found else Dataset()


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip().strip("\0")


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _vector(value: object, length: int | None = None) -> Vector | None:
    """The numbers of an attribute of several values; None where they are absent, too few or no numbers."""
    if value in (None, ""):
        return None
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    numbers = [_number(single) for single in values]
    if not numbers or None in numbers or (length is not None and len(numbers) != length):
        return None
    return tuple(number for number in numbers if number is not None)
