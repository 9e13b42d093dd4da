"""An encrypted file of identities, and patients who are forgotten."""

import json
import os
import pickle
import stat

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from vesalius.config.errors import InputError
from vesalius.data import identity_cipher
from vesalius.data.identities import Identities, log_of
from vesalius.data.identity_cipher import VARIABLE

NAMES = ["Müller^Hans", "HOSP-4711", "\udcff.dcm"]


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """A guess costs a millisecond."""
    monkeypatch.setattr(identity_cipher, "_N", 2**4)
    identity_cipher._derive.cache_clear()
    yield
    identity_cipher._derive.cache_clear()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "private" / "identities.sqlite"


def test_an_encrypted_file_gives_the_same_pseudonyms_and_shows_no_name(path, monkeypatch):
    before = Identities.open(path).pseudonyms("patient", NAMES)
    assert b"HOSP-4711" in path.read_bytes()
    monkeypatch.setenv(VARIABLE, "correct horse")
    Identities.open(path).encrypt()
    assert all(name.encode("utf-8", "surrogatepass") not in path.read_bytes() for name in NAMES)
    identities = Identities.open(path)
    assert identities.is_encrypted
    assert identities.pseudonyms("patient", [*NAMES, "new"])[:3] == before
    assert b"new" not in path.read_bytes().replace(b"new_", b"")
    assert [identities.reveal(name) for name in before] == [("patient", name) for name in NAMES]
    assert pickle.loads(pickle.dumps(identities)).reveal(before[0]) == ("patient", NAMES[0])
    identities.decrypt()
    monkeypatch.delenv(VARIABLE)
    assert [entry.real for entry in Identities.open(path).entries() if entry.pseudonym in before] != []
    assert Identities.open(path).pseudonyms("patient", NAMES) == before


def test_the_values_are_those_of_scrypt_and_aes_gcm(path, monkeypatch):
    (name,) = Identities.open(path).pseudonyms("patient", ["HOSP-4711"])
    monkeypatch.setenv(VARIABLE, "correct horse")
    Identities.open(path).encrypt()
    import sqlite3

    with sqlite3.connect(path) as database:
        (salt,) = database.execute("SELECT salt FROM protection").fetchone()
        (stored,) = database.execute("SELECT real FROM identities").fetchone()
    key = Scrypt(salt=salt, length=32, n=2**4, r=8, p=1).derive(b"correct horse")
    assert AESGCM(key).decrypt(stored[:12], stored[12:], name.encode()) == b"HOSP-4711"


def test_without_the_passphrase_nothing_is_read_and_the_variable_is_named(path, monkeypatch):
    Identities.open(path).pseudonyms("patient", NAMES)
    monkeypatch.setenv(VARIABLE, "correct horse")
    Identities.open(path).encrypt()
    content = path.read_bytes()
    monkeypatch.setenv(VARIABLE, "battery staple")
    with pytest.raises(InputError, match=f"correct {VARIABLE}"):
        Identities.open(path)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match=f"give its passphrase in {VARIABLE}"):
        Identities.open(path)
    assert path.read_bytes() == content


def test_a_passphrase_is_typed_where_there_is_a_terminal(path, monkeypatch):
    typed = iter(["one", "two", "one", "one"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(identity_cipher.getpass, "getpass", lambda prompt: next(typed))
    monkeypatch.setattr(identity_cipher.os, "environ", dict(os.environ))
    with pytest.raises(InputError, match="differ"):
        Identities.open(path).encrypt()
    assert Identities.open(path).encrypt().is_encrypted
    assert Identities.open(path).is_encrypted  # asked once a process


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_patient_is_forgotten_with_the_files_that_name_them(path, monkeypatch, encrypted):
    monkeypatch.setenv(VARIABLE, "correct horse")
    identities = Identities.open(path)
    one, other = identities.pseudonyms("patient", ["HOSP-4711", "HOSP-9999"])
    files = identities.pseudonyms("file", ["scans/HOSP-4711/1.dcm", "scans/HOSP-9999/1.dcm"])
    identities = identities.encrypt() if encrypted else identities
    gone = identities.forget([one])
    assert {entry.pseudonym for entry in gone} == {one, files[0]}
    assert [identities.reveal(name) for name in (one, files[0])] == [None, None]
    assert identities.reveal(other) == ("patient", "HOSP-9999")
    assert b"HOSP-4711" not in path.read_bytes()  # nor in pages that are no longer used
    assert identities.pseudonyms("patient", ["HOSP-4711"]) == [one]  # it comes back with its data
    with pytest.raises(InputError, match="no such pseudonym"):
        identities.forget(["p" + "0" * 16])


def test_the_log_names_pseudonyms_only_and_is_private(path):
    identities = Identities.open(path)
    (one,) = identities.pseudonyms("patient", ["HOSP-4711"])
    identities.log("forget", identities.forget([one]))
    log = log_of(path)
    assert json.loads(log.read_text())["pseudonyms"] == [one]
    assert "HOSP" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
