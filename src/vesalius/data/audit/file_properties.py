"""Properties of the files behind the samples, read from their headers."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.sources.vocabulary import SPLIT_WORDS

_MAX_FILES = 5_000
_MAX_FOLDERS = 20
_HEADER_TAGS = ("Rows", "Columns", "BitsStored", "Manufacturer", "ManufacturerModelName", "Modality")


class FileProperties:
    """Properties of the first file of each sample, without its pixels.

    Args:
        data: the data set; at most 5,000 of its samples are read, spread evenly.

    Attributes:
        rows: which samples.
        paths: the file of each; None where a sample has none.
    """

    def __init__(self, data: AuditInput) -> None:
        step = max(1, -(-len(data.table) // _MAX_FILES))
        self.rows = np.arange(0, len(data.table), step)
        records: list[Any] = data.table.iloc[self.rows].to_dict("records")
        self.paths = [next(iter(data.source.files(record)), None) for record in records]
        self._groups = data.table["group_id"].iloc[self.rows].to_numpy()
        self._ignored_folders = {name.lower() for name in data.source.classes} | set(SPLIT_WORDS)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per sample; numbers, and words for what has no order."""
        found = pd.DataFrame([_properties(path) if path else {} for path in self.paths])
        folders = pd.Series(self._folders(), dtype=object)
        patients = pd.Series(self._groups).groupby(folders).nunique()
        # A folder of one patient reveals nothing of the next one, but the number it gets here could by its order.
        if 1 < len(patients) <= _MAX_FOLDERS and patients.min() > 1:
            found["folder"] = folders
        return found

    def _folders(self) -> list[str]:
        """The outermost folder of each file below what all share, except those that name a split or a class."""
        parents = [path.absolute().parent if path else None for path in self.paths]
        known = {str(parent) for parent in parents if parent}
        depth = len(Path(os.path.commonpath(known)).parts) if known else 0
        below = [parent.parts[depth:] if parent else () for parent in parents]
        return [next((part for part in parts if part.lower() not in self._ignored_folders), "") for parts in below]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _properties(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"file size": float(path.stat().st_size), "file type": path.suffix.lower()}
    try:
        if is_dicom(path):
            import pydicom  # not at the start of every training: its decoders take .2 s to import

            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER_TAGS))
            tags = {tag: header.get(tag) for tag in _HEADER_TAGS}
            found |= {tag: value if isinstance(value, int) else str(value) for tag, value in tags.items()}
        else:
            with Image.open(path) as image:
                found |= {"height": image.height, "width": image.width, "mode": image.mode}
                tables = getattr(image, "quantization", None) or {}
                found["JPEG quantisation"] = float(sum(map(sum, tables.values()))) if tables else 0.0
    except Exception:  # a damaged header is for `unreadable`; here only the file's size and name are known
        return found
    return found
