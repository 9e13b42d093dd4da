"""Opening DICOM files: which files are DICOM, and their headers."""

import logging
import warnings
import zlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from vesalius.config.errors import InputError
from vesalius.data.formats.inflation import is_bomb

_PREAMBLE = 128
_PREFIX = b"DICM"
MAX_INFLATED = 2**29
MAX_HEADER_INFLATED = 2**23  # at any factor: objects of a parsed header take a hundred times their bytes
# A file that has no preamble must start with group 0002 or 0008, in either byte order
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")


class NotDicom(Exception):
    """The file is something else, or a DICOM object that is only a list of files."""


def read_header(path: Path, name: str | None = None, tags: Collection[str] | None = None) -> Dataset:
    """Read everything before the pixels.

    Args:
        path: the file.
        name: what messages call it; its path unless given.
        tags: keywords of the attributes wanted; None for all.

    Raises:
        NotDicom: if it is no DICOM file, or a DICOMDIR.
        InputError: if it is one, but damaged.
    """
    return _read(path, name or str(path), stop_before_pixels=True, tags=tags)


def read_whole(path: Path, name: str | None = None) -> Dataset:
    """Read header and pixels; see `read_header`."""
    return _read(path, name or str(path), stop_before_pixels=False, tags=None)


def _read(path: Path, name: str, *, stop_before_pixels: bool, tags: Collection[str] | None) -> Dataset:
    silence_warnings()
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise NotDicom(f"{name} is no file.")
        has_preamble = _looks_like_dicom(path)
        _refuse_deflate_bomb(path, name)
        wanted = None if tags is None else [*tags, "SOPClassUID", "TransferSyntaxUID"]
        dataset = dcmread(path, force=True, stop_before_pixels=stop_before_pixels, specific_tags=wanted)
        sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        if sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
            raise NotDicom(f"{name} is a DICOMDIR, a list of other files.")
        if sop_class is None and not has_preamble:
            raise NotDicom(f"{name} is no DICOM file: it has neither the preamble nor a SOP Class UID.")
        _complete_meta(dataset)
        return dataset
    except (NotDicom, InputError):
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: put it there or take it out of the table.") from None
    except OSError as error:
        raise InputError(
            f"{name} cannot be read ({error.strerror or 'damaged'}): put it back, or see its permissions."
        ) from error
    except InvalidDicomError:
        raise NotDicom(f"{name} is no DICOM file.") from None
    except MemoryError:
        raise InputError(f"{name} claims more than the memory can hold: it is damaged; replace or delete it.") from None
    except Exception as error:  # a damaged file can make the parser raise nearly anything, quoting values of the header
        raise InputError(
            f"{name} is a damaged DICOM file ({type(error).__name__} in its header): replace or delete it."
        ) from error


def _looks_like_dicom(path: Path) -> bool:
    """Whether there is a preamble.

    Raises:
        NotDicom: if the first bytes are those of something else.
    """
    with path.open("rb") as file:
        start = file.read(_PREAMBLE + len(_PREFIX))
    if start[_PREAMBLE:] == _PREFIX:
        return True
    if start[:2] not in _FIRST_GROUPS:
        raise NotDicom(f"{path.name} is no DICOM file.")
    return False


def _refuse_deflate_bomb(path: Path, name: str) -> None:
    """Refuse a deflated file that is too large: pydicom inflates all of it, even to read its header."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # no meta information: then it is not deflated either
        return
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    length = meta.get("FileMetaInformationGroupLength")
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(_PREAMBLE + len(_PREFIX) + 12 + int(length or 0))
        inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while content := file.read(2**16):
            while content:
                inflated += len(inflater.decompress(content, 2**24))
                content = inflater.unconsumed_tail
                if inflated > MAX_INFLATED or is_bomb(size, inflated, MAX_HEADER_INFLATED):
                    raise InputError(
                        f"{name} inflates to more than {inflated - 1 >> 20} MB: save it in another transfer syntax."
                    )


def _complete_meta(dataset: Dataset) -> None:
    """Give a file without a transfer syntax the one that it was read with."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    native = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = native


def silence_warnings() -> None:
    """Silence the warnings of pydicom and GDCM: they quote headers and paths, and so may name a patient."""
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")  # at each call, since filters are easily reset
    _silence_loggers()


@cache
def _silence_loggers() -> None:
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        import gdcm
    except ImportError:
        return
    for silence in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
        silence()
