"""Images from a compressed `.npz`, without holding more of it in memory than needed."""

import math
import threading
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

WHOLE_BYTES = 256 * 2**20
WINDOW_IMAGES = 1024
IMAGE_BYTES = 2**29
_HEADER_BYTES = 2**16


class _Header:
    """A stream as numpy reads a header from it: a length of gigabytes is refused and not read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > _HEADER_BYTES:
            raise ValueError("its header has no reasonable length")
        return self._stream.read(size)


def open_member(path: Path, member: str) -> tuple[IO[bytes], tuple[int, ...], bool, np.dtype]:
    """An array in an archive: a stream of its values, its shape, whether it is in Fortran order, its type.

    Args:
        path: the `.npz` file.
        member: the name of the array in it.

    Raises:
        KeyError: if there is no such member.
        ValueError: for an array of objects (pickled code is never run), or of another size than its header states.
        zipfile.BadZipFile, zlib.error, EOFError, OSError: from reading a damaged file.
    """
    with zipfile.ZipFile(path) as archive:  # the member's stream outlives the archive object
        entry = archive.getinfo(f"{member}.npy")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise ValueError("it is compressed as no .npz is")
        stream = archive.open(entry)
    try:
        header: Any = _Header(stream)
        version = np.lib.format.read_magic(header)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(header)
        if dtype.hasobject:
            raise ValueError("it is an array of Python objects, not of numbers")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize + stream.tell() != entry.file_size:
            raise ValueError("its shape is not that of its content")
    except (SyntaxError, TypeError, AttributeError, RecursionError, MemoryError) as error:  # of a damaged header
        stream.close()
        raise ValueError("its header is damaged") from error
    except BaseException:
        stream.close()
        raise
    return stream, shape, fortran_order, dtype


def read_member(path: Path, member: str, count: int) -> np.ndarray:
    """A small array, such as labels.

    Args:
        path: the `.npz` file.
        member: the name of the array in it.
        count: entries or rows that it must have.

    Raises:
        ValueError: for another number; else as `open_member`.
    """
    stream, shape, _, dtype = open_member(path, member)
    stream.close()
    if shape[:1] != (count,):
        raise ValueError(f"it has shape {shape}, but there are {count} images")
    if math.prod(shape) * dtype.itemsize > WHOLE_BYTES:
        raise ValueError(f"it has more than {WHOLE_BYTES >> 20} MiB")
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[member])


class NpzImages:
    """The images of one member of an `.npz`, by number; safe to read from several threads.

    A member is one deflate stream, which can only be read from its start. A small one is decoded whole at first use. A
    larger one (up to 13 GB in MedMNIST at 224 pixels) is read forwards, and the last images are kept in a window: one
    pass is enough as long as images are asked for roughly in order, as the store does. An image before the window
    costs another pass.

    Args:
        path: the `.npz` file.
        member: the name of the array in it, such as `train_images`.
        whole_bytes: arrays up to this size are decoded whole.
        window: the number of images kept of a larger one, fewer where they would take more than `WHOLE_BYTES`.

    Raises:
        KeyError: if there is no such member.
        ValueError: if the member is an array of objects (pickled code is never run), in Fortran order, or of images of
            more than `IMAGE_BYTES`.
        zipfile.BadZipFile, zlib.error, EOFError, OSError: from reading a damaged file.
    """

    def __init__(self, path: Path, member: str, *, whole_bytes: int = WHOLE_BYTES, window: int = WINDOW_IMAGES) -> None:
        self._path = path
        self._member = member
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._failure: Exception | None = None
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._all: np.ndarray | None = None
        self.shape, self.dtype = self._open()
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        if not self.shape or size > IMAGE_BYTES:
            raise ValueError(f"it is no array of images of up to {IMAGE_BYTES >> 20} MiB")
        self._whole = len(self) * size <= whole_bytes
        self._window = max(1, min(window, WHOLE_BYTES // max(1, size)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, number: int) -> np.ndarray:
        """Image `number`, in its shape in the file."""
        if not 0 <= number < len(self):
            raise IndexError(f"image {number} of {len(self)}")
        with self._lock:
            if self._failure is not None:  # a damaged stream is not read again for each of its images
                raise self._failure
            try:
                return self._read(number)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                self._failure = error
                raise

    def _read(self, number: int) -> np.ndarray:
        if self._whole:
            if self._all is None:
                self._all = self._read_block(len(self))
                self._close()
            whole: np.ndarray = self._all[number]
            return whole
        if number < self._next and number not in self._recent:
            self._open()
        while self._next <= number:
            self._recent[self._next] = self._read_block(1)[0]
            self._next += 1
            if len(self._recent) > self._window:
                self._recent.popitem(last=False)
        return self._recent[number]

    def _open(self) -> tuple[tuple[int, ...], np.dtype]:
        self._close()
        self._stream, shape, fortran_order, dtype = open_member(self._path, self._member)
        if fortran_order and len(shape) > 1:
            raise ValueError("it is stored in Fortran order; save it with np.ascontiguousarray")
        return shape, dtype

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._next = None, 0
        self._recent.clear()

    def _read_block(self, count: int) -> np.ndarray:
        assert self._stream is not None
        shape = (count, *self.shape[1:])
        size = math.prod(shape) * self.dtype.itemsize
        content = self._stream.read(size)
        if len(content) != size:
            raise EOFError(f"it ends within {self._member}")
        return np.frombuffer(content, dtype=self.dtype).reshape(shape)
