"""Files of torch, which may be someone else's: nothing in them is run, and they hold no more than their own bytes."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from vesalius.config.plain import leaves_of

_VIEWS, _SMALL = 4, 2**20  # tensors may share their bytes, to this factor


def load_tensors(path: Path) -> Any:
    """Containers, numbers, text and tensors of a file that `torch.save` wrote.

    Args:
        path: of an archive, or of a file in torch's older format.

    Raises:
        ValueError: with what the file is, for anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        # torch reads compressed entries, and writes none
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        packed = packed or sum(entry.file_size for entry in entries) > path.stat().st_size
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        packed = False
    if packed:
        raise ValueError("it is compressed, which torch's files are not, and may unpack to more than the memory holds")
    try:
        with warnings.catch_warnings(action="ignore"):  # on what is refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever its readers meet; torch's own message advises to run the file's code
        raise ValueError(_kind_of(path)) from error
    _check(content, _VIEWS * path.stat().st_size + _SMALL)
    return content


def _kind_of(path: Path) -> str:
    """What a file seems to be that torch does not load."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(4)
    if size == 0:
        return "the file is empty"
    if begin[:2] == b"PK":
        return "it is cut off, damaged, or holds more than tensors and plain containers, which is never loaded"
    if begin[:1] == b"\x80":
        return "it is a pickle, which could run code and is never loaded"
    return "it is no checkpoint"


def _check(content: Any, most: int) -> None:
    """Refuse what is small in the file and large in memory, or endless to walk through: repeats and views."""
    for value in leaves_of(content, (list, tuple, set, frozenset)):
        if isinstance(value, torch.Tensor):
            most -= value.numel() * value.element_size()
            if value.layout is not torch.strided or value.device.type != "cpu" or most < 0:
                raise ValueError("it has tensors that are larger than the file")
