"""Looks into files that hold others, or text that their own bytes do not show."""

import bz2
import contextlib
import gzip
import io
import lzma
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

_DEEPEST = 4  # an archive in an archive in an archive
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, sqlite3.Error)
_WANDB_BLOCK, _WANDB_HEADER = 1 << 15, 7

Opened = Iterator[tuple[str, BinaryIO]]


def layers(where: str, stream: BinaryIO, depth: int = 0) -> Opened:
    """A file, then what is inside it, and inside that; each to be read from its start.

    What is damaged or locked ends the look inside, not the walk: its own bytes were given before.

    Args:
        where: what to call the file.
        stream: it can be sought in.
    """
    stream.seek(0)
    start = stream.read(16)
    stream.seek(0)
    yield where, stream
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None or depth == _DEEPEST:
        return
    stream.seek(0)
    inside = opener(stream)
    while True:
        try:
            name, inner = next(inside)
            inner.seek(0)
        except (StopIteration, *_DAMAGE):
            return
        yield from layers(name if where == "contents" else f"{where} > {name}", inner, depth + 1)


def _zip(stream: BinaryIO) -> Opened:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            yield member.filename, io.BytesIO(archive.read(member))


def _stream(opener: Callable[[BinaryIO], object]) -> Callable[[BinaryIO], Opened]:
    def opened(stream: BinaryIO) -> Opened:
        yield "uncompressed", io.BytesIO(cast(BinaryIO, opener(stream)).read())

    return opened


def _sqlite(stream: BinaryIO) -> Opened:
    """The values of all tables: long ones lie in several pages of the file."""
    contents = bytearray(stream.read())
    contents[18:20] = b"\x01\x01"  # the write-ahead log, if there was one, is a file of its own
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(bytes(contents))
        database.text_factory = bytes
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            name = table.decode()
            rows = database.execute('SELECT * FROM "{}"'.format(name.replace('"', '""')))
            values = (value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
            yield f"table {name}", io.BytesIO(b"\n".join(values))


def _png(stream: BinaryIO) -> Opened:
    """Compressed text chunks; others show in the bytes of the file."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        contents = stream.read(length)
        stream.seek(4, io.SEEK_CUR)  # checksum
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            keyword, _, rest = contents.partition(b"\0")
            packed = rest.split(b"\0", 3)[3] if kind == b"iTXt" else rest[1:]
            with contextlib.suppress(zlib.error, IndexError):
                yield f"text chunk {keyword.decode('latin-1')}", io.BytesIO(zlib.decompress(packed))


def _wandb(stream: BinaryIO) -> Opened:
    """Records of W&B's log, whole: in the file they are cut at the ends of blocks of 32 KiB, as in LevelDB's log."""
    contents = stream.read()
    records, position = bytearray(), _WANDB_HEADER
    while position + _WANDB_HEADER <= len(contents):
        left = _WANDB_BLOCK - position % _WANDB_BLOCK
        if left < _WANDB_HEADER:
            position += left
            continue
        (length,) = struct.unpack_from("<H", contents, position + 4)
        records += contents[position + _WANDB_HEADER : position + _WANDB_HEADER + length]
        position += _WANDB_HEADER + length
    yield "records", io.BytesIO(bytes(records))


_OPENERS: dict[bytes, Callable[[BinaryIO], Opened]] = {
    b"PK\x03\x04": _zip,
    b"\x1f\x8b": _stream(lambda stream: gzip.GzipFile(fileobj=stream)),
    b"BZh": _stream(bz2.BZ2File),
    b"\xfd7zXZ\x00": _stream(lzma.LZMAFile),
    b"SQLite format 3\x00": _sqlite,
    b"\x89PNG\r\n\x1a\n": _png,
    b":W&B": _wandb,
}
