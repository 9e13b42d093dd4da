"""What a bucket holds besides files, by a server of this machine that lists what it is given as S3 does."""

import functools
import http.server
import threading
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

pytest.importorskip("obstore", reason="pip install 'vesalius[remote]'")

from vesalius.config.errors import InputError
from vesalius.data.remote.mirror import local_file, local_files, local_folder

LIST = "<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>"
ENTRY = (
    "<Contents><Key>{}</Key><Size>{}</Size><ETag>&quot;{}&quot;</ETag>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
)


class Bucket(http.server.BaseHTTPRequestHandler):
    """Serves the objects of a bucket by their keys, and the list of those below a prefix."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, objects):
        self.objects = objects
        super().__init__(*arguments)

    def do_GET(self):
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix("/bucket").removeprefix("/")
        if not key:
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            found = [ENTRY.format(name, len(value), len(value)) for name, value in sorted(self.objects.items())]
            body = LIST.format("".join(one for one in found if one.startswith(f"<Contents><Key>{prefix}")))
            return self.reply(200, body.encode())
        return self.reply(200 if key in self.objects else 404, self.objects.get(key, b""))

    do_HEAD = do_GET

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body)}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def objects(tmp_path, monkeypatch):
    """Objects of `s3://bucket`, by their keys."""
    served = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Bucket, objects=served))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    settings = {"ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "SKIP_SIGNATURE": "true", "REGION": "x"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    yield served
    server.shutdown()
    server.server_close()


def test_marks_of_folders_are_no_files_and_empty_files_are(objects):
    """Consoles mark a folder by an empty object whose name ends in a slash."""
    objects |= {"set/": b"", "set/a/": b"", "set/a/1.png": b"x", "set/a/2.png": b"", "set/empty/": b""}
    folder = local_folder("s3://bucket/set")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "a/1.png",
        "a/2.png",
    ]


def test_a_file_that_is_not_there_is_absent_and_a_name_may_be_that_of_a_folder(objects):
    objects |= {"table.csv": b"x", "frames/0.png": b"x"}
    with pytest.raises(InputError, match=r"s3://bucket/other\.csv does not exist on its server"):
        local_file("s3://bucket/other.csv")
    copies = local_files(["s3://bucket/frames", "s3://bucket/lost.png"])
    assert (copies["s3://bucket/frames"] / "0.png").read_bytes() == b"x"
    assert not copies["s3://bucket/lost.png"].exists()


def test_a_name_may_change_from_a_file_to_a_folder_and_back(objects):
    for names in (["set/a", "set/b/1"], ["set/a/1", "set/b"], ["set/a", "set/c"]):
        objects.clear()
        objects.update(dict.fromkeys(names, b"x"))
        folder = local_folder("s3://bucket/set")
        assert (
            sorted(f"set/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file())
            == names
        )
        assert {path.name for path in folder.iterdir()} == {name.split("/")[1] for name in names}
