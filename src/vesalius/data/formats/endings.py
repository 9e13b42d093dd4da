"""Kinds of files by the endings of their names: one list for all sources."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["image", "dicom", "nifti", "video", "folder"]

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
    *(".jfif", ".webp", ".jp2", ".j2k", ".pgm", ".ppm", ".pnm", ".dib"),
)
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mpg", ".mpeg", ".gif", ".webm", ".mkv", ".wmv")
#: Volumes that a folder is searched for; an .img comes with its .hdr.
VOLUME_ENDINGS = (".nii", ".nii.gz", ".hdr", ".mgh", ".mgz")
#: Volumes that only a table names: MINC and AFNI.
OTHER_VOLUME_ENDINGS = (".mnc", ".brik", ".head")

_MASK = re.compile(
    r"[ _.-](mask|masks|seg|dseg|probseg|segmentation|labelmap|ground[ _-]?truth|gt)([ _-]?\d+)?(\.[^.]+|\.nii\.gz)$",
    re.I,
)

# A header and its voxels may be two files: the ending of one, and those that the other may have.
_OTHER_HALVES = {
    ".hdr": (".img", ".IMG", ".img.gz"),
    ".img": (".hdr", ".HDR"),
    ".head": (".BRIK", ".BRIK.gz"),
    ".brik": (".HEAD",),
}


def kind_of(path: Path) -> Kind:
    """The kind of a file by its name, or `folder`; a name without a known ending is taken for DICOM."""
    if path.is_dir():
        return "folder"
    if has_ending(path.name, (".img",)):  # DICOM files are called so too
        return "nifti" if other_half(path) is not None else "dicom"
    return kind_of_name(path.name) or "dicom"


def kind_of_name(name: str) -> Kind | None:
    """The kind of a file by the ending of its name; None where that is not known."""
    kinds: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("image", IMAGE_ENDINGS),
        ("nifti", (*VOLUME_ENDINGS, *OTHER_VOLUME_ENDINGS)),
        ("video", VIDEO_ENDINGS),
        ("dicom", DICOM_ENDINGS),
    )
    return next((kind for kind, endings in kinds if has_ending(name, endings)), None)


def has_ending(name: str, endings: Sequence[str]) -> bool:
    """Whether a file name has one of these endings, in upper or lower case."""
    return name.lower().endswith(tuple(endings))


def is_mask(name: str) -> bool:
    """Whether a file is, by its name, the outline of something in another image: `P1_mask.png`, `sub-1_dseg.nii.gz`."""
    return _MASK.search(name) is not None


def normalise_endings(endings: Sequence[str]) -> tuple[str, ...]:
    """Endings as `has_ending` takes them: in lower case, with the dot in front."""
    return tuple(f".{ending.lower().lstrip('.')}" for ending in endings)


def other_half(path: Path) -> Path | None:
    """The file that goes with a header or with its voxels, if there is one."""
    endings = _OTHER_HALVES.get(path.suffix.lower(), ())
    return next((half for ending in endings if (half := path.with_suffix(ending)).is_file()), None)
