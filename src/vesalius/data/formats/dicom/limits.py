"""What is checked of a DICOM image before a byte of its pixels is decoded."""

from pydicom.dataset import Dataset
from pydicom.uid import UID

from vesalius.config.errors import InputError

MAX_FRAME_PIXELS = 2**28
MAX_FRAMES = 100_000
MAX_BYTES = 2**33
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LEAST_BYTES_A_FRAME = 8  # the header of an item and less than any compressed frame


def pixel_keyword(dataset: Dataset) -> str | None:
    """The attribute that holds the pixels; None if none does."""
    return next((keyword for keyword in _KEYWORDS if keyword in dataset), None)


def frame_count(dataset: Dataset) -> int:
    """How many frames the header says there are; 1 where it says nothing.

    Raises:
        ValueError: if it does not say a number.
    """
    count = dataset.get("NumberOfFrames")
    return max(1, int(count)) if count not in (None, "") else 1


def kind_of(dataset: Dataset) -> str:
    """What kind of object it is, by its SOP class, in words."""
    sop_class = dataset.get("SOPClassUID") or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID")
    name = UID(sop_class).name if sop_class else ""
    return name if name and name != sop_class else "an object of no known class"


def check_image(dataset: Dataset, name: str, *, pixels_read: bool = True) -> None:
    """Refuse what is no image, and sizes that no honest image has.

    Raises:
        InputError: with the reason.
    """
    keyword = pixel_keyword(dataset)
    cut = "Rows" not in dataset and UID(str(dataset.get("SOPClassUID", ""))).name.endswith("Image Storage")
    if cut:
        raise InputError(f"{name} ends before it says how large its image is: it is damaged; replace or delete it.")
    if "Rows" not in dataset or (pixels_read and keyword is None):
        raise InputError(f"{name} holds no image ({kind_of(dataset)}): take it out.")
    try:
        height, width = int(dataset.Rows), int(dataset.Columns)
        samples, frames = int(dataset.get("SamplesPerPixel") or 1), frame_count(dataset)
        bits = int(dataset.BitsAllocated)
        if keyword == "PixelData":
            stored = int(dataset.BitsStored)
            int(dataset.PixelRepresentation)
        else:
            stored = bits
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{name} does not say how its pixels are stored (rows, columns, bits, frames): it is damaged; "
            "replace or delete it."
        ) from None
    if min(height, width, samples, bits, stored) < 1 or samples > 4 or stored > bits or bits > 64:
        raise InputError(
            f"{name} claims {height}×{width} pixels of {samples} samples and {stored} of {bits} bits: it is damaged; "
            "replace or delete it."
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
    needed = frames * _LEAST_BYTES_A_FRAME if compressed else height * width * samples * frames * bits // 8
    if str(dataset.get("PhotometricInterpretation")) == "YBR_FULL_422" and not compressed:
        needed = needed * 2 // 3
    if held < needed:
        raise InputError(
            f"{name} is cut off: it claims {frames} frame(s) and needs at least {needed} bytes for them, but holds "
            f"{held}; replace or delete it."
        )
