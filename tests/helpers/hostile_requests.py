"""Requests that a server must refuse: malformed HTTP, damaged and lying files, and clients that leave."""

import io
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from dicom_maker import new_image

BOUNDARY = b"----of-the-test"


def http(method: bytes, path: bytes, body: bytes = b"", kind: bytes = b"application/x-npy", more: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    start = b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nConnection: close\r\n" % (method, path, kind)
    return start + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def upload(name: bytes, content: bytes, query: bytes = b"?preview=true&explain=true") -> bytes:
    """A file as a form sends it."""
    head = b'Content-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % name
    body = b"--%s\r\n%s%s\r\n--%s--\r\n" % (BOUNDARY, head, content, BOUNDARY)
    return http(b"POST", b"/predict" + query, body, b"multipart/form-data; boundary=" + BOUNDARY)


def valid_files() -> dict[bytes, bytes]:
    """A small file of each kind, to be damaged."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    files = {}
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.bmp", "BMP"), ("a.webp", "WEBP")):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        files[name.encode()] = file.getvalue()
    for name, options in (("a.dcm", {}), ("rle.dcm", {"transfer_syntax": "1.2.840.10008.1.2.5"})):
        file = io.BytesIO()
        new_image(pixels, **options).save_as(file, enforce_file_format=True)
        files[name.encode()] = file.getvalue()
    files[b"a.nii"] = nifti((32, 32, 2), pixels.tobytes() * 2)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("in/a.png", files[b"a.png"])
    files[b"a.zip"] = file.getvalue()
    file = io.BytesIO()
    np.save(file, pixels)
    files[b"a.npy"] = file.getvalue()
    return files


def nifti(shape: tuple[int, ...], voxels: bytes) -> bytes:
    """A NIfTI file with uint8 voxels, whatever its header claims."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


def _npy(header: bytes, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def fixed() -> list[bytes]:
    """Requests that are wrong in a way of their own."""
    deflated = valid_files()[b"a.dcm"].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"[:20])
    return [
        b"\x00\xff\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        http(b"POST", b"/predict", b"", b"multipart/form-data"),
        http(b"POST", b"/predict", b"x" * 99, b"multipart/form-data; boundary=" + b"b" * 5000),
        http(b"POST", b"/predict", b"--b\r\n" * 500, b"multipart/form-data; boundary=b"),
        http(b"POST", b"/predict", b"{}", b"application/json"),
        http(b"POST", b"/predict?seconds=nan&explain=maybe", b"", b"application/x-npy"),
        http(b"POST", b"/predict", b"", b"\xff\xfe"),
        http(b"DELETE", b"/model"),
        http(b"GET", b"/%2e%2e/%2e%2e/etc/passwd"),
        http(b"GET", b"/page.js/../../app.py"),
        http(
            b"POST", b"/predict", _npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 4)}\n", b"cos\nsystem\n")
        ),
        http(b"POST", b"/predict", _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999, 99999999)}\n")),
        http(b"POST", b"/predict", _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -1)}\n", b"1")),
        http(b"POST", b"/predict", _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (True, 2)}\n", b"11")),
        http(b"POST", b"/predict", _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4)}\n")),
        http(b"POST", b"/predict", _npy(b"(" * 900)),
        http(b"POST", b"/predict", _npy(b"__import__('os').getpid()\n")),
        upload(b"../../../tmp/x.png", b"x"),
        upload(b"a\0.png", b"x"),
        upload(b"bomb.png", png_claiming(60_000, 60_000)),
        upload(b"bomb.nii", nifti((20_000, 20_000, 2), b"")),
        upload(b"bomb.nii", nifti((-3, 5, 2), b"1")),
        upload(b"bomb.zip", _zip({"zeros.png": bytes(2**26)})),
        upload(b"many.zip", _zip({f"{number}.png": b"" for number in range(3000)})),
        upload(b"link.zip", _zip({"../" * 9 + "etc/x.png": b"1", "a": b"", "a/b.png": b"2"})),
        upload(b"deflated.dcm", deflated),
        upload(b"a.mp4", b"#EXTM3U\nhttp://127.0.0.1:1/x\n"),
        upload(b"a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"),
        upload(b"a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (r) file\n"),
    ]


def requests(seed: int) -> Iterator[bytes]:
    """Hostile requests without end: the fixed ones, then files with bytes changed, cut off or put in."""
    rng = np.random.default_rng(seed)
    yield from fixed()
    files = list(valid_files().items())
    damages: tuple[Callable[[bytearray], bytes], ...] = (
        lambda content: bytes(content[: rng.integers(len(content))]),
        lambda content: bytes(content[: (at := rng.integers(len(content)))]) + rng.bytes(9) + bytes(content[at:]),
        lambda content: _flipped(content, rng),
        lambda content: rng.bytes(len(content)),
    )
    while True:
        name, valid = files[rng.integers(len(files))]
        content = damages[rng.integers(len(damages))](bytearray(valid))
        whole = http(b"POST", b"/predict", content) if name == b"a.npy" else upload(name, content)
        if rng.random() < 0.03:  # the request itself is damaged, not the file in it
            whole = _flipped(bytearray(whole[:300]), rng) + whole[300:]
        yield whole


def _flipped(content: bytearray, rng: np.random.Generator) -> bytes:
    for at in rng.integers(len(content), size=rng.integers(1, 12)):
        content[at] = rng.integers(256)
    return bytes(content)


def send(
    address: tuple[str, int], request: bytes, *, leave_after: int | None = None, seconds: float = 30
) -> int | None:
    """The status of the reply; None for a client that leaves before it, or where the connection ended without one.

    Args:
        address: of the server.
        request: the bytes to send.
        leave_after: bytes after which the client is gone.
        seconds: to wait for the reply.
    """
    with socket.create_connection(address, timeout=seconds) as connection:
        try:
            connection.sendall(request[:leave_after])
            if leave_after is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return None
            reply = b""
            while b"\r\n\r\n" not in reply and (chunk := connection.recv(2**16)):
                reply += chunk
        except (BrokenPipeError, ConnectionResetError):
            return None
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", reply)
    return int(found[1]) if found else None
