"""Studies on their way in, in a private temporary folder, until they are complete."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """Bounds of what is received and held.

    Attributes:
        file_bytes: of one image.
        study_files: images of one study.
        held_bytes: of all studies that are not yet reported.
        studies: that are not yet reported.
        associations: at once.
        idle_seconds: after which a silent association is closed.
        quiet_seconds: for which nothing of a study may have come before it counts as complete.
    """

    file_bytes: int = 2**28
    study_files: int = 5_000
    held_bytes: int = 2**31
    studies: int = 16
    associations: int = 8
    idle_seconds: float = 60.0
    quiet_seconds: float = 2.0


class Full(Exception):
    """A limit is reached."""


@dataclass
class _Study:
    folder: Path
    files: dict[str, int] = field(default_factory=dict)  # bytes of each SOPInstanceUID
    open: set[int] = field(default_factory=set)  # associations that sent to it and go on
    latest: float = 0.0


class Inbox:
    """Files of studies by their UIDs.

    A study is complete when the associations that sent its images have ended, and nothing of it has come for a while;
    an association that neither sends nor ends does not hold it up for longer than the idle time.

    Args:
        limits: of what is held.
        clock: seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._root = Path(tempfile.mkdtemp(prefix="vesalius-"))  # readable by this user only
        self._studies: dict[str, _Study] = {}
        self._held = 0
        self._number = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, association: int, study: str, instance: str, content: bytes) -> None:
        """Hold an image; one that came before is replaced.

        Raises:
            Full: if it would go beyond a limit.
        """
        with self._changed:
            known = self._studies.get(study)
            if self._closed or (known is None and len(self._studies) >= self._limits.studies):
                raise Full
            before = 0 if known is None else known.files.get(instance, 0)
            new = known is not None and instance not in known.files and len(known.files) >= self._limits.study_files
            if new or self._held - before + len(content) > self._limits.held_bytes:
                raise Full
            if known is None:
                self._number += 1
                known = self._studies[study] = _Study(self._root / str(self._number))
                known.folder.mkdir(mode=0o700)
            number = list(known.files).index(instance) if instance in known.files else len(known.files)
            (known.folder / f"{number:06d}.dcm").write_bytes(content)
            known.files[instance] = len(content)
            known.open.add(association)
            known.latest = self._clock()
            self._held += len(content) - before
            self._changed.notify_all()

    def end(self, association: int) -> None:
        """An association has ended, however it did."""
        with self._changed:
            for study in self._studies.values():
                study.open.discard(association)
            self._changed.notify_all()

    @contextmanager
    def take(self) -> Iterator[Path | None]:
        """Wait for a complete study; its folder exists as long as the context. None once the inbox is closed."""
        with self._changed:
            while not self._closed and (complete := self._complete()) is None:
                self._changed.wait(min(1.0, self._limits.quiet_seconds / 4))
            study = None if self._closed else self._studies.pop(complete)  # type: ignore[arg-type]
        try:
            yield None if study is None else study.folder
        finally:
            if study is not None:
                shutil.rmtree(study.folder, ignore_errors=True)
                with self._changed:
                    self._held -= sum(study.files.values())

    def close(self) -> None:
        """Delete everything, and wake who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        shutil.rmtree(self._root, ignore_errors=True)

    def _complete(self) -> str | None:
        for uid, study in self._studies.items():
            silent = self._clock() - study.latest
            if silent >= (self._limits.idle_seconds if study.open else self._limits.quiet_seconds):
                return uid
        return None
