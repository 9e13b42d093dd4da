"""Image files as arrays of shape (C, H, W), and resizing, in the native integer type."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from vesalius.config.errors import InputError

DECODER_VERSION = 1  # part of every store's key: raise it whenever a pixel may change

Fit = Literal["stretch", "pad", "crop"]

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_TIFF_PHOTOMETRIC = 262
#: Bytes of a decoded image as Pillow holds it; with transparency it takes twice the copies.
MOST_BYTES, MOST_BYTES_ALPHA = 400_000_000, 200_000_000
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, **dict.fromkeys(_SIXTEEN_BIT_MODES, 2)}  # 4 of every other mode


def decode_image(path: Path, name: str | None = None, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one image file.

    The orientation that a camera stored in EXIF is applied. Palettes become RGB; 1-bit images become grey 0 or 255;
    16-bit grey stays 16-bit, and 16-bit colour is reduced to 8 bits, since Pillow has no such type. An alpha channel
    is dropped where it is opaque throughout; otherwise the image is laid over black. Other colour spaces become RGB.

    Args:
        path: the file.
        name: what messages call it; its path unless given.
        size: height and width to which grey and RGB images of 8 bits are resized at once: the pixels are those of
            `resize`, and fewer of them are copied. Others keep their size.

    Returns:
        An array of shape (1, H, W) or (3, H, W), of type uint8 or uint16 (or float32 from a floating-point TIFF).

    Raises:
        InputError: if the file is missing, empty, unreadable, truncated, too large, or holds several images.
    """
    name = name or str(path)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{name} is empty (0 bytes): delete it or put the real image there.")
        # Opened as a stream: where Pillow may map the file, it shears an uncompressed TIFF that has to be rotated
        with path.open("rb") as file, Image.open(file, formats=_formats()) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a second MPO frame is a preview
                raise InputError(
                    f"{name} holds {image.n_frames} images where one was expected: "  # type: ignore[attr-defined]
                    "save each as a file of its own."
                )
            _check_size(image)
            image.load()
            white_is_zero = image.format == "TIFF" and _tiff_tag(image, _TIFF_PHOTOMETRIC) == 0
            ImageOps.exif_transpose(image, in_place=True)  # else it copies every image, turned or not
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info
            wanted = image.resize(size[::-1], Image.Resampling.BILINEAR) if plain and size is not None else image
            return _to_array(wanted, name, white_is_zero=white_is_zero)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: put it there or take it out of the table.") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{name} has more pixels than is safe to decode: shrink it, or cut it into tiles, beforehand."
        ) from None
    except Exception as error:  # a damaged file can make Pillow's plugins raise nearly anything
        # Pillow's messages quote the absolute path, which must not reach a report
        reason = re.sub(r"\s*(<.*>|['\"][^'\"]*['\"])", "", str(error)) or type(error).__name__
        raise InputError(
            f"{name} cannot be read as an image ({reason}): it is damaged or no image; replace or delete it."
        ) from error


def _check_size(image: Image.Image) -> None:
    """Refuse an image that takes too much memory, by its header.

    Raises:
        Image.DecompressionBombError: as Pillow does for many more pixels.
    """
    clear = image.mode in _ALPHA_MODES or "transparency" in image.info
    needed = image.width * image.height * _PIXEL_BYTES.get(image.mode, 4)
    if needed > (MOST_BYTES_ALPHA if clear else MOST_BYTES):
        raise Image.DecompressionBombError


@cache
def _formats() -> tuple[str, ...]:
    """The image formats that this Pillow may open; not EPS and the like, for which it starts another program."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    tags = getattr(image, "tag_v2", {})
    return tags.get(tag)


def _to_array(image: Image.Image, name: str, *, white_is_zero: bool) -> np.ndarray:
    if image.mode in _SIXTEEN_BIT_MODES:
        grey = np.asarray(image).astype(np.uint16)
        # Pillow inverts "white is zero" for 8 bits and fewer, but not for 16
        return (np.uint16(65535) - grey if white_is_zero else grey)[None]
    if image.mode == "I":
        integers = np.asarray(image)
        if integers.min() < 0 or integers.max() > 65535:
            raise InputError(
                f"{name} has values from {integers.min()} to {integers.max()}, outside 0 to 65535: "
                "rescale it to unsigned 16-bit."
            )
        return integers.astype(np.uint16)[None]
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)[None]
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = _without_alpha(image)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    if image.mode == "L":
        return np.array(image, dtype=np.uint8)[None]
    # Row by row in planes, as Pillow writes them: numpy takes twice as long to part the channels of each pixel
    rows = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(image.height, 3, image.width)
    return rows.transpose(1, 0, 2).copy()  # of a single row too, whose bytes nobody could write to else


def _without_alpha(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La", "1")
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    opaque = rgba.convert("RGB")
    return opaque.getchannel("R") if grey else opaque


def adapt_channels(image: np.ndarray, channels: int | None) -> np.ndarray:
    """Grey to RGB by repetition, or RGB to grey by luminance (ITU-R 601-2, as Pillow rounds it).

    Args:
        image: (C, H, W).
        channels: 1, 3, or None to leave the image as it is.

    Raises:
        InputError: if the image has another number of channels than 1 or 3 and would have to change.
    """
    present = len(image)
    if channels is None or channels == present:
        return image
    if (present, channels) == (1, 3):
        return np.repeat(image, 3, axis=0)
    if (present, channels) == (3, 1):
        if image.dtype.kind == "f":
            weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
            grey: np.ndarray = np.tensordot(weights, image, axes=1)
            return grey[None].astype(image.dtype)
        red, green, blue = image.astype(np.uint32)
        luminance: np.ndarray = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        return luminance.astype(image.dtype)[None]
    raise InputError(f"an image of {present} channels cannot become one of {channels}: leave `data.channels` out.")


def convert_bits(image: np.ndarray, bits: int | None) -> np.ndarray:
    """Scale an image of 8 or 16 bits from the whole range of its type to that of the other.

    Args:
        image: any shape.
        bits: 8 (uint8) or 16 (uint16); None leaves the image as it is.

    Raises:
        InputError: for floating-point values, whose range is unknown.
    """
    if bits is None or (image.dtype.kind != "f" and image.dtype.itemsize * 8 == bits):
        return image
    if image.dtype.kind == "f":
        raise InputError(
            f"floating-point values cannot be scaled to {bits} bits: leave out `data.bits`, or set a window "
            "(data.source.window=[centre,width]) where the source has one."
        )
    if bits == 16:
        return image.astype(np.uint16) * np.uint16(257)
    return ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def resize(image: np.ndarray, size: tuple[int, int], fit: Fit = "stretch") -> np.ndarray:
    """Resize with antialiased bilinear interpolation, keeping the type.

    Args:
        image: (C, H, W), uint8, uint16 or float32.
        size: height and width wanted, in pixels.
        fit: `stretch` ignores the aspect ratio; `pad` keeps it and fills the rest with zeros (black, as outside the
            body in most modalities), half on each side; `crop` keeps it and cuts off the two ends of the longer side.
    """
    height, width = image.shape[1:]
    if (height, width) == size:
        return image
    if fit == "stretch":
        return _interpolate(image, size)
    pick = min if fit == "pad" else max
    scale = pick(size[0] / height, size[1] / width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    scaled = _interpolate(image, inner) if inner != (height, width) else image
    top, left = abs(size[0] - inner[0]) // 2, abs(size[1] - inner[1]) // 2
    if fit == "crop":
        return np.ascontiguousarray(scaled[:, top : top + size[0], left : left + size[1]])
    padded = np.zeros((len(image), *size), dtype=image.dtype)
    padded[:, top : top + inner[0], left : left + inner[1]] = scaled
    return padded


def _interpolate(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width_height = (size[1], size[0])  # Pillow counts width first
    bilinear = Image.Resampling.BILINEAR
    if image.dtype == np.uint8 and len(image) == 3:
        pixels = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        return np.ascontiguousarray(np.asarray(pixels.resize(width_height, bilinear)).transpose(2, 0, 1))
    planes = []
    for plane in image:
        pixels = Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))
        resized = np.asarray(pixels.resize(width_height, bilinear))
        planes.append(np.rint(resized) if image.dtype.kind == "u" else resized)
    return np.stack(planes).astype(image.dtype)
