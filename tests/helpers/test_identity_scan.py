import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from archives import layers
from identity_scan import Leak, find_identities
from vesalius.config.errors import InputError
from vesalius.training.tracking.wandb import WandbTracker

NAME, BORN, NUMBER = "Müller^Hans", "19500131", "HOSP-4711"
PLANTED = (NAME, BORN, NUMBER)


def found(folder, planted=PLANTED):
    return [(str(leak.file), leak.where, leak.what) for leak in find_identities(folder, planted)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "latin-1"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Müller^Hans", NAME),
        ("MÜLLER^HANS", NAME),
        ("müller, hans", NAME),
        ("Müller Hans", NAME),
        ("Hans Müller", NAME),
        ("hans_müller", NAME),
        ("HansMüller.dcm", NAME),
        ("19500131", BORN),
        ("1950-01-31", BORN),
        ("31.01.1950", BORN),
        ("31.1.1950", BORN),
        ("1.2.840.19500131.7", BORN),
        ("01/31/1950", BORN),
        ("hosp-4711", NUMBER),
    ],
)
def test_each_way_of_writing_is_found(tmp_path, text, what, encoding):
    for padding in range(3):
        (tmp_path / "file").write_bytes(b"\x00\xfe;"[:padding] + f"before {text} after".encode(encoding))
        assert found(tmp_path) == [("file", "contents", what)]


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        lambda text: json.dumps({"name": text}, ensure_ascii=False),
        lambda text: yaml.safe_dump([text]),
        lambda text: yaml.safe_dump([text], allow_unicode=True),
        repr,
        lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
        lambda text: "https://example.org/M%C3%BCller%5EHans",
        lambda text: "Mu\u0308ller^Hans",
    ],
)
def test_escapes_hide_nothing(tmp_path, write):
    (tmp_path / "file").write_text(write(NAME), encoding="utf-8")
    assert found(tmp_path) == [("file", "contents", NAME)]


@settings(max_examples=60, deadline=None)
@example("C:\\Meier", b"")
@example("000\uf900", b"")  # a letter that composing changes
@given(
    st.text(min_size=4, max_size=12).filter(lambda text: len(text.strip()) >= 4 and not text.isdigit()),
    st.binary(max_size=40),
)
def test_any_string_is_found_wherever_it_stands(tmp_path_factory, text, before):
    folder = tmp_path_factory.mktemp("any")
    (folder / "json").write_bytes(before + json.dumps(text).encode() + before)
    (folder / "text").write_bytes(before + text.upper().encode() + before)
    assert {leak.file.name for leak in find_identities(folder, [text])} == {"json", "text"}


def test_chance_and_other_numbers_are_no_leak(tmp_path):
    generator = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", generator.normal(size=500_000).astype(np.float32))
    pd.DataFrame(generator.random((20_000, 3))).to_csv(tmp_path / "numbers.csv", index=False)
    (tmp_path / "other.txt").write_text("Müller\nHans\n0.4711\n14711\n47110\n1950\n1950-02-01\nHOSP-471\n")
    assert found(tmp_path, [*PLANTED, "4711"]) == []
    (tmp_path / "id.txt").write_text("id 4711.dcm")
    assert found(tmp_path, ["4711"]) == [("id.txt", "contents", "4711")]


def test_a_string_across_the_blocks_of_a_large_file_is_found(tmp_path, monkeypatch):
    for start in range(90, 130):
        (tmp_path / "file").write_bytes(b"x" * start + NUMBER.encode() + b"x" * 300)
        with monkeypatch.context() as patch:
            patch.setattr("identity_scan._BLOCK", 64)
            assert found(tmp_path) == [("file", "contents", NUMBER)]


def write_sqlite(path, text):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE notes (number INTEGER, note TEXT)")
        # longer than a page: the file holds it in pieces, with links between them
        database.executemany(
            "INSERT INTO notes VALUES (?, ?)", [(1, "x" * shift + text) for shift in range(3900, 4200)]
        )
    database.close()


def write_png(path, text, *, compressed=True, international=False):
    info = PngInfo()
    add = info.add_itxt if international else info.add_text
    add("Comment", text * 20, zip=compressed)
    Image.new("L", (4, 4)).save(path, pnginfo=info)


def write_tar_gz(path, text):
    with tarfile.open(path, "w:gz") as archive:
        content = text.encode()
        member = tarfile.TarInfo("note.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_zip_in_zip(path, text):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("note.txt", text * 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", inner.getvalue())


def write_compressed(opener):
    return lambda path, text: path.write_bytes(opener(text.encode() * 20))


WRITERS = {
    "run.ckpt": lambda path, text: torch.save({"config": {"root": f"/data/{text}"}}, path),
    "old.ckpt": lambda path, text: torch.save({"x": text}, path, _use_new_zipfile_serialization=False),
    "a.npy": lambda path, text: np.save(path, np.array(["a", text])),
    "a.npz": lambda path, text: np.savez_compressed(path, ids=np.array(["a", text] * 20)),
    "a.csv": lambda path, text: pd.DataFrame({"sample_id": [text]}).to_csv(path),
    "a.csv.gz": lambda path, text: pd.DataFrame({"sample_id": [text] * 20}).to_csv(path),
    "a.bz2": write_compressed(bz2.compress),
    "a.gz": write_compressed(gzip.compress),
    "a.xz": write_compressed(lzma.compress),
    "a.tar.gz": write_tar_gz,
    "a.zip": write_zip_in_zip,
    "a.sqlite": write_sqlite,
    "plain.png": lambda path, text: write_png(path, text, compressed=False),
    "ztxt.png": write_png,
    "itxt.png": lambda path, text: write_png(path, text, international=True),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("text", [NUMBER, "Müller^Hans"])
def test_files_are_looked_into(tmp_path, name, text):
    WRITERS[name](tmp_path / name, "harmless words")
    assert found(tmp_path) == []
    (tmp_path / name).unlink()
    WRITERS[name](tmp_path / name, text)
    leaks = find_identities(tmp_path, PLANTED)
    assert {(leak.file.name, leak.what) for leak in leaks} == {(name, text)}


def test_the_place_inside_an_archive_is_named(tmp_path):
    write_zip_in_zip(tmp_path / "a.zip", NUMBER)
    assert find_identities(tmp_path, PLANTED) == [Leak(Path("a.zip"), "inner.zip > note.txt", NUMBER)]


def test_names_of_files_folders_and_links_count(tmp_path):
    (tmp_path / "Müller_Hans").mkdir()
    (tmp_path / "Müller_Hans" / "hosp-4711.dcm").touch()
    os.symlink("/data/19500131/x", tmp_path / "link")
    assert found(tmp_path) == [
        ("Müller_Hans", "name", NAME),
        ("Müller_Hans/hosp-4711.dcm", "name", NUMBER),
        ("link", "name", BORN),
    ]


def test_the_log_of_wandb_is_read_across_its_blocks(tmp_path):
    tracker = WandbTracker(mode="offline")
    summary = {f"{number}": "x" * (500 + number) + f"{NUMBER} " * 200 for number in range(60)}
    tracker.begin(tmp_path, {}, "name")
    tracker.finish(summary, {})
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 20  # W&B's own process writes when it likes
    while log.read_bytes().count(NUMBER.encode()) < 11_900 and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "alone").mkdir()
    log = log.rename(tmp_path / "alone" / "run.wandb")
    whole = [leak.where for leak in find_identities(tmp_path / "alone", [NUMBER])]
    assert whole == ["contents", "records"]
    # the one that the end of a block cuts in two is found in the records alone
    contents, block = log.read_bytes(), 1 << 15
    assert len(contents) > 4 * block
    cut = [at for at in range(block, len(contents), block) if NUMBER.encode() not in contents[at - 9 : at + 16]]
    seam = next(at for at in cut if b"HOSP" in contents[at - 20 : at + 20])
    around = contents[seam - 9 : seam] + contents[seam + 7 : seam + 16]
    assert NUMBER.encode() in around


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=12), st.integers(0, 20))
def test_records_of_wandb_come_out_whole(tmp_path_factory, sizes, before_the_end):
    """Against a writer made from the format's description: no header is split, and what is left of a block is zeros."""
    block, header, log = 1 << 15, 7, bytearray(b":W&B\xe1\xbe\x00")
    records = [bytes([97 + number]) * size for number, size in enumerate([block - 2 * header - before_the_end, *sizes])]
    for record in records:
        rest, first = record, True
        while first or rest:
            left = block - len(log) % block
            if left < header:
                log += b"\0" * left
                continue
            piece, rest = rest[: left - header], rest[left - header :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)  # full, first, last, middle
            log += struct.pack("<IHB", 0xDEADBEEF, len(piece), kind) + piece
            first = False
    path = tmp_path_factory.mktemp("log") / "run.wandb"
    path.write_bytes(log)
    with path.open("rb") as stream:
        (_, _), (where, inside) = layers("contents", stream)
        assert where == "records"
        assert inside.read() == b"".join(records)


def test_a_damaged_archive_does_not_end_the_search(tmp_path):
    for name, writer in WRITERS.items():
        writer(tmp_path / name, "harmless words")
        contents = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(contents[: len(contents) // 2] + b"\xff\x00" * 50)
    (tmp_path / "z.txt").write_text(NUMBER)
    assert found(tmp_path) == [("z.txt", "contents", NUMBER)]


def test_what_cannot_be_looked_for_is_refused(tmp_path):
    with pytest.raises(InputError, match="too short"):
        find_identities(tmp_path, ["Doe"])
    with pytest.raises(InputError, match="does not exist"):
        find_identities(tmp_path / "nowhere", [NAME])
    assert find_identities(tmp_path, []) == []


def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "file").write_text(NUMBER)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"file cannot be read.*may hold anything"):
        find_identities(tmp_path, [NUMBER])


def test_a_run_and_its_cache_are_searched_in_seconds(tmp_path):
    (tmp_path / "images.npy").write_bytes(np.random.default_rng(0).bytes(10_000_000))
    start = time.perf_counter()
    planted = [f"Planted^Person{number:03d}" for number in range(20)] + [f"19{50 + number}0417" for number in range(20)]
    assert find_identities(tmp_path, planted) == []
    assert time.perf_counter() - start < 10
