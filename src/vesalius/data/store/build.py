"""Builds the folder of a store: decode in parallel, write in order, rename the finished folder."""

import json
import os
import secrets
import shutil
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.formats.images import Fit, adapt_channels, convert_bits, resize
from vesalius.data.sources.base import Source
from vesalius.data.store.faults import Kind, refuse, refuse_all
from vesalius.terminal import show_progress

#: Part of every key: raise it whenever a byte may come out different.
STORE_VERSION = 1
IMAGES_FILE, META_FILE = "images.bin", "meta.json"
DTYPES = ("uint8", "uint16", "float32")
#: Frames of a series: five minutes of video; a longer one is a mistake, or needs fewer frames per second.
MAX_FRAMES = 10_000
MAX_WORKERS = 16
OnBadFile = Literal["error", "skip"]

_IMAGES_PER_TASK = 16  # a series is a task of its own
_RECORDS_AT_ONCE = 1024  # a multiple of it
_STALE_SECONDS = 24 * 3600
_SYNC_BYTES = 64 * 2**20  # go to the disk while others are decoded, so that nobody waits for a gigabyte at the end

Outcome = np.ndarray | str  # an image or a series, or why it cannot be decoded


@dataclass(frozen=True)
class Decoding:
    """How an image is changed on its way from the source into the store.

    Attributes:
        size: height and width in pixels; None keeps the images' own.
        fit: how another aspect ratio is fitted into it.
        channels: 1, 3, or None to keep the images' own.
        bits: 8, 16, or None to keep the images' own.
    """

    size: tuple[int, int] | None
    fit: Fit
    channels: int | None
    bits: int | None = None


@dataclass
class _Written:
    """The state of a file that is being written."""

    checksum: int = 0
    frames: int = 0
    lengths: list[int] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    kinds: dict[Kind, list[str]] = field(default_factory=dict)


def build(
    source: Source,
    table: pd.DataFrame,
    decoding: Decoding,
    path: Path,
    *,
    on_bad_file: OnBadFile,
    progress: bool,
) -> None:
    """Decode every row of a table into the folder `path`, which appears complete or not at all.

    Memory stays at a few hundred images (or a few dozen series), whatever the number of rows. The frames of all series
    follow one another, and `lengths` in the description holds how many each has.

    Raises:
        InputError: with every sample that cannot be decoded (unless skipped), every kind of misfit, or a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(path.parent)
        work = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
        work.mkdir()
        try:
            _fill(source, table, decoding, work, on_bad_file=on_bad_file, progress=progress)
            with suppress(OSError):  # another process was first: its folder is as good
                os.rename(work, path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"decoded images cannot be written to {path.parent} ({error.strerror or error}): free some room or name "
            "another folder in `data.cache_dir`."
        ) from error


def _fill(
    source: Source,
    table: pd.DataFrame,
    decoding: Decoding,
    work: Path,
    *,
    on_bad_file: OnBadFile,
    progress: bool,
) -> None:
    """Write the images and their description into `work`."""
    written = _Written()
    with (work / IMAGES_FILE).open("wb") as file, ThreadPoolExecutor(1, thread_name_prefix="sync") as disk:
        syncing: Future[None] | None = None
        unsynced = 0
        outcomes = _decode_all(source, table, decoding)
        for name, outcome in show_progress(outcomes, len(table), "decode images", wanted=progress):
            if isinstance(outcome, str):
                written.skipped.append((name, outcome))
                continue
            frames = outcome if source.series else outcome[None]
            written.kinds.setdefault((frames.shape[1:], str(frames.dtype)), []).append(name)
            if len(written.kinds) == 1:  # else the file is thrown away, and the rest is read only for its faults
                content = np.ascontiguousarray(frames).data
                file.write(content)
                unsynced += content.nbytes
                if unsynced >= _SYNC_BYTES and (syncing is None or syncing.done()):
                    _raise_error(syncing)
                    syncing, unsynced = disk.submit(os.fsync, file.fileno()), 0
                written.checksum = zlib.crc32(content, written.checksum)
                written.frames += len(frames)
                written.lengths.append(len(frames))
        file.flush()
        _raise_error(syncing)
        os.fsync(file.fileno())
    bad = [] if on_bad_file == "skip" else written.skipped
    if bad or len(written.kinds) > 1:
        raise refuse(source, table, bad, written.kinds)
    if not written.kinds:
        raise refuse_all(source, table, written.skipped)
    ((shape, dtype),) = written.kinds
    meta = {
        "version": STORE_VERSION,
        "shape": [written.frames, *shape],
        "dtype": dtype,
        "crc32": written.checksum,
        "skipped": written.skipped,
    }
    if source.series:
        meta["lengths"] = written.lengths
    with (work / META_FILE).open("w", encoding="utf-8") as description:
        json.dump(meta, description)
        description.flush()
        os.fsync(description.fileno())


def _raise_error(syncing: Future[None] | None) -> None:
    """Wait for a thread, and raise what the disk refused: the system reports it once, and not to the next one."""
    if syncing is not None:
        syncing.result()


def _decode_all(source: Source, table: pd.DataFrame, decoding: Decoding) -> Iterator[tuple[str, Outcome]]:
    """Each sample's id and outcome, in the order of the table; decoded a bounded number of rows ahead."""
    workers = min(MAX_WORKERS, os.cpu_count() or 1)
    step = 1 if source.series else _IMAGES_PER_TASK
    waiting: deque[Future[list[tuple[str, Outcome]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for rows in _records(table, step):
                waiting.append(pool.submit(_decode_rows, source, rows, decoding))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _records(table: pd.DataFrame, step: int) -> Iterator[list[dict[Any, Any]]]:
    """The rows, `step` at a time; pandas takes as long for a few as for many."""
    for start in range(0, len(table), _RECORDS_AT_ONCE):
        records: list[dict[Any, Any]] = table.iloc[start : start + _RECORDS_AT_ONCE].to_dict("records")
        yield from (records[first : first + step] for first in range(0, len(records), step))


def _decode_rows(source: Source, rows: list[dict[Any, Any]], decoding: Decoding) -> list[tuple[str, Outcome]]:
    outcomes: list[tuple[str, Outcome]] = []
    for row in rows:
        try:
            outcomes.append((str(row["sample_id"]), _decode(source, row, decoding)))
        except InputError as error:
            outcomes.append((str(row["sample_id"]), str(error)))
    return outcomes


def _decode(source: Source, row: Mapping[str, Any], decoding: Decoding) -> np.ndarray:
    """An image, (C, H, W), or a series, (T, C, H, W), as it goes into the file."""
    name = row["sample_id"]
    # Grey to RGB may follow the resizing, which RGB to grey and more bits must precede
    soon = decoding.size if decoding.fit == "stretch" and decoding.channels != 1 and decoding.bits != 16 else None
    loaded = source.image(row) if soon is None else source.sized_image(row, soon)
    axes = "(T, C, H, W)" if source.series else "(C, H, W)"
    if loaded.ndim != 3 + source.series or 0 in loaded.shape or loaded.dtype.name not in DTYPES:
        raise InputError(
            f"{name} comes as {loaded.dtype} of shape {loaded.shape}; {axes} of {', '.join(DTYPES)} is needed: "
            "correct the source."
        )
    if source.series and len(loaded) > MAX_FRAMES:
        raise InputError(
            f"{name} has {len(loaded)} frames, and a series may have {MAX_FRAMES} at most: cut it into several, or "
            "keep fewer of its frames."
        )
    if loaded.dtype.kind == "f" and not np.isfinite(loaded).all():
        bad = int(loaded.size - np.isfinite(loaded).sum())
        raise InputError(f"{name} has {bad} pixel(s) that are NaN or infinite: replace them or leave the sample out.")
    try:
        if source.series:
            return np.stack([_fitted(frame, decoding) for frame in loaded])
        return _fitted(loaded, decoding)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _fitted(image: np.ndarray, decoding: Decoding) -> np.ndarray:
    """An image of the bits, the channels and the size wanted."""
    image = adapt_channels(convert_bits(image, decoding.bits), decoding.channels)
    return image if decoding.size is None else resize(image, decoding.size, decoding.fit)


def _clear_stale(cache_dir: Path) -> None:
    """Remove the folders of killed processes: they were not written to for a day."""
    for work in cache_dir.glob(".*.part"):
        with suppress(OSError):
            newest = max(entry.stat().st_mtime for entry in (work, *work.iterdir()))
            if time.time() - newest > _STALE_SECONDS:
                shutil.rmtree(work, ignore_errors=True)
