"""`vesalius identities`, as a user types it."""

import csv
import json
import stat
from pathlib import Path

import pytest

from vesalius.data.identities import Identities
from vesalius.data.identity_cipher import VARIABLE


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "private" / "identities.sqlite"
    monkeypatch.setenv("VESALIUS_IDENTITIES", str(file))
    return file


@pytest.fixture
def vesalius(warm_vesalius_in, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    return lambda *arguments: warm_vesalius_in(place, "identities", *arguments)


def test_list_export_and_forget_leave_a_log_and_nothing_else(file, vesalius, tmp_path):
    identities = Identities.open(file)
    one, other = identities.pseudonyms("patient", ["HOSP-4711", "HOSP\x1b[2J"])
    done = vesalius()
    assert done.returncode == 0, done.stderr
    assert "not encrypted: ids: 2 patient" in done.stdout
    assert "HOSP" not in done.stdout
    assert f"{one}  patient  HOSP-4711" in vesalius(f"pseudonyms=[{one}]").stdout
    assert "\x1b" not in vesalius(f"pseudonyms=[{other}]").stdout
    done = vesalius("action=export", "output=table.csv")
    assert done.returncode == 0, done.stderr
    table = tmp_path / "place" / "table.csv"
    with table.open() as rows:
        assert {row["pseudonym"] for row in csv.DictReader(rows)} == {one, other}
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert vesalius("action=export", "output=table.csv").returncode == 2  # it is not written over
    done = vesalius("action=forget", f"pseudonyms=[{one}]")
    assert "Forgotten: ids: 1 patient" in done.stdout
    assert identities.reveal(one) is None
    log = [json.loads(line) for line in file.with_suffix(".log").read_text().splitlines()]
    assert [line["action"] for line in log] == ["list", "list", "list", "export", "forget"]
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["table.csv"]


@pytest.mark.slow
def test_encrypting_needs_a_passphrase_and_so_does_all_that_follows(file, vesalius, monkeypatch):
    (one,) = Identities.open(file).pseudonyms("patient", ["HOSP-4711"])
    done = vesalius("action=encrypt")
    assert done.returncode == 2
    assert VARIABLE in done.stderr
    monkeypatch.setenv(VARIABLE, "correct horse")
    assert "is encrypted now" in vesalius("action=encrypt").stdout
    assert "HOSP-4711" in vesalius(f"pseudonyms=[{one}]").stdout
    monkeypatch.setenv(VARIABLE, "battery staple")
    done = vesalius()
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    monkeypatch.setenv(VARIABLE, "correct horse")
    assert "is not encrypted now" in vesalius("action=decrypt").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["action=burn"], "expected list, export"),
        (["action=export"], "give both"),
        (["action=forget"], "name whom"),
        (["pseudonyms=[p1]"], "no such pseudonym"),
    ],
)
def test_mistakes_have_a_message_and_exit_code_2(file, vesalius, arguments, message, tmp_path):
    done = vesalius(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(Path(tmp_path / "place").iterdir())
