"""The user's folders, which W&B's own files would name: its run file, and its logs."""

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

from vesalius.runs.redaction import text_without_paths


def name_files_relatively() -> None:
    """Have run files name the files of artifacts from the working directory, where `wandb sync` looks for them.

    W&B has no option for it, and writes absolute paths, which it does not send but which stay in the run file.
    """
    from wandb.sdk.interface.interface import InterfaceBase

    write_manifest = InterfaceBase._make_artifact_manifest
    if hasattr(write_manifest, "__wrapped__"):
        return

    @functools.wraps(write_manifest)
    def write(self: Any, *arguments: Any, **options: Any) -> Any:
        written = write_manifest(self, *arguments, **options)
        for entry in written.contents:
            if os.path.isabs(entry.local_path):
                entry.local_path = os.path.relpath(entry.local_path)
        return written

    InterfaceBase._make_artifact_manifest = write  # type: ignore[method-assign]


def hide_paths(folder: Path, wandb_folder: Path) -> None:
    """Remove paths from the logs of W&B's runs, and links to absolute ones, once a run is closed.

    Args:
        folder: of the run.
        wandb_folder: where W&B writes.
    """
    known = [str(folder), os.path.expanduser("~")]
    for log in [*wandb_folder.glob("*run-*/logs/*.log"), *(folder / "wandb").glob("cache/**/*.log")]:
        with contextlib.suppress(OSError):
            if log.is_symlink():
                log.unlink()
            else:
                text = log.read_text(encoding="utf-8", errors="replace")
                log.write_text(text_without_paths(text, known), encoding="utf-8")  # W&B appends its last lines
