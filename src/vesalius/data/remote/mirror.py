"""Local copies of the files of one bucket or web server, as fresh as the last time they were asked for."""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from vesalius.config.addresses import is_address, split_address
from vesalius.config.errors import InputError
from vesalius.data.cache_folder import cache_folder
from vesalius.data.formats.folders import is_leftover
from vesalius.data.remote.server import Entry, Server, Unreachable, absent
from vesalius.runs.locks import NoLocks, lock, warn_without_locks
from vesalius.terminal import show_progress

logger = logging.getLogger("vesalius")
Item = TypeVar("Item")
Result = TypeVar("Result")

_WORKERS = 16
_AHEAD = 64
_ATTEMPTS = 3
#: Bytes of the disk that stay free, whatever a server sends.
_RESERVE = 2**30
_WAIT_SECONDS = 0.5


def local_folder(folder: str | Path) -> Path:
    """A folder of this machine, or a local copy of all that is below an address.

    Raises:
        InputError: where the address cannot be read.
    """
    if not is_address(folder):
        return Path(folder).expanduser()
    scheme, host, name = split_address(str(folder))
    return Mirror(scheme, host).update_folder(name)


def local_file(file: str | Path) -> Path:
    """A file of this machine, or a local copy of the one at an address.

    Raises:
        InputError: where the address cannot be read.
    """
    if not is_address(file):
        return Path(file).expanduser()
    path = local_files([str(file)])[str(file)]
    if not path.is_file():
        raise absent(str(file))
    return path


def local_files(addresses: Sequence[str]) -> dict[str, Path]:
    """Local copies of the files, or of the folders of files, at some addresses; nothing lies where there is none."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for address in addresses:
        scheme, host, name = split_address(address)
        places.setdefault((scheme, host), {})[address] = name
    copies: dict[str, Path] = {}
    for (scheme, host), names in places.items():
        mirror = Mirror(scheme, host)
        mirror.update_files(sorted(set(names.values())))
        copies |= {address: mirror.files / name for address, name in names.items()}
    return copies


def copies_of(folder: str) -> Path:
    """Where copies from below an address lie, once there are any; nothing is downloaded."""
    scheme, host, name = split_address(folder)
    return Mirror(scheme, host).files / name


class Mirror:
    """The copies of the files of one bucket or host, below the cache folder.

    What was downloaded is recorded file by file, with what the server stated of it, so that a stopped download goes on,
    and a file that changed is downloaded again. Processes that update one mirror wait for each other.

    Args:
        scheme: `s3`, `gs`, `https` or `http`.
        host: bucket, or host with its port.

    Attributes:
        files: the folder of the copies, by their names on the server.
    """

    def __init__(self, scheme: str, host: str) -> None:
        self._address = f"{scheme}://{host}"
        self._scheme, self._host = scheme, host
        self._place = cache_folder() / "remote" / f"{scheme}-{quote(host, safe='')}"
        self.files, self._parts = self._place / "files", self._place / "parts"
        self._index_file = self._place / "index.jsonl"
        self._stopped, self._recording = threading.Event(), threading.Lock()

    def update_folder(self, folder: str) -> Path:
        """Download what is new or changed below a folder, and remove what is no longer there.

        Returns:
            The local folder.

        Raises:
            InputError: naming the address and the cure.
        """
        with self._opened(folder) as server:
            prefix = f"{folder}/" if folder else ""
            entries = [entry for entry in server.below(folder) if not _is_leftover(entry.name[len(prefix) :])]
            if not entries:
                raise InputError(f"{self._address}/{folder} holds no file: correct the address.")
            present = {entry.name for entry in entries}
            self._remove([name for name in self._index if name.startswith(prefix) and name not in present])
            self._download(server, entries)
        return self.files / folder

    def update_files(self, names: Sequence[str]) -> None:
        """Download the files of these names that are new or changed; a name without an ending may be a folder's.

        Raises:
            InputError: naming the address and the cure.
        """
        with self._opened("") as server, ThreadPoolExecutor(_WORKERS) as pool:
            for name in names:
                self._check(name)
            found = dict(zip(names, pool.map(server.entry, names), strict=True))
            entries = [entry for entry in found.values() if entry is not None]
            lost = {name for name, entry in found.items() if entry is None}
            folders = [name for name in lost if "." not in name.rpartition("/")[2]]
            for inside in pool.map(lambda name: _listed(server, name), folders):
                entries += [entry for entry in inside if not _is_leftover(entry.name.rpartition("/")[2])]
            present = {entry.name: entry for entry in entries}
            below = tuple(f"{name}/" for name in folders)
            gone = {name for name in self._index if name in lost or name.startswith(below)}
            self._remove(sorted(gone - present.keys()))
            self._download(server, list(present.values()))

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Server]:
        """The server, while no other process updates this mirror; its faults, and those of the disk, in words."""
        try:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self._place / "lock").open("a", encoding="utf-8") as file:
                self._wait_for_lock(file.fileno())
                shutil.rmtree(self._parts, ignore_errors=True)
                for folder in (self.files, self._parts):
                    folder.mkdir(exist_ok=True)
                self._index = _read_index(self._index_file)
                yield _connect(self._scheme, self._host)
        except Unreachable as error:
            raise InputError(
                f"{self._address}/{name} cannot be read ({error}): see whether the network and the server are up, and "
                "start again; what was downloaded is kept."
            ) from error
        except OSError as error:
            raise InputError(
                f"copies from {self._address} cannot be written to {self._place} ({error.strerror or error}): free "
                "some room, or name another folder in the environment's VESALIUS_CACHE."
            ) from error

    def _wait_for_lock(self, file: int) -> None:
        waits = False
        try:
            while not lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not waits:
                    logger.info("waiting for another process that downloads from the same server.")
                waits = True
                time.sleep(_WAIT_SECONDS)
        except NoLocks:
            warn_without_locks(self._place)

    def _download(self, server: Server, entries: Sequence[Entry]) -> None:
        """Fetch the entries that have no copy as they are, several at once."""
        for entry in entries:
            self._check(entry.name)
        with (
            self._index_file.open("a", encoding="utf-8") as self._record,
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="download") as pool,
        ):
            try:
                asked = _ahead(pool, lambda entry: _complete(server, entry), entries)
                wanted = [entry for entry in asked if not self._has(entry)]
                known = all(entry.size is not None for entry in wanted)
                total = sum(entry.size or 0 for entry in wanted)
                self._check_room(total)
                sizes = _ahead(pool, lambda entry: self._fetch(server, entry.name), wanted)
                deque(show_progress(sizes, total if known else None, "download", size=int, unit="bytes"), maxlen=0)
            except BaseException:
                self._stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _has(self, entry: Entry) -> bool:
        """Whether the copy is there and of what the server states now."""
        known = self._index.get(entry.name)
        if known is None or known.tag != entry.tag or entry.size not in (None, known.size):
            return False
        try:
            return os.lstat(self.files / entry.name).st_size == known.size
        except OSError:
            return False

    def _fetch(self, server: Server, name: str) -> int:
        """Download one file under a temporary name, rename it and record it; returns its size in bytes."""
        for attempt in range(_ATTEMPTS):
            try:
                got = self._fetch_once(server, name)
                break
            except Unreachable:
                if attempt == _ATTEMPTS - 1 or self._stopped.is_set():
                    raise
                time.sleep(2**attempt)
        with self._recording:
            self._index[name] = got
            self._record.write(_line(got))
            self._record.flush()
        return got.size or 0

    def _fetch_once(self, server: Server, name: str) -> Entry:
        part, path, received = self._parts / secrets.token_hex(8), self.files / name, 0
        try:
            now, blocks = server.read(name)
            with part.open("wb") as file:
                for block in blocks:
                    received += len(block)
                    if self._stopped.is_set():
                        raise Unreachable("it was stopped")
                    if now.size is not None and received > now.size:
                        raise Unreachable(f"it sent more than the {now.size} bytes that it announced")
                    self._check_room(len(block))
                    file.write(block)
            if now.size is not None and received < now.size:
                raise Unreachable(f"the connection broke after {received} of {now.size} bytes")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise InputError(
                    f"{self._address}/{name} is the name of a file and of a folder there, which a disk cannot hold: "
                    "rename one of them."
                ) from error
        finally:
            part.unlink(missing_ok=True)
        return Entry(name, received, now.tag)

    def _remove(self, names: Iterable[str]) -> None:
        """Remove copies of files that are no longer on the server, and write the index without them.

        Folders that are empty then go too: a file may have their name now, and an empty folder would be a class.
        """
        for name in names:
            (self.files / name).unlink(missing_ok=True)
            del self._index[name]
            with contextlib.suppress(OSError):  # not empty
                for folder in list(PurePosixPath(name).parents)[:-1]:
                    (self.files / folder).rmdir()
        rewritten = self._index_file.with_suffix(".new")
        rewritten.write_text("".join(map(_line, self._index.values())), encoding="utf-8")
        os.replace(rewritten, self._index_file)

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._place).free
        if size + _RESERVE > free:
            raise InputError(
                f"copies from {self._address} need {size / 2**30:.1f} GB more, and {self._place} has "
                f"{free / 2**30:.1f} GB free, of which 1 GB is left: free some room, or name another folder in the "
                "environment's VESALIUS_CACHE."
            )

    def _check(self, name: str) -> None:
        """Refuse a name that would leave the folder of the copies."""
        parts = name.split("/")
        if not name or "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
            raise InputError(f"{self._address} has a file {name!r}, which is no path below a folder: rename it there.")


def _connect(scheme: str, host: str) -> Server:
    if scheme in ("http", "https"):
        from vesalius.data.remote.web import WebServer

        return WebServer(scheme, host)
    from vesalius.data.remote.object_store import ObjectStore

    return ObjectStore(scheme, host)


def _complete(server: Server, entry: Entry) -> Entry:
    """The entry with size and tag, where a listing had only names."""
    if entry.tag is not None:
        return entry
    return server.entry(entry.name) or Entry(entry.name, None, "")


def _listed(server: Server, folder: str) -> list[Entry]:
    """What is in a folder; nothing where there is no such folder."""
    try:
        return list(server.below(folder))
    except InputError:
        return []


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The work on each item in order, done a bounded number of items ahead."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _is_leftover(name: str) -> bool:
    return any(is_leftover(part) for part in name.split("/") if part not in ("", ".", ".."))


def _line(entry: Entry) -> str:
    return json.dumps([entry.name, entry.size, entry.tag]) + "\n"


def _read_index(file: Path) -> dict[str, Entry]:
    """What was downloaded; a line that was cut short counts for nothing."""
    index: dict[str, Entry] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                entry = Entry(*json.loads(line))
                index[entry.name] = entry
    return index
