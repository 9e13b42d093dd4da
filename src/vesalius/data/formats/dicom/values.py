"""Stored grey values to modality values, and on to displayed brightness (DICOM PS3.3 C.11.1 and C.11.2)."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from vesalius.data.formats.window import Window

Range = tuple[float, float]

_MODALITIES_WITH_UNITS = ("CT", "PT", "NM")
_LUT_TAGS = ("LUTDescriptor", "LUTData")


def modality_values(stored: np.ndarray, transform: Dataset) -> np.ndarray:
    """Apply the modality LUT, or rescale slope and intercept; the result is in Hounsfield units for CT.

    Args:
        stored: any shape.
        transform: a data set with the attributes of the modality LUT module; the values stay if it has none.
    """
    if has_lut(transform, "ModalityLUTSequence"):
        values: np.ndarray = apply_modality_lut(stored, transform)
        return values
    slope, intercept = rescale_of(transform)
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float64) * slope + intercept


def rescale_of(transform: Dataset) -> tuple[float, float]:
    """Slope and intercept: 1 for a slope that is absent, 0 for an intercept."""
    slope, intercept = transform.get("RescaleSlope"), transform.get("RescaleIntercept")
    return 1.0 if slope in (None, "") else _number(slope), 0.0 if intercept in (None, "") else _number(intercept)


def has_unit(dataset: Dataset, transform: Dataset) -> bool:
    """Whether modality values mean something outside this file, such as Hounsfield units, counts or optical density.

    Args:
        dataset: the file.
        transform: a data set with the attributes of the modality LUT module.
    """
    return (
        str(dataset.get("Modality") or "").upper() in _MODALITIES_WITH_UNITS
        or str(dataset.get("RescaleType") or "US").strip().upper() not in ("US", "UNSPECIFIED")
        or has_lut(transform, "ModalityLUTSequence")
        or rescale_of(transform) != (1.0, 0.0)
    )


def whole_range(transform: Dataset, bits: int, *, signed: bool) -> Range:
    """The lowest and the highest modality value that `bits` stored bits can have."""
    if has_lut(transform, "ModalityLUTSequence"):
        return 0.0, 2.0 ** int(transform.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    slope, intercept = rescale_of(transform)
    stored = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    low, high = sorted(slope * value + intercept for value in stored)
    return low, high


def file_window(transform: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first VOI window; None where none is valid."""
    center, width = (_first(transform.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(transform.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None or not math.isfinite(center) or not width > 0 or not math.isfinite(width):
        return None
    if function == "LINEAR" and width < 1:  # not allowed for LINEAR, but the meaning is clear
        function = "LINEAR_EXACT"
    return center, width, function


def display_values(values: np.ndarray, transform: Dataset, window: Window, span: Range | None) -> np.ndarray:
    """The brightness that a viewer shows: 0 (black) to 1 (white), float64.

    Args:
        values: from `modality_values`.
        transform: a data set with the attributes of the VOI LUT module.
        window: "auto": the first VOI LUT or window of `transform`, or the whole `span` if it has none; or centre and
            width, whose edges are exactly black and white (`LINEAR_EXACT`).
        span: the lowest and highest value of the stored bits; None for those of `values`.
    """
    if isinstance(window, tuple):
        return _windowed(values, *window, "LINEAR_EXACT")
    if has_lut(transform, "VOILUTSequence"):
        whole = values if values.dtype.kind in "iu" else np.rint(values).astype(np.int64)
        scaled: np.ndarray = apply_voi(whole, transform) / (
            2.0 ** int(transform.VOILUTSequence[0].LUTDescriptor[2]) - 1
        )
        return scaled
    own = file_window(transform)
    if own is not None:
        return _windowed(values, *own)
    low, high = span if span is not None else (float(values.min()), float(values.max()))
    return np.clip((values.astype(np.float64) - low) / max(high - low, 1e-300), 0.0, 1.0)


def has_voi(transform: Dataset) -> bool:
    """Whether there is a valid VOI LUT or window."""
    return has_lut(transform, "VOILUTSequence") or file_window(transform) is not None


def has_lut(transform: Dataset, keyword: Literal["ModalityLUTSequence", "VOILUTSequence"]) -> bool:
    """Whether the first look-up table has a descriptor and values; an empty one counts as absent."""
    items = transform.get(keyword)
    return bool(items) and all(items[0].get(tag) not in (None, "", b"", []) for tag in _LUT_TAGS)


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    values = values.astype(np.float64)
    if function == "SIGMOID":
        sigmoid: np.ndarray = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
        return sigmoid
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _first(value: object) -> float | None:
    """The first of one or several decimal strings, as a number; None where it is none."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        return _number(several[0]) if several else None
    except (TypeError, ValueError):
        return None


def _number(value: object) -> float:
    """A decimal string as a number, also with a decimal comma, which some devices write."""
    return float(value.replace(",", ".") if isinstance(value, str) else value)  # type: ignore[arg-type]
