"""A server that is attacked refuses, stays up, keeps nothing and does not grow."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from hostile_requests import http, requests, send, upload, valid_files
from serve_brightness import LIMITS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serve")]
HELPERS = Path(__file__).parents[2] / "helpers"


class Served:
    """A server in a process of its own."""

    def __init__(self, uploads: Path, log: Path) -> None:
        path = os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, str(HELPERS / "serve_brightness.py"), str(uploads)]
        with log.open("wb") as file:
            environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(uploads)}
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file)
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def memory(self) -> int:
        """Bytes of its own that the server holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=20)


@pytest.fixture
def served(tmp_path):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    server = Served(uploads, tmp_path / "log")
    yield server
    assert server.process.poll() is None, "the server has crashed"
    assert send(server.address, upload(b"a.png", valid_files()[b"a.png"])) == 200
    assert list(uploads.iterdir()) == []
    assert server.stop() == -signal.SIGTERM
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "a request failed" not in log


def attack(served: Served, count: int) -> Counter[int | None]:
    with ThreadPoolExecutor(4) as pool:
        return Counter(pool.map(lambda request: send(served.address, request), islice(requests(count), count)))


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.proof)])
def test_hostile_requests_are_refused_without_growth(served, count):
    attack(served, 100)  # what is loaded when first needed
    before = served.memory()
    statuses = attack(served, count)
    grown = served.memory() - before
    print(f"{count} hostile requests: {dict(statuses)}; memory {before / 2**20:.0f} MB, then {grown / 2**20:+.1f} MB")
    refused = sum(number for status, number in statuses.items() if status is not None and 400 <= status < 500)
    # Damage may leave an image whole; and without the end of its head, a request has no reply.
    assert set(statuses) <= {200, None, *range(400, 500)}
    assert statuses[None] < 0.03 * count
    assert refused > 0.6 * count
    assert grown < 24 * 2**20


def test_clients_that_leave_in_mid_upload_leave_nothing(served):
    request = upload(b"a.png", bytes(4 * 2**20))
    for round_ in range(2):
        for number in range(1, 40):
            send(served.address, request, leave_after=number * len(request) // 40)
        deadline = time.monotonic() + 10
        while "vesalius_requests_in_flight 0" not in metrics(served) and time.monotonic() < deadline:
            time.sleep(0.1)
        if round_ == 0:
            before = served.memory()
    assert "vesalius_requests_in_flight 0" in metrics(served)
    assert served.memory() - before < 12 * 2**20


def test_a_client_that_sends_too_slowly_or_too_much_is_cut_off(served):
    start = http(b"POST", b"/predict", b"", more=b"Transfer-Encoding: chunked\r\n").replace(
        b"Content-Length: 0\r\n", b""
    )
    with socket.create_connection(served.address, timeout=20) as slow:
        slow.sendall(start + b"5\r\nhello\r\n")
        begun = time.monotonic()
        assert b" 408 " in slow.recv(100)
        assert LIMITS.seconds - 1 < time.monotonic() - begun < LIMITS.seconds + 5
    sent = 0
    with socket.create_connection(served.address, timeout=20) as endless:
        endless.sendall(start)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 2**30:
                endless.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
                sent += 2**16
    assert sent < 8 * LIMITS.bytes


def test_more_requests_than_the_limit_are_sent_away_and_come_back(served):
    half = http(b"POST", b"/predict", bytes(100))[:-50]
    waiting = [socket.create_connection(served.address, timeout=20) for _ in range(LIMITS.requests)]
    for connection in waiting:
        connection.sendall(half)
    deadline = time.monotonic() + 10
    while f"vesalius_requests_in_flight {LIMITS.requests}" not in metrics(served) and time.monotonic() < deadline:
        time.sleep(0.05)
    with socket.create_connection(served.address, timeout=20) as next_one:
        next_one.sendall(upload(b"a.png", valid_files()[b"a.png"]))
        reply = next_one.recv(4096).lower()
    assert b" 503 " in reply
    assert b"retry-after: 1" in reply
    for connection in waiting:
        connection.close()


def metrics(served: Served) -> str:
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(http(b"GET", b"/metrics"))
        reply = b""
        while chunk := connection.recv(2**16):
            reply += chunk
    return reply.decode()
