"""Pseudonyms for patients and files; only one private file of the user holds the real ids."""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vesalius.config.errors import InputError
from vesalius.data.identity_cipher import SALT_BYTES, Cipher

logger = logging.getLogger("vesalius")

_VARIABLE = "VESALIUS_IDENTITIES"
_DEFAULT = "~/.vesalius/identities.sqlite"
_APPLICATION = 0x76657361  # "vesa": distinguishes our files from other programs' SQLite files
_KEY_BYTES = 32
_KEY_PLACE = "key"  # what its encryption is bound to
_SHORTEST = 4  # a shorter id is part of many others by chance
#: How long to wait for a file that another process has locked.
WAIT_SECONDS = 30.0
_IDS_PER_QUERY = 500  # SQLite takes at least 999 values per statement
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION}",
    "CREATE TABLE key (value BLOB NOT NULL)",
    "CREATE TABLE identities (pseudonym TEXT PRIMARY KEY, kind TEXT NOT NULL, real BLOB NOT NULL) WITHOUT ROWID",
)


class Identity(NamedTuple):
    """A pseudonym, the kind of id, and the real id."""

    pseudonym: str
    kind: str
    real: str


class Identities:
    """Keyed hashes of real ids; one private file of the user holds the key and the real id behind each pseudonym.

    A pseudonym is the BLAKE2b hash (RFC 7693) of the real id under a secret key of 32 random bytes, with the kind of
    id as its personalisation. Without the key nobody can find the id by hashing guesses, as anyone can with plain
    hashes of the few digits of a patient number. Equal ids give equal pseudonyms for as long as the file exists, so
    splits and predictions of several runs can be joined; another file has another key and gives other pseudonyms.

    The file is an SQLite database, safe for several threads and processes. Each call opens it again, so an object may
    be sent to other processes. With a passphrase the key and the real ids are encrypted in it, one by one.
    """

    def __init__(self, path: Path, key: bytes, cipher: Cipher | None = None) -> None:
        self._path, self._key, self._cipher = path, key, cipher

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def is_encrypted(self) -> bool:
        """Whether a passphrase protects the file."""
        return self._cipher is not None

    @classmethod
    def open(cls, path: Path | None = None) -> "Identities":
        """Open the file, or create it, readable only by its owner.

        Args:
            path: the file; None takes the environment variable VESALIUS_IDENTITIES, or ~/.vesalius/identities.sqlite.

        Raises:
            InputError: where it cannot be created, read or protected, or is not such a file.
        """
        file = _default_path() if path is None else path
        _create_private(file)
        with _database(file) as database:
            stored = _key(database, file)
            cipher = _cipher(database)
            return cls(file, stored if cipher is None else cipher.decrypt(stored, _KEY_PLACE), cipher)

    def pseudonyms(self, kind: str, real: Sequence[str]) -> list[str]:
        """One pseudonym for each real id: the first letter of the kind and 16 hexadecimal digits.

        Args:
            kind: what the ids are of, at most 16 bytes, such as `patient`, `series`, `instance` or `file`. The same
                id of another kind gets another pseudonym.
            real: the ids; they may repeat.

        Raises:
            InputError: where the file cannot be written.
        """
        person = kind.encode()

        def pseudonym(identity: bytes) -> str:
            return kind[0] + hashlib.blake2b(identity, digest_size=8, key=self._key, person=person).hexdigest()

        # names of files may hold bytes that are not text
        encoded = [identity.encode("utf-8", "surrogatepass") for identity in real]
        hidden = {identity: pseudonym(identity) for identity in dict.fromkeys(encoded)}
        with _database(self._path) as database:
            self._store(database, kind, hidden)
        return [hidden[identity] for identity in encoded]

    def reveal(self, pseudonym: str) -> tuple[str, str] | None:
        """The kind and the real id behind a pseudonym; None where the file does not hold it."""
        found = self._rows("WHERE pseudonym = ?", (pseudonym,))
        return (found[0].kind, found[0].real) if found else None

    def entries(self) -> list[Identity]:
        """All that the file holds, by kind and pseudonym."""
        return self._rows("ORDER BY kind, pseudonym")

    def forget(self, pseudonyms: Sequence[str]) -> list[Identity]:
        """Delete ids for good, with all others that contain them, such as paths with a patient's number.

        The key stays, so that runs go on and equal ids get equal pseudonyms; and data that are read again come back.

        Returns:
            What was deleted.

        Raises:
            InputError: for a pseudonym that the file does not hold.
        """
        entries = self.entries()
        named = {entry.pseudonym: entry for entry in entries if entry.pseudonym in set(pseudonyms)}
        unknown = [name for name in pseudonyms if name not in named]
        if unknown:
            raise InputError(f"{', '.join(unknown)}: the file of patients' identities holds no such pseudonym.")
        texts = [entry.real for entry in named.values() if len(entry.real) >= _SHORTEST]
        gone = [entry for entry in entries if entry.pseudonym in named or any(text in entry.real for text in texts)]
        with _database(self._path) as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            rows = [(entry.pseudonym,) for entry in gone]
            database.executemany("DELETE FROM identities WHERE pseudonym = ?", rows)
            database.execute("COMMIT")
            database.execute("VACUUM")
        return gone

    def encrypt(self) -> "Identities":
        """The same file, its key and real ids encrypted with the passphrase that is given or typed.

        Raises:
            InputError: where it is encrypted already.
        """
        if self._cipher is not None:
            raise InputError(
                "the file of patients' identities is encrypted already: to change its passphrase, decrypt it."
            )
        salt = secrets.token_bytes(SALT_BYTES)
        return self._rewritten(Cipher.of_passphrase(salt, new=True), salt)

    def decrypt(self) -> "Identities":
        """The same file without a passphrase."""
        return self._rewritten(None, b"")

    def _rewritten(self, cipher: Cipher | None, salt: bytes) -> "Identities":
        changed = Identities(self._path, self._key, cipher)
        with _database(self._path) as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            rows = database.execute("SELECT pseudonym, real FROM identities").fetchall()
            new = [(changed._sealed(self._opened(real, name), name), name) for name, real in rows]
            database.executemany("UPDATE identities SET real = ? WHERE pseudonym = ?", new)
            database.execute("UPDATE key SET value = ?", (changed._sealed(self._key, _KEY_PLACE),))
            database.execute("DROP TABLE IF EXISTS protection")
            if cipher is not None:
                database.execute("CREATE TABLE protection (salt BLOB NOT NULL)")
                database.execute("INSERT INTO protection VALUES (?)", (salt,))
            database.execute("COMMIT")
            database.execute("VACUUM")
        return changed

    def log(self, action: str, entries: Sequence[Identity] = ()) -> None:
        """Add a line to the log next to the file: when, what, and how many ids of which pseudonyms; no real id."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        line = {"time": stamp, "action": action, "pseudonyms": [entry.pseudonym for entry in entries]}
        handle = os.open(log_of(self._path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _rows(self, condition: str, values: Sequence[str] = ()) -> list[Identity]:
        with _database(self._path) as database:
            rows = database.execute(f"SELECT pseudonym, kind, real FROM identities {condition}", values).fetchall()
        opened = ((name, kind, self._opened(real, name)) for name, kind, real in rows)
        return [Identity(name, kind, real.decode("utf-8", "surrogatepass")) for name, kind, real in opened]

    def _sealed(self, value: bytes, place: str) -> bytes:
        return value if self._cipher is None else self._cipher.encrypt(value, place)

    def _opened(self, stored: bytes, place: str) -> bytes:
        return stored if self._cipher is None else self._cipher.decrypt(stored, place)

    def _store(self, database: sqlite3.Connection, kind: str, hidden: dict[bytes, str]) -> None:
        """Write the pseudonyms that are new; without new ones the file need not be writable."""
        names = list(hidden.values())
        known: set[str] = set()
        for start in range(0, len(names), _IDS_PER_QUERY):
            part = names[start : start + _IDS_PER_QUERY]
            query = f"SELECT pseudonym FROM identities WHERE pseudonym IN ({','.join('?' * len(part))})"
            known.update(name for (name,) in database.execute(query, part))
        rows = [(name, kind, self._sealed(identity, name)) for identity, name in hidden.items() if name not in known]
        if rows:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR IGNORE INTO identities VALUES (?, ?, ?)", rows)
            database.execute("COMMIT")


def log_of(path: Path) -> Path:
    """The log of a file of identities: what `vesalius identities` did with it."""
    return path.with_suffix(".log")


def _cipher(database: sqlite3.Connection) -> Cipher | None:
    """The cipher of an encrypted file."""
    if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'protection'").fetchone()[0]:
        return None
    (salt,) = database.execute("SELECT salt FROM protection").fetchone()
    return Cipher.of_passphrase(salt)


def _default_path() -> Path:
    try:
        return Path(os.environ.get(_VARIABLE) or _DEFAULT).expanduser().absolute()
    except RuntimeError:
        raise InputError(
            f"there is no home folder for the file of patients' identities: set {_VARIABLE} to a file in a private "
            "folder."
        ) from None


def _create_private(path: Path) -> None:
    """Create the file if it does not exist, and let only its owner read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))
        open_to_others = bool(path.stat().st_mode & 0o077)
        if open_to_others:
            path.chmod(0o600)
    except OSError as error:
        raise InputError(
            f"the file of patients' identities {path} cannot be created, read or protected ({error.strerror}): set "
            f"{_VARIABLE} to a file of your own in a folder that you can write to."
        ) from error
    if open_to_others:
        logger.warning("The file of patients' identities was readable by others: now only its owner can read it.")


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one call; its errors become messages with the cure."""
    database = None
    try:
        # mode=rw: a file that was deleted since it was opened is not silently created again, with another key
        address = f"{path.as_uri()}?mode=rw"
        database = sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
        yield database
    except sqlite3.OperationalError as error:
        raise InputError(
            f"the file of patients' identities {path} cannot be used ({error}): check that it exists, that you can "
            f"write to it, that the disk is not full and that its file system has locks, or set {_VARIABLE} to another "
            "file."
        ) from error
    except sqlite3.DatabaseError as error:
        raise _not_ours(path, str(error)) from error
    finally:
        if database is not None:
            database.close()


def _key(database: sqlite3.Connection, path: Path) -> bytes:
    """The secret key of the file, generated where the file is still empty."""
    if not _has_tables(database):
        database.execute("BEGIN IMMEDIATE")
        if not _has_tables(database):  # else another process was first
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute("INSERT INTO key VALUES (?)", (secrets.token_bytes(_KEY_BYTES),))
        database.execute("COMMIT")
    if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise _not_ours(path, "another program wrote it")
    keys = database.execute("SELECT value FROM key").fetchall()
    if len(keys) != 1 or not isinstance(keys[0][0], bytes) or len(keys[0][0]) < _KEY_BYTES:
        raise _not_ours(path, "it holds no key")
    key: bytes = keys[0][0]
    return key


def _has_tables(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _not_ours(path: Path, reason: str) -> InputError:
    return InputError(
        f"the file of patients' identities {path} is damaged or not one of Vesalius ({reason}): restore it from a "
        f"backup, or set {_VARIABLE} to another file, which gives every patient a new pseudonym."
    )
