"""Checks of a DICOM image before any of its pixels is decoded."""

from pydicom.dataset import Dataset
from pydicom.uid import UID

from vesalius.config.errors import InputError
from vesalius.data.formats.inflation import is_bomb

MAX_FRAME_PIXELS = 2**28
MAX_FRAMES = 100_000
MAX_BYTES = 2**33
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MIN_BYTES_PER_FRAME = 8  # the header of an item; any compressed frame is longer


class NoImage(InputError):
    """A DICOM object that is no image, such as a report."""


def pixel_keyword(dataset: Dataset) -> str | None:
    """The attribute that holds the pixels; None if none does."""
    return next((keyword for keyword in _KEYWORDS if keyword in dataset), None)


def frame_count(dataset: Dataset) -> int:
    """The number of frames by the header; 1 where it states none.

    Raises:
        ValueError: if what it states is no number.
    """
    count = dataset.get("NumberOfFrames")
    return max(1, int(count)) if count not in (None, "") else 1


def object_kind(dataset: Dataset) -> str:
    """The kind of object in words, by its SOP class."""
    sop_class = dataset.get("SOPClassUID") or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID")
    name = UID(sop_class).name if sop_class else ""
    return name if name and name != sop_class else "an object of no known class"


def check_image(dataset: Dataset, name: str, *, pixels_read: bool = True) -> None:
    """Refuse an object that is no image, or whose header states impossible or dangerous sizes.

    Args:
        dataset: the header, with or without the pixels.
        name: what messages call it.
        pixels_read: whether the data set has the pixels, whose length is checked then.

    Raises:
        NoImage: if it is no image.
        InputError: if its sizes are invalid, or more than is safe to decode.
    """
    keyword = pixel_keyword(dataset)
    if "Rows" not in dataset or (pixels_read and keyword is None):
        if object_kind(dataset).endswith("Image Storage"):
            raise InputError(f"{name} is cut off before its pixels end: take it from its source again, or delete it.")
        raise NoImage(f"{name} holds no image ({object_kind(dataset)}): take it out.")
    try:
        height, width = int(dataset.Rows), int(dataset.Columns)
        samples, frames = int(dataset.get("SamplesPerPixel") or 1), frame_count(dataset)
        bits = int(dataset.BitsAllocated)
        high_bit = dataset.get("HighBit")
        if keyword == "PixelData":
            stored = int(dataset.BitsStored)
            int(dataset.PixelRepresentation)
        else:
            stored = bits
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{name} has no valid description of its pixels (rows, columns, bits, frames): it is damaged; "
            "replace or delete it."
        ) from None
    if min(height, width, samples, bits, stored) < 1 or samples > 4 or stored > bits or bits > 64:
        raise InputError(
            f"{name} claims {height}×{width} pixels of {samples} samples and {stored} of {bits} bits: it is damaged; "
            "replace or delete it."
        )
    raw = not dataset.file_meta.TransferSyntaxUID.is_compressed
    if keyword == "PixelData" and raw and high_bit not in (None, "") and stored <= int(high_bit) < bits:
        raise InputError(
            f"{name} stores its {stored} bits above unused ones (HighBit is {high_bit}, not {stored - 1}), which is "
            "not supported: convert it."
        )
    size = height * width * samples * frames * max(bits, 8) // 8
    if height * width > MAX_FRAME_PIXELS or frames > MAX_FRAMES or size > MAX_BYTES:
        raise InputError(
            f"{name} claims {frames} frame(s) of {height}×{width} pixels, more than is safe to decode: cut it into "
            "parts beforehand."
        )
    if not pixels_read or keyword is None:
        return
    held = len(dataset[keyword].value or b"")
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed and keyword == "PixelData"
    if compressed and is_bomb(held, size):
        raise InputError(
            f"{name} claims {frames} frame(s) of {height}×{width} pixels in {held} bytes, as no real image does: it is "
            "damaged, or written to fill the memory; delete it."
        )
    needed = frames * _MIN_BYTES_PER_FRAME if compressed else height * width * samples * frames * bits // 8
    if str(dataset.get("PhotometricInterpretation")) == "YBR_FULL_422" and not compressed:
        needed = needed * 2 // 3
    if held < needed:
        raise InputError(
            f"{name} is cut off before its pixels end ({frames} frame(s) need at least {needed} bytes, and it holds "
            f"{held}): take it from its source again, or delete it."
        )
