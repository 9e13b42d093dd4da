import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.identities import Identities

NAMES = ["Müller^Hans", "", "0", "0 ", "a\x00b", "患者", "\udcff.dcm", "x" * 5000]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "identities.sqlite"


def test_pseudonyms_lead_back_and_repeat(path):
    identities = Identities.open(path)
    given = [*NAMES, *NAMES[:3]]
    hidden = identities.pseudonyms("patient", given)
    assert [identities.reveal(name) for name in hidden] == [("patient", name) for name in given]
    assert len(set(hidden)) == len(NAMES)
    assert Identities.open(path).pseudonyms("patient", given[::-1]) == hidden[::-1]
    assert identities.reveal("p" + "0" * 16) is None
    assert identities.pseudonyms("patient", []) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=20))
def test_any_text_is_hidden_one_to_one(tmp_path_factory, real):
    identities = Identities.open(tmp_path_factory.getbasetemp() / "any" / "identities.sqlite")
    hidden = identities.pseudonyms("series", real)
    assert len(set(hidden)) == len(set(real))
    assert [identities.reveal(name) for name in hidden] == [("series", name) for name in real]


def test_a_pseudonym_is_the_keyed_hash_and_says_its_kind(path):
    identities = Identities.open(path)
    (key,) = sqlite3.connect(path).execute("SELECT value FROM key").fetchone()
    expected = hashlib.blake2b("Müller^Hans".encode(), digest_size=8, key=key, person=b"patient").hexdigest()
    assert len(key) == 32
    assert identities.pseudonyms("patient", ["Müller^Hans"]) == ["p" + expected]
    by_kind = {identities.pseudonyms(kind, ["1"])[0] for kind in ("patient", "series", "study", "instance", "file")}
    assert len(by_kind) == 5
    assert sorted(name[0] for name in by_kind) == ["f", "i", "p", "s", "s"]


def test_another_file_gives_other_pseudonyms(tmp_path):
    one, two = (Identities.open(tmp_path / f"{name}.sqlite").pseudonyms("patient", ["1", "2"]) for name in "ab")
    assert not set(one) & set(two)


def test_the_file_is_private_and_so_is_its_folder(path):
    umask = os.umask(0)
    try:
        Identities.open(path).pseudonyms("patient", ["1"])
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_others_could_read_is_closed_to_them(path, caplog):
    before = Identities.open(path).pseudonyms("patient", ["1"])
    path.chmod(0o644)
    assert Identities.open(path).pseudonyms("patient", ["1"]) == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert "was readable by others" in caplog.text
    assert str(path) not in caplog.text  # logs are recorded, and homes bear names


def test_the_place_comes_from_the_environment_or_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_IDENTITIES", str(tmp_path / "elsewhere.sqlite"))
    Identities.open()
    assert (tmp_path / "elsewhere.sqlite").is_file()
    monkeypatch.delenv("VESALIUS_IDENTITIES")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Identities.open()
    assert (tmp_path / "home" / ".vesalius" / "identities.sqlite").is_file()


def test_a_place_where_nothing_can_be_made_names_the_cure(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "identities.sqlite", Path("/proc/vesalius/identities.sqlite"), tmp_path):
        with pytest.raises(InputError, match="set VESALIUS_IDENTITIES to a file of your own"):
            Identities.open(place)


def test_a_file_of_another_owner_is_refused(path, monkeypatch):
    """Its owner could read along."""
    Identities.open(path)
    path.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(InputError, match="read or protected"):
        Identities.open(path)


@pytest.mark.parametrize("damage", ["text", "head", "middle", "other program", "no key", "short key"])
def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(path, damage):
    Identities.open(path).pseudonyms("patient", [str(number) for number in range(2000)])
    contents = path.read_bytes()
    if damage == "text":
        path.write_text("sample_id,group_id\n" * 200)
    elif damage == "head":
        path.write_bytes(b"\0" * 100 + contents[100:])
    elif damage == "middle":
        path.write_bytes(contents[:4096] + b"\xff" * (len(contents) - 4096))
    else:
        statement = {
            "other program": "PRAGMA application_id = 7",
            "no key": "DELETE FROM key",
            "short key": "UPDATE key SET value = x'00'",
        }[damage]
        database = sqlite3.connect(path)
        database.execute(statement)
        database.commit()
        database.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"damaged or not one of Vesalius.*VESALIUS_IDENTITIES"):
        Identities.open(path).pseudonyms("patient", ["1"])
    assert path.read_bytes() == before


def test_a_file_that_vanishes_is_not_made_anew_with_another_key(path):
    identities = Identities.open(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be used"):
        identities.pseudonyms("patient", ["1"])
    assert not path.exists()


def test_a_file_in_use_is_waited_for_and_then_named(path, monkeypatch):
    identities = Identities.open(path)
    known = identities.pseudonyms("patient", ["1"])
    monkeypatch.setattr("vesalius.data.identities.WAIT_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert identities.pseudonyms("patient", ["1"]) == known  # nothing new to write
    with pytest.raises(InputError, match="locked"):
        identities.pseudonyms("patient", ["2"])
    other.close()


def test_threads_share_a_file(path):
    identities = Identities.open(path)
    work = [[str(number) for number in range(start, start + 50)] for start in range(0, 400, 10)]
    with ThreadPoolExecutor(8) as pool:
        hidden = list(pool.map(lambda real: identities.pseudonyms("patient", real), work))
    assert hidden == [identities.pseudonyms("patient", real) for real in work]
    for names, real in zip(hidden, work, strict=True):
        assert [identities.reveal(name) for name in names] == [("patient", name) for name in real]


def test_processes_that_start_at_once_agree_on_the_key(path):
    code = (
        "import sys; from pathlib import Path; from vesalius.data.identities import Identities\n"
        "print(*Identities.open(Path(sys.argv[1])).pseudonyms('patient', [str(n) for n in range(1000)]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(printed)) == 1
    assert printed[0].split() == Identities.open(path).pseudonyms("patient", [str(n) for n in range(1000)])


def test_a_hundred_thousand_take_seconds(path):
    identities, real = Identities.open(path), [f"patient {number}" for number in range(100_000)]
    for _ in range(2):  # all new, then all known
        start = time.perf_counter()
        identities.pseudonyms("patient", real)
        assert time.perf_counter() - start < 10
