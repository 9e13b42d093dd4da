"""Writes valid DICOM files for tests: single images, volumes, dynamic series, multi-frame files and whole cohorts."""

import csv
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ULTRASOUND_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

START = datetime(2020, 1, 1, 10, 0, 0)
CLOCKS = ("temporal", "acquisition", "content", "trigger", "instance")


def uid(*words: object) -> str:
    """A UID that is equal for equal words."""
    return str(generate_uid(entropy_srcs=[str(word) for word in words]))


def new_image(
    pixels: np.ndarray,
    *,
    patient: str = "PAT001",
    name: str = "Doe^Jane",
    birth_date: str = "19600102",
    study: str | None = None,
    series: str | None = None,
    description: str = "T1 axial",
    modality: str = "MR",
    sop_class: str = MR_IMAGE,
    instance: str | None = None,
    number: int = 1,
    position: Sequence[float] | None = None,
    orientation: Sequence[float] | None = None,
    rescale: tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **tags: Any,
) -> FileDataset:
    """A data set in memory.

    Args:
        pixels: (H, W), (T, H, W), (H, W, 3) for photometric interpretations of colour, or (T, H, W, 3); an 8- or 16-bit
            integer, float32 or float64.
        patient, name, birth_date: who it is.
        study, series, instance: UIDs; derived from the patient, the series' description and the number unless given.
        description: of the series.
        modality, sop_class: what kind of image.
        number: InstanceNumber.
        position, orientation: of the image in space, in mm; left out where None.
        rescale: slope and intercept.
        window: centre and width.
        photometric: "MONOCHROME1", "MONOCHROME2", "RGB", ...
        bits_stored: the whole of a pixel unless given.
        transfer_syntax: pixels are compressed by pydicom where it needs that.
        **tags: any further attributes by keyword, such as `TemporalPositionIdentifier=2`; None removes one.
    """
    colour = photometric in ("RGB", "YBR_FULL")
    frames = pixels.ndim - (3 if colour else 2)
    height, width = pixels.shape[frames : frames + 2]
    study = study or uid(patient, "study")
    series = series or uid(patient, description)
    dataset = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = instance or uid(series, number)
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = patient, name, birth_date
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyDate, dataset.StudyTime = START.strftime("%Y%m%d"), START.strftime("%H%M%S")
    dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = modality, description, 1
    dataset.InstanceNumber = number
    dataset.FrameOfReferenceUID = uid(study, "frame of reference")
    if position is not None:
        dataset.ImagePositionPatient = [float(f"{value:.6f}") for value in position]
    if orientation is not None:
        dataset.ImageOrientationPatient = list(orientation)
    dataset.PixelSpacing = [1.0, 1.0]
    _set_pixels(dataset, pixels, height, width, photometric, bits_stored)
    if frames:
        dataset.NumberOfFrames = len(pixels)
    if rescale is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    if window is not None:
        dataset.WindowCenter, dataset.WindowWidth = window
    for keyword, value in tags.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    if transfer_syntax != ExplicitVRLittleEndian:
        # pydicom's own encoder where it has one, since GDCM's aborts on small images
        plugin = "pydicom" if transfer_syntax == RLELossless else ""
        dataset.compress(UID(transfer_syntax), encoding_plugin=plugin, generate_instance_uid=False)
    return dataset


def _set_pixels(
    dataset: Dataset, pixels: np.ndarray, height: int, width: int, photometric: str, bits_stored: int | None
) -> None:
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel = 3 if photometric in ("RGB", "YBR_FULL") else 1
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    content = np.ascontiguousarray(pixels).tobytes()
    if pixels.dtype.kind == "f":
        setattr(dataset, "FloatPixelData" if pixels.dtype.itemsize == 4 else "DoubleFloatPixelData", content)
        return
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"


def write_image(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write one file; see `new_image` for the options."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new_image(pixels, **options).save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    pixels: np.ndarray,
    *,
    spacing: float = 2.0,
    orientation: Sequence[float] = AXIAL,
    clock: str = "temporal",
    seconds: Sequence[float] | None = None,
    leave_out: Sequence[int] = (),
    seed: int = 0,
    **options: Any,
) -> list[Path]:
    """Write a volume, or a dynamic series of volumes, one file per image; neither names nor numbers follow the order.

    Args:
        folder: of the files; created if need be.
        pixels: (Z, H, W), or (T, Z, H, W) for phases.
        spacing: of the slices, in mm.
        orientation: of every slice.
        clock: the attribute in which phases differ: "temporal" (TemporalPositionIdentifier, and acquisition times),
            "acquisition", "content", "trigger" (only a time), or "instance" (only InstanceNumber).
        seconds: of each phase, since the first; 10 s apart unless given.
        leave_out: numbers of images, counted phase by phase, that are missing.
        seed: another seed, another order of file names.
        **options: of `new_image`; a callable is called with (phase, slice).

    Returns:
        The paths in the right order: phase by phase, and by rising position within a phase.
    """
    assert clock in CLOCKS, clock
    phases = pixels if pixels.ndim == 4 else pixels[None]
    seconds = [10.0 * phase for phase in range(len(phases))] if seconds is None else seconds
    normal = np.cross(orientation[:3], orientation[3:])
    count = len(phases) * phases.shape[1]
    names = [f"IM{number:05d}" for number in range(count)]
    random.Random(seed).shuffle(names)
    numbers = list(range(1, count + 1))
    if clock != "instance":
        random.Random(seed + 1).shuffle(numbers)
    paths = []
    for index in range(count):
        phase, place = divmod(index, phases.shape[1])
        if index in leave_out:
            continue
        own = {key: value(phase, place) if callable(value) else value for key, value in options.items()}
        stamps = _stamps(clock, phase, seconds[phase]) if pixels.ndim == 4 else {}
        paths.append(
            write_image(
                folder / names[index],
                phases[phase, place],
                **{
                    "number": numbers[index],
                    "position": tuple(place * spacing * normal),
                    "orientation": orientation,
                    **stamps,
                    **own,
                },
            )
        )
    return paths


def _stamps(clock: str, phase: int, second: float) -> dict[str, Any]:
    now = START + timedelta(seconds=float(second))
    time = now.strftime("%H%M%S.%f")
    return {
        "temporal": {"TemporalPositionIdentifier": phase + 1, "AcquisitionTime": time},
        "acquisition": {"AcquisitionTime": time},
        "content": {"ContentTime": time},
        "trigger": {"TriggerTime": 1000.0 * second},
        "instance": {},
    }[clock]


def write_cine(path: Path, frames: np.ndarray, *, frame_time: float | None = 40.0, **options: Any) -> Path:
    """Write a multi-frame file of frames over time: (T, H, W) or (T, H, W, 3); `frame_time` in milliseconds."""
    colour = frames.ndim == 4
    own = {"sop_class": ULTRASOUND_MULTIFRAME, "modality": "US", "photometric": "RGB" if colour else "MONOCHROME2"}
    timing = {} if frame_time is None else {"FrameTime": frame_time, "FrameIncrementPointer": 0x00181063}
    return write_image(path, frames, **{**own, **timing, **options})


def write_enhanced(
    path: Path,
    pixels: np.ndarray,
    *,
    spacing: float = 2.0,
    orientation: Sequence[float] = AXIAL,
    seconds: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
    rescale: Sequence[tuple[float, float]] | None = None,
    window: Sequence[tuple[float, float]] | None = None,
    **options: Any,
) -> Path:
    """Write an enhanced multi-frame file with functional groups.

    Args:
        path: of the file.
        pixels: (T, Z, H, W).
        spacing: of the slices, in mm.
        orientation: of every frame, in the shared groups.
        seconds: of each phase, in FrameAcquisitionDateTime.
        order: in which the frames lie in the file, counted phase by phase; a shuffled one unless given.
        rescale, window: of each frame, in the order of the phases.
        **options: of `new_image`.
    """
    count = pixels.shape[0] * pixels.shape[1]
    seconds = [10.0 * phase for phase in range(len(pixels))] if seconds is None else seconds
    order = random.Random(0).sample(range(count), count) if order is None else order
    normal = np.cross(orientation[:3], orientation[3:])
    flat = pixels.reshape(count, *pixels.shape[2:])
    dataset = new_image(flat[list(order)], **{"sop_class": ENHANCED_MR, **options})
    shared, plane = Dataset(), Dataset()
    plane.ImageOrientationPatient = list(orientation)
    shared.PlaneOrientationSequence = Items([plane])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for index in order:
        phase, place = divmod(index, pixels.shape[1])
        group, content, where = Dataset(), Dataset(), Dataset()
        content.TemporalPositionIndex = phase + 1
        content.InStackPositionNumber = place + 1
        content.DimensionIndexValues = [phase + 1, place + 1]
        content.FrameAcquisitionDateTime = (START + timedelta(seconds=seconds[phase])).strftime("%Y%m%d%H%M%S.%f")
        where.ImagePositionPatient = list(place * spacing * normal)
        group.FrameContentSequence, group.PlanePositionSequence = Items([content]), Items([where])
        if rescale is not None:
            values = Dataset()
            values.RescaleSlope, values.RescaleIntercept = rescale[index]
            group.PixelValueTransformationSequence = Items([values])
        if window is not None:
            voi = Dataset()
            voi.WindowCenter, voi.WindowWidth = window[index]
            group.FrameVOILUTSequence = Items([voi])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_cohort(
    root: Path,
    *,
    patients: int = 24,
    slices: int = 3,
    phases: int = 1,
    size: int = 32,
    seed: int = 0,
    **options: Any,
) -> Path:
    """Write the series of several patients and a table of labels; half the patients have a bright square.

    With several phases the square of the one half brightens over time and that of the other darkens, so that the sum
    over time has no information.

    Args:
        root: the folder; each patient's files are in a folder of their own below `root/files`.
        patients: number of patients; the odd ones are of the class `bright`, the others `dark`.
        slices, phases, size: of each series.
        seed: of the noise.
        **options: of `new_image`; names, birth dates and descriptions are planted unless given.

    Returns:
        The path of the CSV table with the columns `PatientID` and `finding`.
    """
    noise = np.random.default_rng(seed)
    labels = root / "labels.csv"
    root.mkdir(parents=True, exist_ok=True)
    with labels.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["PatientID", "finding"])
        for patient in range(patients):
            bright = patient % 2 == 1
            pixels = noise.integers(200, 800, (phases, slices, size, size))
            rise = np.arange(1, phases + 1) if bright else np.arange(phases, 0, -1)
            rise = rise if phases > 1 else np.array([2 if bright else 0])
            low, high = size // 4, 3 * size // 4
            pixels[:, :, low:high, low:high] += 500 * rise[:, None, None, None]
            identifier = f"HOSP-{4711 + patient}"
            write_series(
                root / "files" / f"Doe_Jane_{patient:03d}" / "MR1",
                pixels[0].astype(np.uint16) if phases == 1 else pixels.astype(np.uint16),
                **{
                    "patient": identifier,
                    "name": f"Planted^Person{patient:03d}",
                    "birth_date": f"19{50 + patient % 50:02d}0417",
                    "description": "Planted description",
                    "window": (1000.0, 2000.0),
                    "seed": patient,
                    **options,
                },
            )
            table.writerow([identifier, "bright" if bright else "dark"])
    return labels
