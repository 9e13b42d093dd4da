"""Subgroups that the headers of DICOM files name: scanner, site, sex."""

from collections.abc import Sequence
from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.reading import read_header

#: Attributes of the file that samples may be grouped by; none identifies a patient.
KEYWORDS = (
    *("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "KVP", "ConvolutionKernel"),
    *("InstitutionName", "StationName", "PatientSex", "BodyPartExamined", "Modality", "ProtocolName"),
)


def header_subgroups(root: Path, paths: Sequence[str], keywords: Sequence[str]) -> dict[str, list[str]]:
    """The values of some attributes in the header of each sample's file; empty where a file has none.

    Args:
        root: the folder.
        paths: of one file for each sample, relative to the folder.
        keywords: of `KEYWORDS`.
    """
    known: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths) if keywords else ():
        header = read_header(root / path, path, keywords)
        try:
            known[path] = [_text(header.get(keyword)) for keyword in keywords]
        except Exception as error:  # nearly anything can be wrong with a damaged value
            raise InputError(f"{path} has a damaged header ({type(error).__name__}): replace or delete it.") from error
    return {keyword: [known[path][at] for path in paths] for at, keyword in enumerate(keywords)}


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
