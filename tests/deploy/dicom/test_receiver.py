"""The receiver as other nodes meet it: whole studies, limits, strangers and a peer that is away."""

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

import numpy as np
import pytest

from dicom_maker import CT_IMAGE, new_image
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.sources.tables.file_reader import ReadOptions
from vesalius.deploy.backend import Outputs
from vesalius.deploy.contract import InputContract
from vesalius.deploy.dicom import inbox, peer
from vesalius.deploy.dicom.peer import SendFailed, peer_at
from vesalius.deploy.predictor import Predictor

pytest.importorskip("highdicom")
pytest.importorskip("pynetdicom")
pytestmark = pytest.mark.slow


class Constant:
    """A model that finds the same in all images."""

    facts = Facts("binary", ("no", "yes"), 1, (8, 8), 65535.0, (1, 1), 2, (0.5,), (0.1,))
    contract = InputContract(
        *(ReadOptions("slice", "auto", "axial"), False, None, 1, False, (8, 8), False, "stretch", 65535.0),
        *(False, False, None),
    )
    metrics: Mapping[str, Any] = {"decision": {"rule": "youden", "threshold": 0.4}}
    sha256 = "ab" * 32
    ood = None

    def compute(self, inputs: Sequence[Any]) -> Outputs:
        return Outputs(np.tile([0.25, 0.75], (len(inputs), 1)))


class Kept:
    """A peer that keeps what it is sent."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def send(self, objects: Sequence[Any]) -> None:
        from highdicom.sr import srread

        for one in objects:
            content = BytesIO()
            one.save_as(content, enforce_file_format=True)
            self.reports.append(srread(BytesIO(content.getvalue())))

    def wait(self, count: int) -> list[Any]:
        for _ in range(200):
            if len(self.reports) >= count:
                return self.reports
            time.sleep(0.05)
        raise AssertionError(f"{len(self.reports)} of {count} reports came")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def receive(kept, monkeypatch) -> Iterator[Callable[..., Any]]:
    from vesalius.deploy.dicom import receiver

    monkeypatch.setattr(receiver, "_RETRIES", (0.05,))
    started = []

    def start(to: Any = kept, limits: dict[str, Any] | None = None, **options: Any) -> Any:
        bounds = inbox.Limits(**{"quiet_seconds": 0.3, **(limits or {})})
        one = receiver.Receiver(Predictor(Constant()), to, port=0, limits=bounds, **options)
        one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


def images(count: int, patient: str = "P1", side: int = 8, **tags: Any) -> list[Any]:
    pixels = np.zeros((side, side), np.uint16)
    return [
        new_image(pixels, patient=patient, number=number, modality="CT", sop_class=CT_IMAGE, **tags)
        for number in range(1, count + 1)
    ]


def send(port: int, objects: Sequence[Any], *, caller: str = "CALLER", called: str = "VESALIUS") -> list[int | None]:
    """The status of each object; None where the association was refused or had ended."""
    from pynetdicom import AE

    entity = AE(ae_title=caller)
    for sop_class in {one.SOPClassUID for one in objects}:
        entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return [None] * len(objects)
    found: list[int | None] = []
    for one in objects:
        try:
            found.append(association.send_c_store(one).get("Status"))
        except RuntimeError:
            found.append(None)
    association.release()
    return found


def test_a_study_of_several_associations_gets_one_report(receive, kept) -> None:
    port = receive(limits={"quiet_seconds": 2.0}).port  # a busy machine may take a while between the two
    study = images(4)
    assert send(port, study[:2]) + send(port, study[2:]) == [0] * 4
    (report,) = kept.wait(1)
    assert report.StudyInstanceUID == study[0].StudyInstanceUID
    groups = report.content.get_image_measurement_groups()
    assert [group.finding_type.value for group in groups] == ["yes"] * 4
    assert send(port, images(1, "P2")) == [0]
    assert kept.wait(2)[1].PatientID == "P2"


def test_a_report_that_comes_back_with_its_study_is_no_input(receive, kept) -> None:
    port = receive().port
    assert send(port, images(1)) == [0]
    (report,) = kept.wait(1)
    assert send(port, [report]) == [0]
    assert send(port, [report, *images(1)]) == [0, 0]
    time.sleep(1)
    assert len(kept.reports) == 2


@pytest.mark.parametrize(
    ("caller", "called", "welcome"), [("PACS", "VESALIUS", True), ("X", "VESALIUS", False), ("PACS", "X", False)]
)
def test_only_nodes_by_the_right_titles_are_served(caller, called, welcome, receive) -> None:
    port = receive(callers=["PACS"]).port
    assert send(port, images(1), caller=caller, called=called) == [0 if welcome else None]


def test_what_goes_beyond_a_limit_is_refused_and_the_next_study_is_served(receive, kept) -> None:
    one = receive(limits={"study_files": 2, "file_bytes": 100_000})
    assert send(one.port, images(3)) == [0, 0, 0xA700]
    kept.wait(1)
    (large,) = send(one.port, images(1, "P2", side=1000))  # 2 MB
    assert large is None
    assert send(one.port, images(1, "P3")) == [0]
    assert [report.PatientID for report in kept.wait(2)] == ["P1", "P3"]


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BBL", 1, 0, 2**32 - 1) + b"\0" * 10_000,  # a request that claims 4 GB
        struct.pack(">BBL", 4, 0, 2**20) + b"\0" * 10_000,
        bytes(range(256)) * 4,
    ],
    ids=["http", "request of 4 GB", "image of 1 MB", "noise"],
)
def test_bytes_that_are_no_dicom_close_the_connection_only(content, receive, kept) -> None:
    port = receive().port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        stranger.sendall(content)
        stranger.settimeout(10)
        try:
            while stranger.recv(4096):
                pass
        except ConnectionError:
            pass
    assert send(port, images(1)) == [0]
    kept.wait(1)


def test_a_damaged_image_is_refused_and_the_others_are_reported(receive, kept) -> None:
    port = receive().port
    study = images(3)
    study[1].PixelData = study[1].PixelData[:20]
    study[2].Rows, study[2].Columns = 4, 16  # not the model's size
    assert send(port, study) == [0] * 3
    (report,) = kept.wait(1)
    assert (report.CompletionFlag, report.CompletionFlagDescription) == ("PARTIAL", "2 of 3 inputs were refused")


def test_a_peer_that_is_away_is_tried_again_and_no_identifier_is_logged(receive, caplog) -> None:
    class Away:
        tries = 0

        def send(self, objects: Sequence[Any]) -> None:
            self.tries += 1
            raise SendFailed("PACS@127.0.0.1:1 accepts no association")

    away = Away()
    with caplog.at_level(logging.DEBUG):
        port = receive(to=away).port
        assert send(port, images(1, "P-SECRET", name="Doe^Secret")) == [0]
        for _ in range(200):
            if "is lost" in caplog.text:
                break
            time.sleep(0.05)
    assert away.tries == 2
    assert "the report of a study is lost: PACS@127.0.0.1:1 accepts no association" in caplog.text
    own = "\n".join(record.getMessage() for record in caplog.records if record.name == "vesalius")
    assert "SECRET" not in own.upper()


def test_nothing_stays_after_the_end(receive, kept) -> None:
    one = receive()
    assert send(one.port, images(1)) == [0]
    kept.wait(1)
    root = one._inbox._root
    assert root.exists()
    time.sleep(0.2)
    assert list(root.iterdir()) == []
    one.stop()
    assert not root.exists()


def test_a_port_in_use_is_refused_with_the_cure(receive, kept) -> None:
    from vesalius.deploy.dicom.receiver import Receiver

    port = receive().port
    second = Receiver(Predictor(Constant()), kept, port=port)
    with pytest.raises(InputError, match=rf"dicom={port}: cannot listen .* choose another port"):
        second.start()
    second.stop()


@pytest.mark.parametrize(
    "address", ["", "PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "A TITLE@h:1", "ftp://host", "@h:1"]
)
def test_an_address_that_is_none_is_refused(address) -> None:
    with pytest.raises(InputError, match=r"give TITLE@HOST:PORT of a DICOM node"):
        peer_at(address, "VESALIUS")


def test_a_peer_that_does_not_answer_is_a_failure(monkeypatch) -> None:
    monkeypatch.setattr(peer, "_SECONDS", 2.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (image,) = images(1)
    for address in (f"PACS@127.0.0.1:{port}", f"http://127.0.0.1:{port}/dicom-web"):
        with pytest.raises(SendFailed, match=r"accepts no association|cannot be reached"):
            peer_at(address, "VESALIUS").send([image])


@pytest.mark.parametrize(
    ("status", "content", "failure"),
    [
        (200, "{}", None),
        (200, '{"00081198": {"vr": "SQ"}}', None),
        (202, '{"00081198": {"vr": "SQ", "Value": [{}]}}', "does not store 1 of 1 object"),
        (301, "", "replies with HTTP status 301"),
        (401, "", "replies with HTTP status 401"),
        (500, "", "replies with HTTP status 500"),
    ],
)
def test_what_a_web_server_replies_counts(status, content, failure, monkeypatch) -> None:
    asked: list[tuple[str, str, bytes]] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setenv(peer.AUTHORIZATION, "Bearer secret")
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.handle_request, daemon=True).start()
        web = peer_at(f"http://127.0.0.1:{server.server_port}/dicom-web/", "VESALIUS")
        with nullcontext() if failure is None else pytest.raises(SendFailed, match=failure):
            web.send(images(1))
    ((path, authorization, body),) = asked
    assert (path, authorization) == ("/dicom-web/studies", "Bearer secret")
    assert body.count(b"DICM") == 1
