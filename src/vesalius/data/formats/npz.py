"""Images from a compressed `.npz`, without holding more of it in memory than needed."""

import threading
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO

import numpy as np

WHOLE_BYTES = 256 * 2**20
WINDOW_IMAGES = 1024


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
        window: the number of images kept of a larger one.

    Raises:
        KeyError: if there is no such member.
        ValueError: if the member is an array of objects (pickled code is never run) or in Fortran order.
        zipfile.BadZipFile, zlib.error, EOFError, OSError: from reading a damaged file.
    """

    def __init__(self, path: Path, member: str, *, whole_bytes: int = WHOLE_BYTES, window: int = WINDOW_IMAGES) -> None:
        self._path = path
        self._member = f"{member}.npy"
        self._window = window
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._failure: Exception | None = None
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._all: np.ndarray | None = None
        self.shape, self.dtype = self._open()
        self._whole = int(np.prod(self.shape)) * self.dtype.itemsize <= whole_bytes

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
        with zipfile.ZipFile(self._path) as archive:  # the member's stream outlives the archive object
            stream = archive.open(self._member)
        self._stream = stream
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError("it is an array of Python objects, not of numbers")
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
        size = int(np.prod(shape)) * self.dtype.itemsize
        content = self._stream.read(size)
        if len(content) != size:
            raise EOFError(f"it ends within {self._member}")
        return np.frombuffer(content, dtype=self.dtype).reshape(shape)
