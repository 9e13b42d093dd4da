"""Uploaded files in a folder that is theirs for as long as they are read, under names that can do no harm."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from vesalius.data.formats.endings import has_ending, kind_of_name
from vesalius.deploy.serve.content import check_content
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.refusal import Refused

_CHUNK = 2**20
_NAME_LENGTH, _DEPTH = 80, 8
_ZIP = b"PK\x03\x04"
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", _ZIP: ".zip"}  # of files whose name has none
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def store(files: Sequence[tuple[str, IO[bytes]]], folder: Path, limits: Limits) -> None:
    """Write files into a folder, archives unpacked, and check what they claim to hold.

    Args:
        files: the name that the client gives, and the content.
        folder: empty.
        limits: of files, bytes, pixels and frames.

    Raises:
        Refused: for files beyond a limit, of a kind that is not accepted, or an archive that cannot be unpacked.
    """
    left = limits.bytes
    for name, content in files:
        start = content.read(4)
        content.seek(0)
        path = _free(folder, _safe(name) or "file", start)
        if path.suffix.lower() == ".zip" or start == _ZIP:
            left = _unpack(content, path.with_suffix(""), limits, left)
        else:
            with path.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    file.write(chunk)
    stored = [path for path in folder.rglob("*") if path.is_file()]
    if len(stored) > limits.files:
        raise Refused(413, f"There are more than {limits.files} files", "Send fewer.")
    check_content(stored, folder, limits)


def _safe(name: str) -> str:
    """The last part of a name, without what a path or a shell would read as more than a name."""
    plain = re.sub(r"[^\w.()+ -]", "_", PurePosixPath(name.replace("\\", "/")).name)
    return plain.strip(". ")[-_NAME_LENGTH:].lstrip(". ")


def _free(folder: Path, name: str, start: bytes) -> Path:
    """A path of that name that is not taken, with the ending of its content where the name has no known one."""
    if kind_of_name(name) is None and not has_ending(name, (".zip", ".img", ".img.gz")):
        name += next((ending for begin, ending in _ENDINGS.items() if start.startswith(begin)), "")
    path, number = folder / name, 1
    while path.exists() or path.with_suffix("").exists():
        number += 1
        path = folder / f"{number}_{name}"
    return path


def _unpack(content: IO[bytes], folder: Path, limits: Limits, left: int) -> int:
    """Unpack an archive; what its headers claim is not believed, and archives inside are left packed.

    Returns:
        The bytes that may still be unpacked.
    """
    name = f"{folder.name}.zip"
    try:
        with zipfile.ZipFile(content) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) > limits.files:
                raise Refused(413, f"{name} holds more than {limits.files} files", "Send fewer.")
            for member in members:
                if member.flag_bits & 1 or member.compress_type not in _COMPRESSIONS:
                    raise Refused(
                        422, f"{name} is encrypted or packed in an unusual way", "Save it as an ordinary zip."
                    )
                path = _member_path(folder, member.filename)
                if path is None:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, path.open("wb") as file:
                    while chunk := packed.read(_CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            most = f"{limits.megabytes:g} MB"
                            raise Refused(413, f"{name} unpacks to more than {most}", "Send fewer or smaller files.")
                        file.write(chunk)
    except Refused:
        raise
    except Exception as error:  # a damaged archive can make zipfile raise nearly anything
        raise Refused(422, f"{name} cannot be unpacked ({type(error).__name__})", "Save it again.") from error
    return left


def _member_path(folder: Path, name: str) -> Path | None:
    """Where a member goes, always inside the folder; None for one that is passed over."""
    parts = [safe for part in name.replace("\\", "/").split("/") if (safe := _safe(part))]
    if not parts or len(parts) > _DEPTH or "__macosx" in map(str.lower, parts) or name.split("/")[-1].startswith("."):
        return None
    path = folder.joinpath(*parts)
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        return None
    return path
