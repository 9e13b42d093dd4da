"""Finds names, birth dates and numbers of patients in whatever a run has written."""

import contextlib
import html
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from archives import layers
from vesalius.config.errors import InputError

_BLOCK = 1 << 24
_SHORTEST = 4  # anything shorter occurs in any large file by chance
_DATES = ("%Y%m%d", "%Y-%m-%d", "%Y.%m.%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%m/%d/%Y", "%d%m%Y")


@dataclass(frozen=True)
class Leak:
    """A place where a patient can be recognised.

    Attributes:
        file: relative to the folder.
        where: `name`, `contents`, or the part of an archive.
        what: as it was asked for.
    """

    file: Path
    where: str
    what: str


def find_identities(folder: Path, planted: Iterable[str]) -> list[Leak]:
    """Look for strings in the names and the bytes of all files of a folder, and inside archives.

    Case does not matter. Names as DICOM has them (`Family^Given`) are also found in other orders and with other
    separators, dates (`YYYYMMDD`, ISO, or `DD.MM.YYYY`) as people write them, letters beyond ASCII composed or not, and
    all in UTF-8, UTF-16, UTF-32 and Latin-1, or escaped as in JSON, YAML, HTML and addresses. What is looked into: zip
    (checkpoints, `.npz`), gzip, bzip2, xz, SQLite, the log of W&B, compressed text in PNG. What pictures show is not
    read, nor is base64.

    Args:
        folder: where to look; a file will do.
        planted: names, dates, numbers, parts of paths, of at least four characters each.

    Returns:
        One leak for each string and place, in the order of the files.

    Raises:
        InputError: where a string is too short to mean anything, or a file cannot be read.
    """
    wanted = dict.fromkeys(text.strip() for text in planted)
    short = [text for text in wanted if len(text) < _SHORTEST]
    if short or not folder.exists():
        problem = f"{short[0]!r} is too short to be looked for" if short else f"{folder} does not exist"
        raise InputError(f"{problem}: give a folder, and strings of {_SHORTEST} characters or more.")
    needles = {text: _needle(text) for text in wanted}
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    return [leak for file in files for leak in _leaks(file, file.relative_to(folder), needles)]


@dataclass(frozen=True)
class _Needle:
    """The ways of writing one string into a file, in lower case as far as ASCII goes, and without zeros.

    UTF-16 and UTF-32 are UTF-8 or Latin-1 with zeros in between, for most letters: without them one search does.

    Attributes:
        cores: every form holds one of these, so that most files need no look at all the forms.
        forms: patterns of bytes.
    """

    cores: list[bytes]
    forms: list[re.Pattern[bytes]]

    def is_in(self, block: bytes, packed: bytes) -> bool:
        """Whether a piece of a file, given with and without its zeros, holds the string."""
        if not any(core in packed for core in self.cores):
            return False
        # what zeros kept apart, such as two numbers, is not to be taken for one
        return any(form.search(block) or form.search(packed) for form in self.forms)


def _leaks(file: Path, relative: Path, needles: dict[str, _Needle]) -> list[Leak]:
    names = [os.fsencode(relative.name)]
    if file.is_symlink():
        names.append(os.fsencode(file.readlink()))
    found = {("name", what): None for what in _matches(names, needles)}
    if file.is_file():
        try:
            with file.open("rb") as stream:
                for where, layer in layers("contents", stream):
                    found |= {(where, what): None for what in _matches(_blocks(layer, needles), needles)}
        except OSError as error:
            raise InputError(
                f"{file} cannot be read ({error.strerror}), so it may hold anything: see to it."
            ) from error
    return [Leak(relative, where, what) for where, what in found]


def _blocks(stream: BinaryIO, needles: dict[str, _Needle]) -> Iterator[bytes]:
    """The bytes of a stream in pieces that overlap, so that nothing is cut in two."""
    # a letter of UTF-32 takes four bytes
    overlap = 4 * max((len(form.pattern) for needle in needles.values() for form in needle.forms), default=0)
    rest = b""
    while block := stream.read(_BLOCK):
        yield rest + block
        rest = (rest + block)[-overlap:]


def _matches(blocks: Iterable[bytes], needles: dict[str, _Needle]) -> list[str]:
    found: dict[str, None] = {}
    for block in blocks:
        block = block.lower()
        packed = block.replace(b"\0", b"")
        found |= {what: None for what, needle in needles.items() if what not in found and needle.is_in(block, packed)}
    return list(found)


def _needle(text: str) -> _Needle:
    parts = [part for part in re.split(r"[\^=]", text) if part]
    date = _date(text)
    if len(parts) > 1:
        spellings, core = [text, *_orders(parts)], max(parts, key=len)
    elif date:
        spellings, core = _dates(date), f"{date.year}"
    else:
        spellings, core = [text], text
    # a short number is also part of many longer ones
    before, after = (rb"(?<![0-9])(?<![0-9]\.)", rb"(?![0-9])") if text.isdigit() and len(text) < 8 else (b"", b"")
    return _Needle(_forms([core]), [re.compile(before + re.escape(form) + after) for form in _forms(spellings)])


def _orders(parts: list[str]) -> list[str]:
    """The parts of a name as people and programs put them."""
    orders = {tuple(parts[:2]), tuple(parts[1::-1]), tuple(parts), (*parts[1:], parts[0])}
    return [glue.join(order) for order in sorted(orders) for glue in ("^", " ", ", ", ",", "_", "-", ".", "")]


def _date(text: str) -> datetime | None:
    for form in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y"):
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, form)
    return None


def _dates(date: datetime) -> list[str]:
    """A date as people and programs write it."""
    short = [f"{date.day}.{date.month}.{date.year}", f"{date.month}/{date.day}/{date.year}"]
    return [date.strftime(form) for form in _DATES] + short


def _forms(spellings: Iterable[str]) -> list[bytes]:
    """All bytes that strings may have become."""
    forms: dict[bytes, None] = {}
    for spelling in spellings:
        for normal in (spelling, unicodedata.normalize("NFC", spelling), unicodedata.normalize("NFD", spelling)):
            for cased in (normal, normal.lower(), normal.upper()):
                forms |= {form.lower().replace(b"\0", b""): None for form in _encodings(cased)}
    return list(forms)


def _encodings(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "latin-1", "cp437"):
        with contextlib.suppress(UnicodeEncodeError):
            yield text.encode(encoding)
    yield quote(text).encode()
    yield json.dumps(text)[1:-1].encode()
    yield text.encode("unicode_escape")  # as YAML and Python do
    yield html.escape(text).encode("ascii", "xmlcharrefreplace")
