"""Images and manifests on a web server of this machine."""

import functools
import http.server
import itertools
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.data.remote import mirror
from vesalius.data.sources import ImageFolder, Table


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, counts what was sent, and stops, cuts or refuses what it is told to."""

    def do_GET(self):
        self.server.sent[self.path] += 1
        if self.path in self.server.refused:
            return self.send_error(403)
        if self.path in self.server.broken:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * self.server.broken[self.path])
            self.close_connection = True
            return None
        return super().do_GET()

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.sent, server.refused, server.broken = Counter(), set(), {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror.time, "sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path):
    """Two classes of two images each, with odd names, and things that are no data."""
    folder = tmp_path / "server" / "my data"
    for number, name in enumerate(("a/P1 x.png", "a/é#1.png", "b/P3.png", "b/inner/P4.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, dtype=np.uint8)).save(folder / name)
    (folder / "a" / ".hidden.png").write_bytes(b"no")
    (folder / "table.csv").write_text("file,patient,label\na/P1 x.png,1,0\nb/P3.png,2,1\n")
    return folder


@pytest.fixture
def server(images):
    with serving(images.parent) as running:
        yield running


@pytest.fixture
def root(server):
    return f"http://127.0.0.1:{server.server_port}/my%20data"


def downloads(server):
    return {path: count for path, count in server.sent.items() if not path.endswith("/")}


def test_an_address_gives_the_samples_of_the_folder_and_downloads_each_file_once(images, root, server):
    local, remote = ImageFolder(str(images)), ImageFolder(root)
    assert remote.samples().equals(local.samples())
    assert remote.fingerprint() == local.fingerprint()
    for row in local.samples().to_dict("records"):
        assert np.array_equal(remote.load(row), local.load(row))
    assert set(downloads(server).values()) == {1}
    assert not any("hidden" in path for path in server.sent)
    ImageFolder(root)
    assert set(downloads(server).values()) == {1}


def test_what_changes_on_the_server_changes_here(images, root, server):
    before = ImageFolder(root).fingerprint()
    Image.fromarray(np.full((9, 9), 200, dtype=np.uint8)).save(images / "b" / "P3.png")
    (images / "a" / "P1 x.png").unlink()
    after = ImageFolder(root)
    assert after.fingerprint() == ImageFolder(str(images)).fingerprint() != before
    assert len(after.samples()) == 3
    assert downloads(server)["/my%20data/b/P3.png"] == 2
    assert downloads(server)["/my%20data/b/inner/P4.png"] == 1
    copy = next(after.root.glob("b/P3.png"))
    copy.write_bytes(copy.read_bytes()[:-1])  # by whoever cleans up
    ImageFolder(root)
    assert downloads(server)["/my%20data/b/P3.png"] == 3


def test_a_class_that_is_gone_from_the_server_is_gone_here(images, root):
    (images / "c").mkdir()
    (images / "a" / "P1 x.png").rename(images / "c" / "P1 x.png")
    assert ImageFolder(root).classes == ("a", "b", "c")
    (images / "c" / "P1 x.png").unlink()
    (images / "c").rmdir()
    assert ImageFolder(root).classes == ("a", "b")


def test_a_download_that_broke_off_goes_on_and_leaves_no_half_file(images, root, server, cache):
    server.broken["/my%20data/b/P3.png"] = 10  # of 1000 bytes announced
    with pytest.raises(InputError, match="start again") as caught:
        ImageFolder(root)
    assert len(caught.value.problems) == 1
    copies = [path.name for path in cache.rglob("*.png")]
    assert "P3.png" not in copies
    assert not list(cache.glob("remote/*/parts/*"))
    kept = {path for path in downloads(server) if path.rpartition("/")[2] in copies}
    server.broken.clear()
    assert ImageFolder(root).fingerprint() == ImageFolder(str(images)).fingerprint()
    assert all(downloads(server)[path] == 1 for path in kept)


def test_a_manifest_downloads_only_the_files_of_its_rows(images, root, server):
    options = {"path": "file", "target": "label", "group": "patient", "pseudonyms": False}
    table = Table(f"{root}/table.csv", **options)
    local = Table(str(images / "table.csv"), **options)
    assert table.samples()["sample_id"].tolist() == local.samples()["sample_id"].tolist()
    assert table.fingerprint() == local.fingerprint()
    wanted = {"/my%20data/table.csv", "/my%20data/a/P1%20x.png", "/my%20data/b/P3.png"}
    assert downloads(server) == dict.fromkeys(wanted, 1)


def test_a_manifest_here_names_files_there_and_lost_ones_are_named(tmp_path, root):
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"file,label\n{root}/a/P1%20x.png,0\n{root}/b/P3.png,1\n")
    options = {"path": "file", "target": "label", "group": "none"}
    assert len(Table(str(manifest), **options).samples()) == 2
    manifest.write_text(f"file,label\n{root}/a/P1%20x.png,0\n{root}/b/nothing.png,1\n")
    with pytest.raises(InputError, match="1 of 2 rows"):
        Table(str(manifest), **options).samples()


def test_a_row_may_name_a_folder_of_frames_and_only_its_owner_enters_the_copies(tmp_path, root, cache):
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,label\na,0\nb,1\n")
    table = Table(str(manifest), path="file", target="label", group="none", root=root, unit="time_series")
    assert sorted(len(table.load(row)) for row in table.samples().to_dict("records")) == [1, 2]
    assert [place.stat().st_mode & 0o777 for place in cache.glob("remote/*")] == [0o700]


def test_each_fault_of_an_address_is_one_message(root, server, images, monkeypatch):
    server.refused.add("/my%20data/b/P3.png")
    with pytest.raises(InputError, match=r"access to http://127\.0\.0\.1.*P3\.png was denied.*netrc"):
        ImageFolder(root)
    with pytest.raises(InputError, match="does not exist on its server"):
        ImageFolder(f"{root}/nowhere")
    (images / "empty").mkdir()
    with pytest.raises(InputError, match="lists no files"):
        ImageFolder(f"{root}/empty")
    monkeypatch.setattr(mirror, "_RESERVE", 2**62)
    with pytest.raises(InputError, match="VESALIUS_CACHE"):
        ImageFolder(f"{root}/a")
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="network and the server"):
        ImageFolder(root)


def test_buckets_need_an_extra_whose_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"s3://bucket needs the package 'obstore': pip install 'vesalius\[remote\]'"):
        ImageFolder("s3://bucket/x")


class Hostile:
    """A server whose names would leave the folder."""

    def __init__(self, name, sent=1):
        self.name, self.sent = name, sent

    def below(self, folder):
        yield mirror.Entry(self.name, 1, "tag")

    def entry(self, name):
        return mirror.Entry(name, 1, "tag")

    def read(self, name):
        return self.entry(name), itertools.repeat(b"x", self.sent)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a//evil", "a/./evil", "a/\0evil", ""])
def test_no_name_of_a_server_leaves_the_folder(cache, monkeypatch, name):
    monkeypatch.setattr(mirror, "_connect", lambda scheme, host: Hostile(name))
    with pytest.raises(InputError, match="no path below a folder"):
        mirror.local_folder("s3://bucket")
    assert not list(cache.parent.rglob("*evil"))


@pytest.mark.parametrize(
    ("sent", "fault"), [(0, "the connection broke after 0 of 1 bytes"), (9**9, "it sent more than")]
)
def test_no_file_is_longer_or_shorter_than_announced(cache, monkeypatch, sent, fault):
    monkeypatch.setattr(mirror, "_connect", lambda scheme, host: Hostile("x", sent))
    with pytest.raises(InputError, match=fault):
        mirror.local_folder("s3://bucket")
    assert not list(cache.rglob("x"))


@pytest.mark.parametrize(("address", "place"), [("s3://../x", "s3-.."), ("s3://a%2F..", "s3-a%252F..")])
def test_no_name_of_a_host_leaves_the_folder(cache, monkeypatch, address, place):
    monkeypatch.setattr(mirror, "_connect", lambda scheme, host: Hostile("x/y"))
    assert mirror.local_folder(address).resolve().is_relative_to(cache / "remote" / place)


@pytest.mark.parametrize(
    "root", ["https://me:hunter2@host/data", "s3://key:hunter2@bucket/x", "https://host/x?sig=hunter2"]
)
def test_an_address_with_credentials_is_refused_before_anything_is_written(root):
    with pytest.raises(InputError, match=r"data\.source\.root: the address holds a login") as caught:
        load_config("train", ["data=image_folder", f"data.source.root='{root}'"])
    assert "hunter2" not in str(caught.value)


def test_what_is_no_address_is_named():
    with pytest.raises(InputError, match=r"data\.source\.root: https://\[x/y is no address"):
        load_config("train", ["data=image_folder", "data.source.root='https://[x/y'"])
