"""What uploaded files claim to hold, by their headers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.limits import frame_count
from vesalius.data.formats.dicom.reading import NotDicom, read_header
from vesalius.data.formats.endings import OTHER_VOLUME_ENDINGS, VIDEO_ENDINGS, has_ending, kind_of
from vesalius.data.formats.nifti import read_grid
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.refusal import Refused

# Read by libraries that damaged files may bring down, or that open more than the one file.
_REFUSED_ENDINGS = (*VIDEO_ENDINGS, *OTHER_VOLUME_ENDINGS)


def check_content(paths: Sequence[Path], folder: Path, limits: Limits) -> None:
    """Count frames and pixels by the headers, before any pixel is decoded.

    A file whose header cannot be read passes: it is refused by its name when it is decoded.

    Args:
        paths: of the files.
        folder: that they lie in.
        limits: of frames and pixels.

    Raises:
        Refused: for more than that, and for a kind of file that is not accepted.
    """
    frames = pixels = 0
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if has_ending(name, _REFUSED_ENDINGS):
            raise Refused(415, f"{name} is of a kind that is not accepted", "Send its frames as PNG, DICOM or NIfTI.")
        try:
            for count, size in _claims(path, name):
                frames, pixels = frames + count, pixels + count * size
        except (InputError, NotDicom, OSError):
            continue
    check_size(frames, pixels, limits)


def check_size(frames: int, pixels: int, limits: Limits) -> None:
    """Refuse too many frames or pixels.

    Raises:
        Refused: if there are.
    """
    if frames > limits.frames:
        raise Refused(413, f"The request holds {frames} frames, and {limits.frames} is the most", "Send fewer.")
    if pixels > limits.pixels:
        raise Refused(413, f"The request holds {pixels} pixels, and {limits.pixels} is the most", "Send fewer.")


def _claims(path: Path, name: str) -> Iterator[tuple[int, int]]:
    """Frames of a file, and pixels of each."""
    kind = kind_of(path)
    if kind == "image":
        try:
            with Image.open(path) as image:
                yield getattr(image, "n_frames", 1) if image.format != "MPO" else 1, image.width * image.height
        except Exception:  # a damaged image can make Pillow raise nearly anything; reading it gives the reason
            return
    elif kind == "nifti":
        grid = read_grid(path, name)
        yield grid.frames * grid.shape[2], grid.shape[0] * grid.shape[1]
    elif not _is_deflated(path):
        header = read_header(path, name, ("Rows", "Columns", "NumberOfFrames"))
        try:
            yield frame_count(header), int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
        except Exception:  # a damaged value can make pydicom raise nearly anything
            return
    else:
        raise Refused(415, f"{name} is deflated", "Save it in another transfer syntax.")


def _is_deflated(path: Path) -> bool:
    """Whether a DICOM file would have to be inflated whole before its header can be read."""
    try:
        return bool(read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)
    except Exception:  # no meta information
        return False
