"""The folder of whatever is kept between runs."""

import os
from pathlib import Path


def cache_folder(chosen: str | None = None) -> Path:
    """The folder chosen, else that of the environment's `VESALIUS_CACHE`, else `~/.cache/vesalius`."""
    return Path(chosen or os.environ.get("VESALIUS_CACHE", "~/.cache/vesalius")).expanduser()
