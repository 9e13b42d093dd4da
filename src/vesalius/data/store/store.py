"""A store: every sample decoded once, in one memory-mapped file that batches are cut from."""

import hashlib
import json
import math
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.data.formats.images import Fit
from vesalius.data.sources.base import Source
from vesalius.data.store.build import IMAGES_FILE, META_FILE, STORE_VERSION, Decoding, OnBadFile, build

_ATTEMPTS = 3


class Store:
    """Decoded images or image series, gathered a whole batch at a time.

    Created by `Store.open`, which finds the images in a cache folder or decodes them into it. The folder is named by a
    hash of all that its bytes depend on, so a changed file or setting never meets old images. It appears under
    its name only when complete. A file of the wrong length is never used, nor one whose checksum is wrong; the checksum
    is checked only where the whole file is read. The folder holds pixels and the ids of samples left out, no path.

    The frames of all series follow one another: those of series i are frames `offsets[i]` to `offsets[i + 1] - 1`.
    A single image is a series of one frame.

    Attributes:
        table: the sample table; row i belongs to image (or series) i.
        skipped: `sample_id` and reason of each sample left out (`on_bad_file="skip"`).
        series: whether the samples are image series.
        lengths: (N,) int64, frames of each sample.
        offsets: (N + 1,) int64, where the frames of each sample begin; the last is the number of all frames.
        images: (frames, C, H, W), of the native type; in memory, or mapped from the file and read as needed.
        path: the cache folder.
    """

    def __init__(self, path: Path, table: pd.DataFrame, meta: dict[str, Any], *, in_memory: bool) -> None:
        self.path, self.table = path, table
        self.skipped: list[tuple[str, str]] = [(name, reason) for name, reason in meta["skipped"]]
        self._shape, self._type = tuple(meta["shape"]), str(meta["dtype"])
        self.series = "lengths" in meta
        self.lengths = (
            torch.tensor(meta["lengths"]) if self.series else torch.ones(1, dtype=torch.int64).expand(len(table))
        )
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])
        self.in_memory = in_memory
        self.images = self._map()
        if in_memory:
            self.images = self.images.clone()
            if _checksum(self.images) != meta["crc32"]:
                raise _Damaged(path)

    @classmethod
    def open(
        cls,
        source: Source,
        table: pd.DataFrame,
        *,
        image_size: int | None = None,
        fit: Fit = "stretch",
        channels: Literal[1, 3] | None = None,
        bits: Literal[8, 16] | None = None,
        cache_dir: str | Path,
        memory_limit: int = 4 * 2**30,
        on_bad_file: OnBadFile = "error",
        progress: bool = True,
    ) -> "Store":
        """Find the decoded images, or decode them.

        Several processes may do so at once: each builds under a name of its own, and the first to finish wins. The
        unfinished folder of a killed process is never used, and is removed a day later.

        Args:
            source: decodes a row of the table.
            table: the sample table; its order is the order of the images.
            image_size: height and width, in pixels; None keeps the images' own size.
            fit: how an image of another aspect ratio is fitted (see `resize`).
            channels: 1, 3, or None to keep the images' own.
            bits: 8 or 16, by the whole range of the type, or None to keep the images' own.
            cache_dir: where the folders are.
            memory_limit: sets of up to this many bytes are held in memory; larger ones are mapped.
            on_bad_file: `skip` leaves unreadable samples out. Samples that differ in shape or type are always an error.
            progress: show a bar once decoding has taken two seconds, if there is a terminal.

        Raises:
            InputError: with every sample that cannot be decoded or does not fit the others, and the cure.
        """
        if image_size is not None and image_size < 1:
            raise InputError(f"`data.image_size={image_size}` must be a positive number of pixels, or null.")
        decoding = Decoding(None if image_size is None else (image_size, image_size), fit, channels, bits)
        table = table.reset_index(drop=True)
        if table.empty:
            raise InputError("there is no sample to decode: correct `data.source`.")
        ids = [str(name) for name in table["sample_id"]]
        path = Path(cache_dir).expanduser() / _key(source, decoding, ids)
        for _ in range(_ATTEMPTS):  # another process may replace a damaged folder at the same time
            meta = _read_meta(path)
            if meta is None:
                build(source, table, decoding, path, on_bad_file=on_bad_file, progress=progress)
                continue
            if meta["skipped"] and on_bad_file == "error":
                # Decoded again: the reason may be gone, as a missing decoder is once it was installed.
                shutil.rmtree(path, ignore_errors=True)
                continue
            left_out = {name for name, _ in meta["skipped"]}
            decoded = table[[name not in left_out for name in ids]].reset_index(drop=True)
            size = int(np.prod(meta["shape"])) * np.dtype(meta["dtype"]).itemsize
            try:
                return cls(path, decoded, meta, in_memory=size <= memory_limit)
            except (_Damaged, OSError, RuntimeError):
                shutil.rmtree(path, ignore_errors=True)
        raise InputError(
            f"the cache folder {path} was damaged each time it was written: name another disk in `data.cache_dir`."
        )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.lengths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image or frame."""
        _, channels, height, width = self._shape
        return channels, height, width

    @property
    def dtype(self) -> torch.dtype:
        """`torch.uint8`, `torch.uint16` or `torch.float32`."""
        return self.images.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return int(self.offsets[-1]) * math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Gather images: (B,) int64 row numbers, none negative, to (B, C, H, W) of the native type.

        Raises:
            IndexError: if a row number is out of range.
            TypeError: if the samples are series, whose frames `frames` gathers.
        """
        if self.series:
            raise TypeError("a store of image series has no single image per row: gather frames with Store.frames")
        return self.frames(indices)

    def frames(self, positions: Tensor) -> Tensor:
        """Gather frames of any series: (...) int64 positions, none negative, to (..., C, H, W) of the native type.

        Raises:
            IndexError: if a position is out of range.
        """
        flat = positions.flatten()
        if self.images.dtype == torch.uint16:  # few kernels know uint16, but every device can move 16-bit words
            found = self.images.view(torch.int16).index_select(0, flat).view(torch.uint16)
        else:
            found = self.images.index_select(0, flat)
        return found.view(*positions.shape, *self.shape)

    def middle_frames(self, rows: Tensor) -> Tensor:
        """(B, C, H, W): the images of some rows, or the middle frames of series."""
        return self.frames((self.offsets[rows] + self.offsets[rows + 1]) // 2)

    def __getstate__(self) -> dict[str, Any]:
        """Mapped images are mapped again by a worker process instead of being copied to it."""
        return self.__dict__ if self.in_memory else {**self.__dict__, "images": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.in_memory:
            self.images = self._map()

    def _map(self) -> Tensor:
        dtype = getattr(torch, self._type)
        file, count = str(self.path / IMAGES_FILE), int(np.prod(self._shape))
        return torch.from_file(file, shared=False, size=count, dtype=dtype).view(self._shape)


class _Damaged(Exception):
    """The bytes are not those that were written."""


def _checksum(images: Tensor) -> int:
    return zlib.crc32(images.view(torch.uint8).numpy().data)


def _key(source: Source, decoding: Decoding, ids: Sequence[str]) -> str:
    parts = [source.fingerprint(), decoding.size, decoding.fit if decoding.size else None, decoding.channels]
    series = (["series"] if source.series else []) + ([decoding.bits] if decoding.bits else [])
    content = json.dumps([*parts, STORE_VERSION, list(ids), *series], separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _read_meta(path: Path) -> dict[str, Any] | None:
    """The description of a finished folder; None if there is none, or its file has the wrong length."""
    if not path.exists():
        return None  # a folder that another process renames from now on is complete, and must not be removed
    try:
        meta: dict[str, Any] = json.loads((path / META_FILE).read_text(encoding="utf-8"))
        length = int(np.prod(meta["shape"])) * np.dtype(meta["dtype"]).itemsize
        whole = sum(meta["lengths"]) == meta["shape"][0] if "lengths" in meta else True
        if (path / IMAGES_FILE).stat().st_size == length and {"crc32", "skipped"} <= meta.keys() and whole:
            return meta
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(path, ignore_errors=True)
    return None
