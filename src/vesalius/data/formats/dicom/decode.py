"""The frames of a DICOM file as arrays.

The steps, in this order:

1. The stored pixels are decoded (see `decoders`).
2. Colour: palettes become RGB; luminance and chrominance (YBR) become RGB. 8 bits stay 8, more become 16. This is the
   last step for colour.
3. Grey: the modality LUT, or rescale slope (1 if absent) and intercept (0 if absent). `window="none"` stops here, with
   float32 values. MONOCHROME1 is then mirrored within the range of the stored bits, or refused where its values have a
   unit, such as Hounsfield units: mirrored they would not have it any more, and as they are they would be the
   negative of other images.
4. The VOI LUT or window (the whole range of the stored bits if there is none), mapped to 0 to 255 where up to 8 bits
   are stored and to 0 to 65,535 where more are.
5. MONOCHROME1, whose lowest value is white, is inverted.

Overlays, presentation states, ICC profiles and pixel padding are ignored.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from vesalius.config.errors import InputError, VesaliusError
from vesalius.data.formats.dicom.decoders import CannotDecode, NoDecoder, stored_pixels
from vesalius.data.formats.dicom.limits import check_image, frame_count, pixel_keyword
from vesalius.data.formats.dicom.reading import NotDicom, read_header, read_whole
from vesalius.data.formats.dicom.values import Range, display_values, has_unit, has_voi, modality_values, whole_range
from vesalius.data.formats.window import Window

DECODER_VERSION = 3  # part of every store's key: raise it whenever a pixel may change

_AT_ONCE = 2**23  # pixels
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_TRANSFORM_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_TRANSFORM_TAGS = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)


def decode_file(
    path: Path, name: str | None = None, *, window: Window = "auto", frames: Sequence[int] | None = None
) -> np.ndarray:
    """Decode the frames of one file.

    Args:
        path: the file.
        name: what messages call it; its path unless given.
        window: "auto" (the file's own), "none" (modality values, such as Hounsfield units), or centre and width.
        frames: numbers of the frames wanted, from 0; None for all.

    Returns:
        (T, C, H, W) with C = 1 or 3: uint8 or uint16; float32 for grey with `window="none"`, and for floating-point
        pixels that have no window.

    Raises:
        InputError: if the file is no DICOM file, holds no image, is damaged, too large, or needs a decoder that is not
            installed.
    """
    name = name or str(path)
    with _translate_errors(name):
        if frames is None:
            return decode_dataset(read_whole(path, name), name, window=window)
        header = read_header(path, name)
        check_image(header, name, pixels_read=False)
        if frame_count(header) == 1:
            return decode_dataset(read_whole(path, name), name, window=window, frames=frames)
        wanted = [(number, _stored(path, header, name, number)) for number in frames]
        return np.stack([_finish(stored, header, name, window, number) for number, stored in wanted])


def decode_dataset(
    dataset: Dataset, name: str, *, window: Window = "auto", frames: Sequence[int] | None = None
) -> np.ndarray:
    """Decode the frames of a data set with its pixels in memory; see `decode_file`."""
    with _translate_errors(name):
        check_image(dataset, name)
        stored = _stored(dataset, dataset, name, None)
        count = frame_count(dataset)
        if count == 1:  # some files hold more frames than their header states, and pydicom returns all
            stored = stored[None] if stored.ndim == _dimensions(dataset) else stored[:1]
        numbers = range(count) if frames is None else frames
        if any(not 0 <= number < len(stored) for number in numbers):
            raise InputError(f"{name} has {len(stored)} frame(s), not {max(numbers) + 1}: correct its NumberOfFrames.")
        return np.stack([_finish(stored[number], dataset, name, window, number) for number in numbers])


def frame_transform(dataset: Dataset, number: int) -> Dataset:
    """The attributes that turn the stored values of one frame into modality values and brightness.

    In enhanced multi-frame files they stand in functional groups, of the frame or shared by all.
    """
    transform = Dataset()
    if hasattr(dataset, "file_meta"):
        transform.file_meta = dataset.file_meta
    places = [dataset]
    shared, per_frame = (dataset.get(f"{which}FunctionalGroupsSequence") or [] for which in ("Shared", "PerFrame"))
    for group in [*shared[:1], *per_frame[number : number + 1]]:
        places += [item for keyword in _TRANSFORM_GROUPS for item in (group.get(keyword) or [])[:1]]
    for place in places:
        for keyword in _TRANSFORM_TAGS:
            if keyword in place:
                transform[keyword] = place[keyword]
    return transform


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Turn any error that a damaged file causes in the parser or a decoder into an `InputError`."""
    try:
        yield
    except VesaliusError:
        raise
    except NotDicom:
        raise InputError(f"{name} is no DICOM file: replace or delete it.") from None
    except MemoryError:
        raise InputError(f"{name} is too large for the memory of this machine: shrink it beforehand.") from None
    except Exception as error:  # its words may quote the header
        raise InputError(
            f"{name} is a damaged DICOM file ({type(error).__name__} in its header): replace or delete it."
        ) from error


def _dimensions(dataset: Dataset) -> int:
    """The dimensions of one frame in pydicom's array: 2 for grey, 3 for colour."""
    return 2 if int(dataset.get("SamplesPerPixel") or 1) == 1 else 3


def _stored(source: Path | Dataset, header: Dataset, name: str, number: int | None) -> np.ndarray:
    """Step 1."""
    syntax = header.file_meta.TransferSyntaxUID.name
    try:
        return stored_pixels(source, header, number)
    except NoDecoder:
        raise InputError(
            f"{name} is stored as {syntax}, which no installed decoder can read: "
            "pip install 'vesalius[medical]', or convert it."
        ) from None
    except CannotDecode as error:
        raise InputError(
            f"{name}: its pixels ({syntax}) cannot be decoded ({_reason(error)}); convert or replace it."
        ) from None


def _finish(stored: np.ndarray, dataset: Dataset, name: str, window: Window, number: int) -> np.ndarray:
    """Steps 2 to 5 for one frame: (H, W) or (H, W, 3) to (C, H, W)."""
    kind = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    try:
        if stored.ndim == 3:
            return _colour(stored, int(dataset.BitsStored), kind)
        if kind == "PALETTE COLOR":
            return _palette(stored, dataset)
        if kind in _GREY:
            return _grey(stored, dataset, kind, window, number, name)
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, NotImplementedError) as error:
        raise InputError(
            f"{name}: its look-up tables or windows cannot be applied ({_reason(error)}); correct its header."
        ) from error
    raise InputError(f"{name} has the photometric interpretation {kind}, which is not supported: convert it to RGB.")


def _colour(stored: np.ndarray, bits: int, kind: str) -> np.ndarray:
    if kind not in _COLOUR or stored.shape[-1] != 3:
        raise NotImplementedError(f"{stored.shape[-1]} samples of {kind}")
    if bits <= 8:
        stored = stored.astype(np.uint8)
    else:
        deep = stored.astype(np.uint32)
        stored = (deep << (16 - bits) if bits <= 16 else deep >> (bits - 16)).astype(np.uint16)
    return np.ascontiguousarray(stored.transpose(2, 0, 1))


def _palette(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    colours = apply_color_lut(stored, dataset)[..., :3]
    if int(dataset.RedPaletteColorLookupTableDescriptor[2]) == 8 and colours.max() < 256:
        colours = colours.astype(np.uint8)
    return np.ascontiguousarray(colours.transpose(2, 0, 1))


def _grey(stored: np.ndarray, dataset: Dataset, kind: str, window: Window, number: int, name: str) -> np.ndarray:
    transform = frame_transform(dataset, number)
    floating = pixel_keyword(dataset) != "PixelData"
    bits = 16 if floating else int(dataset.BitsStored)
    span = None if floating else whole_range(transform, bits, signed=dataset.PixelRepresentation == 1)
    if span is not None and stored.size > _AT_ONCE:  # the whole in 64 bits would take several times the memory
        parts = np.array_split(stored, -(-stored.size // _AT_ONCE))
        whole = [_grey_part(part, dataset, transform, kind, window, span, bits, name) for part in parts if len(part)]
        return np.concatenate(whole, axis=1)
    return _grey_part(stored, dataset, transform, kind, window, span, bits, name)


def _grey_part(
    stored: np.ndarray,
    dataset: Dataset,
    transform: Dataset,
    kind: str,
    window: Window,
    span: Range | None,
    bits: int,
    name: str,
) -> np.ndarray:
    """Rows of a grey frame: (H, W) to (1, H, W)."""
    values = modality_values(stored, transform)
    floating = pixel_keyword(dataset) != "PixelData"
    if window == "none" or (floating and window == "auto" and not has_voi(transform)):
        if kind == "MONOCHROME1":
            if span is None or has_unit(dataset, transform):
                raise InputError(
                    f"{name} is MONOCHROME1 (its lowest value is white), and its values have a unit or no fixed range, "
                    "so data.source.window=none can neither invert nor keep them: set a window, such as "
                    "data.source.window=[40,400], or convert the file to MONOCHROME2."
                )
            values = span[0] + span[1] - values.astype(np.float64)
        return values[None].astype(np.float32)
    brightness = display_values(values, transform, window, span)[None]
    if kind == "MONOCHROME1":
        brightness = 1.0 - brightness
    scaled = np.rint(brightness * (255.0 if bits <= 8 else 65535.0))
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


def _reason(error: Exception) -> str:
    """The reason of an error, short and without paths."""
    text = re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?", "the file", str(error)) or type(error).__name__
    return re.sub(r"(/|[A-Za-z]:\\)\S+", "...", text.replace("\n", " "))[:200].rstrip(". ")
