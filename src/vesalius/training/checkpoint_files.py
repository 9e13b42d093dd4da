"""Checkpoint files that a power cut cannot halve, and that show by themselves whether they are whole.

A file is written under a temporary name, synchronised to the disk and renamed. Its SHA-256 stands at its end, as the
comment of the zip archive that torch writes, so that `torch.load` and every other reader accept it as it is.
"""

import hashlib
import os
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from vesalius.runs.run_folder import synchronize_folder

#: The generation before `last.ckpt`.
PREVIOUS = "previous.ckpt"
_LAST = "last.ckpt"
_MARK = b"vesalius sha256 "
_COMMENT_BYTES = len(_MARK) + 64
_BLOCK = 2**22


class DurableCheckpoints(TorchCheckpointIO):
    """Writes Lightning's checkpoints whole, with their checksum; keeps two generations of `last.ckpt`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; at any moment the folder holds the one before, or this one, whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")  # one process at a time writes here
        try:
            write_checkpoint(checkpoint, temporary)
            if path.name == _LAST and path.exists():
                _keep(path, path.with_name(PREVIOUS))
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        synchronize_folder(path.parent)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a file that `torch.load` reads, with its checksum at the end, and wait until it is on the disk."""
    with path.open("wb") as file:
        writer = _HashingWriter(file)
        try:
            torch.save(content, writer)  # type: ignore[arg-type]
        except RuntimeError as error:
            # Whatever stops it, such as Ctrl-C or a full disk, torch goes on to end the archive, which then fails.
            if error.__context__ is None:
                raise
            raise error.__context__ from None
        file.seek(-2, os.SEEK_END)  # the length of the archive's comment, 0 so far
        file.write(_COMMENT_BYTES.to_bytes(2, "little") + _MARK + writer.hash.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def is_damaged(path: Path) -> bool:
    """Whether a file differs from what its checksum was computed from; False for a file without one."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _COMMENT_BYTES))
        mark, digest = (comment := file.read())[: len(_MARK)], comment[len(_MARK) :]
        if mark != _MARK:
            return False
        file.seek(0)
        computed, left = hashlib.sha256(), size - _COMMENT_BYTES - 2
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            computed.update(block)
            left -= len(block)
    computed.update(b"\0\0")
    return computed.hexdigest().encode() != digest


class _HashingWriter:
    """As much of a file as `torch.save` needs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        written: int = self._file.write(data)
        return written

    def flush(self) -> None:
        self._file.flush()


def _keep(path: Path, older: Path) -> None:
    """Give a file a second name, under which it stays when its own is taken by another."""
    temporary = older.with_name(f".{older.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links: for a moment only the older name is there
        path.replace(older)
        return
    temporary.replace(older)
