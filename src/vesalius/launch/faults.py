"""A full disk, a folder that cannot be written, a lack of memory: one sentence in place of a traceback. Torch-free."""

import errno
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def describe_fault(error: BaseException, folder: Path | None = None) -> str | None:
    """One sentence with the cure for an error of the machine; None for any other error.

    Args:
        error: raised by the work; what it was raised from counts too, as torch hides a full disk behind errors of its
            own.
        folder: of the work; None before there is one.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _FULL:
            place = f" at {one.filename}" if one.filename else ""
            return (
                f"There is no space left{place} ({one.strerror}): free some, {again(folder)}. Files that were "
                "complete are as they were."
            )
        if isinstance(one, OSError) and one.errno in _FORBIDDEN:
            return f"{one.filename} cannot be written ({one.strerror}): give yourself the right to, {again(folder)}."
        if isinstance(one, MemoryError) or any(text in str(one).lower() for text in _MEMORY):
            return f"Out of memory: {_smaller(folder)}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def again(folder: Path | None) -> str:
    """How the work goes on, once its fault is mended."""
    if folder is not None and (folder / "checkpoints").is_dir():
        return f"then go on with `vesalius train {shlex.quote(f'resume={folder}')}`"
    return "then start the command again"


def _smaller(folder: Path | None) -> str:
    """How a training needs less memory for the same steps."""
    try:
        config: dict[str, Any] = {} if folder is None else RunFolder(folder).config
        size, steps = config["data"]["batch_size"], config["trainer"].get("accumulate_grad_batches") or 1
    except (InputError, KeyError, TypeError, AttributeError):
        return "free some, or work on fewer images at a time."
    if not isinstance(size, int) or size < 2:
        return "free some, or choose a smaller model or smaller images."
    return (
        f"data.batch_size={size} does not fit. Half of it needs about half, and with as many batches again per step it "
        f"trains alike: start a new run with data.batch_size={size // 2} trainer.accumulate_grad_batches={2 * steps}. "
        "Validation and test have a size of their own, data.eval_batch_size."
    )
