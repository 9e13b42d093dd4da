"""A study goes into a real archive, and its report comes back into it and is read there."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import vesalius
from dicom_maker import CT_IMAGE, new_image
from vesalius.data.sources import Lesions

hd = pytest.importorskip("highdicom")
pytest.importorskip("pynetdicom")

RUN = Path(__file__).parents[2] / "stored_runs/cnn/finished"
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Orthanc") is None or not DICOMWEB.is_file(), reason="needs Orthanc with DICOMweb"),
]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Orthanc:
    """An archive on loopback, with its data in a folder of the test's."""

    def __init__(self, folder: Path, receiver_port: int) -> None:
        self.web, self.dicom = free_port(), free_port()
        config = {
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "HttpPort": self.web,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomModalities": {"vesalius": ["VESALIUS", "127.0.0.1", receiver_port]},
            "AuthenticationEnabled": False,
            "Plugins": [str(DICOMWEB)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        self._process = subprocess.Popen(
            ["Orthanc", str(folder / "config.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._until(lambda: self.get("/system"))

    def request(self, path: str, content: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}", content, timeout=10) as answer:
            return bytes(answer.read())

    def get(self, path: str, content: bytes | None = None) -> Any:
        return json.loads(self.request(path, content))

    def series_of(self, modality: str, instances: int) -> dict[str, Any]:
        """The one series of a modality, once it has so many instances."""

        def found() -> Any:
            series = [self.get(f"/series/{one}") for one in self.get("/series")]
            fitting = [one for one in series if one["MainDicomTags"]["Modality"] == modality]
            return fitting[0] if fitting and len(fitting[0]["Instances"]) >= instances else None

        return self._until(found)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)

    def _until(self, work: Any) -> Any:
        for _ in range(200):
            assert self._process.poll() is None, "the archive has ended"
            try:
                if (result := work()) is not None:
                    return result
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("nothing came in 20 s")


def ct_study(slices: int) -> list[Any]:
    """Slices of a phantom as the CT images of one study."""
    source = Lesions(patients=16, slices=slices, image_size=28, seed=3)
    rows = source.samples().to_dict("records")[:slices]
    return [
        new_image(
            source.load(row)[0],
            name="Müller^Zoë",
            SpecificCharacterSet="ISO_IR 100",
            modality="CT",
            sop_class=CT_IMAGE,
            number=number,
            position=(0.0, 0.0, 5.0 * number),
            orientation=(1, 0, 0, 0, 1, 0),
            window=(128.0, 256.0),  # grey values as they are
            AccessionNumber="ACC7",
            StudyID="S1",
            InstitutionName="Somewhere",
        )
        for number, row in enumerate(rows, 1)
    ]


def content_of(image: Any) -> bytes:
    written = BytesIO()
    image.save_as(written, enforce_file_format=True)
    return written.getvalue()


@contextmanager
def receiver_in_this_process(port: int, reply: str) -> Iterator[None]:
    from vesalius.deploy.dicom.inbox import Limits
    from vesalius.deploy.dicom.peer import peer_at
    from vesalius.deploy.dicom.receiver import Receiver

    model, limits = vesalius.load(RUN), Limits(quiet_seconds=0.5)
    with Receiver(model, peer_at(reply, "VESALIUS"), port=port, callers=["ORTHANC"], limits=limits):
        yield


@contextmanager
def receiver_of_the_verb(port: int, reply: str) -> Iterator[None]:
    options = [f"run={RUN}", "port=0", f"dicom={port}", f"pacs.reply={reply}", "pacs.explain=occlusion"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vesalius.cli", "serve", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert "Serving" in process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


@pytest.mark.parametrize("reply", ["C-STORE", "STOW-RS"])
def test_a_study_goes_in_and_its_report_comes_out(reply, tmp_path) -> None:
    model = vesalius.load(RUN)
    images = ct_study(3)
    own = model.predict([image.pixel_array for image in images])
    port = free_port()
    archive = Orthanc(tmp_path, port)
    try:
        if reply == "C-STORE":
            running = receiver_of_the_verb(port, f"ORTHANC@127.0.0.1:{archive.dicom}")
        else:
            running = receiver_in_this_process(port, f"http://127.0.0.1:{archive.web}/dicom-web")
        with running:
            stored = [archive.get("/instances", content_of(image)) for image in images]
            archive.request("/modalities/vesalius/store", stored[0]["ParentStudy"].encode())
            series = archive.series_of("SR", 1)
            if reply == "C-STORE":
                maps = archive.series_of("OT", 3)
                assert maps["ParentStudy"] == stored[0]["ParentStudy"]
        content = archive.request(f"/instances/{series['Instances'][0]}/file")
    finally:
        archive.close()
    assert series["ParentStudy"] == stored[0]["ParentStudy"]
    report = hd.sr.srread(BytesIO(content))
    for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber", "StudyID"):
        assert report[keyword].value == images[0][keyword].value
    assert str(report.PatientName) == "Müller^Zoë"
    assert "InstitutionName" not in report
    groups = report.content.get_image_measurement_groups()
    assert [group.source_images[0].referenced_sop_instance_uid for group in groups] == [
        image.SOPInstanceUID for image in images
    ]
    for group, (_, row) in zip(groups, own.iterrows(), strict=True):
        assert group.finding_type.value == row["prediction"]
        measured = {one.name.value: one.value for one in group.get_measurements()}
        assert {name: measured[f"prob/{name}"] for name in model.facts.classes} == pytest.approx(
            {name: row[f"prob/{name}"] for name in model.facts.classes}, abs=1e-6
        )
        evaluated = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
        assert evaluated["operating_point"] == "argmax"
    assert model.backend.sha256 in content.decode("utf-8", "replace")
    assert report.DeviceSerialNumber == model.backend.sha256
    if shutil.which("dciodvfy") is not None:
        (tmp_path / "report.dcm").write_bytes(content)
        checked = subprocess.run(["dciodvfy", str(tmp_path / "report.dcm")], capture_output=True, text=True)
        assert "Error" not in checked.stderr, checked.stderr
        assert "ComprehensiveSR" in checked.stderr
