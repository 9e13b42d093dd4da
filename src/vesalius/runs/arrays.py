"""Arrays in a safetensors file, which holds numbers and no code; read without torch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vesalius.config.errors import InputError

#: Of a file: what is read at once.
MOST_BYTES = 2**27


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, whole or not at all."""
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(dict(arrays), str(temporary))
    temporary.replace(path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name.

    Raises:
        InputError: for a damaged or too large file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"it has more than {MOST_BYTES // 2**20} MiB, and is not read.")
        arrays: dict[str, NDArray[Any]] = load_file(str(path))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"it cannot be read ({str(error).splitlines()[0].rstrip('.')}): copy it again.") from None
    return arrays
