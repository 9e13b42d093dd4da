"""Heat maps of what predictions rest on, as DICOM Secondary Captures in the study of their images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import UID
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vesalius.data.formats.dicom.headers import OWN_MANUFACTURER
from vesalius.deploy.dicom.identifiers import blank_reference, copy_identifiers
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.source_images import SourceImage

_SERIES_NUMBER = 9901
_SIDE = 512  # pixels that small images are enlarged to, by whole numbers
_TEXT_LENGTH = 1024


@dataclass(frozen=True)
class HeatMap:
    """What is drawn over one input.

    Attributes:
        pictures: (T, H, W, 3) in 0..255, the frames of the input with the relevance of their pixels.
        sources: the image that each picture shows, T.
        target: name of the class or continuous target that is explained.
        method: of the explanation.
    """

    pictures: NDArray[np.float64]
    sources: Sequence[SourceImage]
    target: str
    method: str


def secondary_captures(model: ModelDescription, maps: Sequence[HeatMap]) -> list[Dataset]:
    """The pictures of one study's heat maps, as one series."""
    series = UID()
    pairs = [(one, picture, source) for one in maps for picture, source in zip(one.pictures, one.sources, strict=True)]
    return [
        _capture(model, one, picture, source, series, number) for number, (one, picture, source) in enumerate(pairs, 1)
    ]


def _capture(
    model: ModelDescription, one: HeatMap, picture: NDArray[np.float64], source: SourceImage, series: str, number: int
) -> Dataset:
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    times = max(1, _SIDE // max(pixels.shape[:2]))
    image = SCImage(
        pixel_array=pixels.repeat(times, axis=0).repeat(times, axis=1),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # replaced below by what is known of it
        study_instance_uid=str(source.header.StudyInstanceUID),
        series_instance_uid=series,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=number,
        manufacturer=OWN_MANUFACTURER,
        manufacturer_model_name=f"{model.task} model",
        device_serial_number=model.sha256,
        software_versions=model.version,
        series_description="Vesalius heat maps",
    )
    for keyword in ("PatientOrientation", "Laterality"):
        setattr(image, keyword, source.header.get(keyword) or "")
    image.BurnedInAnnotation = "NO"
    image.DerivationDescription = f"Relevance for {one.target} ({one.method}); no medical device"[:_TEXT_LENGTH]
    image.SourceImageSequence = [_reference(source)]
    copy_identifiers(source.header, image)
    return image


def _reference(source: SourceImage) -> Dataset:
    known = blank_reference(source.header)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = known.SOPClassUID, known.SOPInstanceUID
    if source.frames:
        item.ReferencedFrameNumber = list(source.frames)
    return item
