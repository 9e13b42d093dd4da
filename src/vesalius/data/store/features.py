"""Feature vectors of decoded images, kept next to them: a cache, which can be deleted and written again at any time."""

import logging
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger("vesalius")

#: Numbers of images, rising, and their features (N, F).
Known = tuple[NDArray[np.int64], NDArray[np.float32]]

#: Larger files are not written.
MOST_BYTES = 2**30


def read_features(file: Path, count: int, dim: int) -> Known:
    """What a file holds; nothing where it is missing, damaged or of other images, since it can be written again.

    Args:
        file: written by `write_features`.
        count: of the images, numbered from 0.
        dim: length of a feature vector.
    """
    nothing = np.empty(0, np.int64), np.empty((0, dim), np.float32)
    try:
        with np.load(file, allow_pickle=False) as stored:
            rows, features = np.asarray(stored["rows"], np.int64), np.asarray(stored["features"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return nothing
    whole = features.shape == (len(rows), dim) and (np.diff(rows) > 0).all() and ((rows >= 0) & (rows < count)).all()
    return (rows, features) if whole else nothing


def join_features(one: Known, other: Known) -> Known:
    """Both, without repetition of those that both know."""
    rows, first = np.unique(np.concatenate([one[0], other[0]]), return_index=True)
    return rows, np.concatenate([one[1], other[1]])[first]


def write_features(file: Path, known: Known) -> None:
    """Written to a name of its own and renamed; a cache that cannot be written costs time only."""
    if known[1].nbytes > MOST_BYTES:
        return
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as opened:
            np.savez(opened, rows=known[0], features=known[1])
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        logger.info("Features are not kept: %s.", error.strerror)
