"""Download of one file, complete and checked or not at all.

torchvision's downloader has no timeout and accepts a file that is cut short; pooch would be a new core dependency, and
most of this file would stay.
"""

import hashlib
import http.client
import os
import secrets
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from vesalius.config.errors import InputError
from vesalius.terminal import show_progress

TIMEOUT_SECONDS = 30
_BLOCK = 2**20


def download(url: str, target: Path, *, md5: str | None) -> None:
    """Fetch `url` into `target` under a temporary name, check it, then rename it.

    Several processes may do so at once: each has its own temporary file, and the last rename wins.

    Args:
        url: an http or https address.
        target: the file to write; its folder is created.
        md5: the MD5 that the file must have; None accepts any.

    Raises:
        InputError: if it cannot be fetched, or is not the expected file; nothing is left behind.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    by_hand = f"fetch {url} by hand and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _fetch(url, part)
        if md5 is not None and digest != md5:
            raise InputError(
                f"{url} sent another file than expected (its MD5 is {digest}, not {md5}): try again, or {by_hand}."
            )
        os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise InputError(f"{url} could not be fetched ({error}): try again, or {by_hand}.") from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, part: Path) -> str:
    """Stream the reply into a file with a progress bar; returns its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with urlopen(Request(url), timeout=TIMEOUT_SECONDS) as reply, part.open("wb") as file:
        length = int(reply.headers.get("Content-Length") or 0)
        label, received = f"download {part.name.split('.')[1]}", 0
        blocks = iter(partial(reply.read, _BLOCK), b"")
        for block in show_progress(blocks, length or None, label, size=len, unit="bytes"):
            digest.update(block)
            file.write(block)
            received += len(block)
        if length and received < length:
            raise OSError(f"the connection broke after {received} of {length} bytes")
    return digest.hexdigest()
