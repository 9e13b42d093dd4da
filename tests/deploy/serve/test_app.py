"""The server predicts what the model does for the same files, refuses the rest by name, and keeps nothing."""

import io
import json
import logging
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from brightness_model import BrightnessBackend
from dicom_maker import new_image
from vesalius.data.sources.tables import file_reader
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve import Limits, create_app

LIMITS = Limits(megabytes=2, files=8, pixels=2**20, frames=24, seconds=20, requests=4)
NPY = {"content-type": "application/x-npy"}


def client_of(folder: Path, backend: BrightnessBackend | None = None, limits: Limits = LIMITS, **options) -> TestClient:
    predictor = Predictor(backend or BrightnessBackend())
    app = create_app(predictor, limits, folder, name="brightness", hosts=frozenset({"localhost"}), **options)
    return TestClient(app, base_url="http://localhost")


@pytest.fixture
def client(tmp_path):
    (tmp_path / "uploads").mkdir()
    yield client_of(tmp_path / "uploads")
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)


def image(pixels, kind="PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def dicom(pixels, **options) -> bytes:
    file = io.BytesIO()
    new_image(pixels, **options).save_as(file, enforce_file_format=True)
    return file.getvalue()


def volume(folder, voxels) -> bytes:
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "written.nii.gz")
    return (folder / "written.nii.gz").read_bytes()


def archive(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return file.getvalue()


def send(client, files: dict[str, bytes], query=""):
    return client.post(f"/predict{query}", files=[("files", item) for item in files.items()])


def test_files_of_every_kind_get_what_the_model_predicts_for_them(client, pixels, tmp_path):
    files = {
        "a.png": image(pixels),
        "b.jpg": image(pixels, "JPEG"),
        "c.dcm": dicom(pixels.astype(np.uint16), window=(128, 256)),
        "d.nii.gz": volume(tmp_path, np.stack([pixels, pixels // 2], axis=2)),
    }
    folder = tmp_path / "same"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    own = Predictor(BrightnessBackend()).predict(folder)
    expected = dict(
        zip(own["input"], own[["prob/dark", "prob/bright", "prediction"]].itertuples(False, None), strict=True)
    )
    assert len(expected) == 5
    for reply in (send(client, files), send(client, {"all.zip": archive(files)})):
        assert reply.status_code == 200
        found = {one["input"].removeprefix("all/"): one for one in reply.json()["predictions"]}
        assert found.keys() == expected.keys()
        for name, (dark, bright, decision) in expected.items():
            assert found[name]["probabilities"] == {"dark": dark, "bright": bright}
            assert found[name]["prediction"] == decision


def test_no_volume_stays_in_memory(client, pixels, tmp_path):
    whole = volume(tmp_path, np.stack([pixels, pixels], axis=2))
    held = len(file_reader._cache)
    for files in ({"a.nii.gz": whole}, {"a.nii.gz": whole, "cut.nii.gz": whole[: len(whole) // 2]}):
        assert send(client, files).status_code == 200
        assert len(file_reader._cache) == held


def test_an_array_gets_what_its_image_gets(client, pixels):
    of_image = send(client, {"a.png": image(pixels)}).json()["predictions"][0]
    for array in (pixels, pixels[None], np.asfortranarray(pixels)):
        of_array = client.post("/predict", content=npy(array), headers=NPY).json()["predictions"][0]
        assert of_array["probabilities"] == of_image["probabilities"]


def test_the_files_of_a_series_are_one_input_whether_packed_or_not(tmp_path, pixels):
    client = client_of(tmp_path, BrightnessBackend(series=True))
    frames = {f"{number}.png": image(pixels // (number + 1)) for number in range(3)}
    slices = {
        f"{number}.dcm": dicom(pixels, number=number, position=(0, 0, number), orientation=(1, 0, 0, 0, 1, 0))
        for number in range(3)
    }
    for files in (frames, slices):
        loose, packed = (send(client, each, "?preview=true") for each in (files, {"all.zip": archive(files)}))
        (one,), (other,) = loose.json()["predictions"], packed.json()["predictions"]
        assert one["probabilities"] == other["probabilities"]
        assert (one["input"], other["input"]) == ("upload", "all")
        assert one["frames"] == 3


@pytest.mark.parametrize(
    ("path", "form", "problem"),
    [
        ("/predict?explian=true", {}, "There is no option 'explian'"),
        ("/predict", {"explain": "true"}, "The form may hold only files, and not 'explain'"),
        ("/explain?preview=true", {}, "There is no option 'preview'"),
        ("/explain", {"target": "bright"}, "not 'target'"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(path, form, problem, client, pixels):
    reply = client.post(path, data=form, files={"files": ("a.png", image(pixels))})
    assert reply.status_code == 422
    assert problem in reply.json()["problem"]
    assert "?NAME=VALUE" in reply.json()["cure"]


def test_a_file_that_is_refused_does_not_stop_the_others(client, pixels):
    reply = send(client, {"good.png": image(pixels), "bad.png": b"no image", "cut.dcm": dicom(pixels)[:-9]})
    assert reply.status_code == 200
    good, *bad = sorted(reply.json()["predictions"], key=lambda one: "problem" in one)
    assert good["input"] == "good.png"
    assert all(set(one) == {"input", "problem", "cure"} and one["input"] in one["problem"] for one in bad)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({"a.png": b""}, 422, "empty"),
        ({"a.txt": b"hello"}, 422, "no image"),
        ({"a.zip": b"PK\x03\x04 and no more"}, 422, "unpacked"),
        ({"a.mp4": b"0000"}, 415, "not accepted"),
        ({"a.zip": archive({f"{n}.png": b"" for n in range(9)})}, 413, "more than 8 files"),
        ({"a.zip": archive({"zeros.png": bytes(3 * 2**20)})}, 413, "2 MB"),
        ({"a.png": image(np.zeros((1025, 1025), np.uint8))}, 413, "pixels"),
        ({"a.dcm": dicom(np.zeros((25, 8, 8), np.uint8))}, 413, "25 frames"),
        ({f"{n}.png": b"" for n in range(9)}, 400, "files"),
    ],
)
def test_bad_files_are_refused_with_a_problem_and_a_cure(client, files, status, words):
    reply = send(client, files)
    assert reply.status_code == status
    assert words in reply.json()["problem"]
    assert set(reply.json()) == {"problem", "cure"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (npy(np.zeros((8, 8), np.uint8))[:-1], 400),
        (npy(np.zeros((8, 8), np.uint8)) + b"1", 400),
        (b"\x93NUMPY\x01\x00\x10\x00(((((((((((((((\n", 400),
        (npy(np.zeros((8, 8), np.complex64)), 422),
        (npy(np.zeros((0, 8), np.uint8)), 422),
        (npy(np.zeros((8, 8), "datetime64[s]")), 422),
        (npy(np.zeros((1, 3, 2, 8, 8), np.uint8)), 422),
        (npy(np.full((8, 8), np.nan, np.float32)), 422),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }" + b" " * 60 + b"\n", 422),
    ],
)
def test_bad_arrays_are_refused_and_no_object_is_built(client, content, status):
    reply = client.post("/predict", content=content, headers=NPY)
    assert reply.status_code == status
    assert set(reply.json()) == {"problem", "cure"}


def test_members_of_an_archive_stay_in_their_folder(client, pixels, tmp_path):
    names = [
        "../up.png",
        "/root.png",
        "C:\\own.png",
        "a/../../b.png",
        "x/" * 20 + "deep.png",
        "__MACOSX/a.png",
        ".hid.png",
    ]
    reply = send(client, {"all.zip": archive(dict.fromkeys(names, image(pixels)))})
    found = sorted(one["input"] for one in reply.json()["predictions"])
    assert found == ["all/C_/own.png", "all/a/b.png", "all/root.png", "all/up.png"]
    assert list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "a\x00b.png", "." * 300 + ".png", "ä 雪.png", "con|a?*.png"])
def test_names_of_uploads_do_no_harm(client, pixels, name):
    reply = send(client, {name: image(pixels)})
    assert reply.status_code in (200, 400)


def test_a_body_is_refused_once_it_is_too_large_though_it_does_not_state_its_length(client):
    stated = client.post("/predict", content=bytes(3 * 2**20), headers=NPY)
    streamed = client.post("/predict", content=iter([bytes(2**20)] * 3), headers=NPY)
    assert {stated.status_code, streamed.status_code} == {413}
    assert streamed.headers["connection"] == "close"


def test_a_token_opens_what_is_behind_it(tmp_path):
    client = client_of(tmp_path, token="secret")
    assert [client.get(path).status_code for path in ("/", "/healthz", "/openapi.json")] == [200] * 3
    for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}, {"authorization": "Bearer é"}):
        headers = {key: value.encode("latin-1") for key, value in wrong.items()}
        for reply in (client.get("/model", headers=headers), client.post("/predict", headers=headers)):
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
    right = {"authorization": "Bearer secret"}
    assert client.get("/model", headers=right).status_code == 200
    assert client.get("/metrics", headers=right).status_code == 200


def test_pages_of_other_sites_get_nothing(client, pixels):
    rebound = client.get("/model", headers={"host": "evil.example"})
    foreign = client.post("/predict", content=npy(pixels), headers=NPY | {"sec-fetch-site": "cross-site"})
    assert {rebound.status_code, foreign.status_code} == {403}


def test_every_response_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/page.js", "/nowhere", "/predict"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_what_fails_inside_is_logged_without_what_the_client_sent(tmp_path, pixels, caplog):
    class Broken(BrightnessBackend):
        def compute(self, inputs):
            raise RuntimeError("jane_doe.png")

    caplog.set_level(logging.DEBUG)
    reply = send(client_of(tmp_path, Broken()), {"jane_doe.png": image(pixels)})
    assert reply.status_code == 500
    assert reply.json()["problem"] == "The server failed"
    logged = [record.getMessage() for record in caplog.records if record.name == "vesalius"]
    assert logged
    assert "jane_doe" not in " ".join(logged)


def test_metrics_count_requests_and_inputs_and_name_nobody(client, pixels):
    send(client, {"jane_doe.png": image(pixels), "broken.png": b""})
    client.get("/jane_doe")
    lines = client.get("/metrics").text.splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert counts['vesalius_requests_total{path="/predict",status="200"}'] == "1"
    assert counts['vesalius_requests_total{path="other",status="404"}'] == "1"
    assert (
        counts['vesalius_inputs_total{outcome="predicted"}']
        == counts['vesalius_inputs_total{outcome="refused"}']
        == "1"
    )
    assert counts['vesalius_request_seconds_bucket{path="/predict",le="+Inf"}'] == "1"
    assert int(counts["process_resident_memory_bytes"]) > 2**20
    assert "jane" not in "\n".join(lines)


def test_the_model_describes_itself(client):
    found = client.get("/model").json()
    assert found["classes"] == ["dark", "bright"]
    assert found["test"]["auroc"]["ci95"] == [0.8, 0.95]
    assert found["input"]["image_size"] == [32, 32]
    json.dumps(found, allow_nan=False)


def test_a_preview_is_what_the_model_takes(client, pixels):
    import base64

    found = send(client, {"a.dcm": dicom(pixels, window=(128, 256))}, "?preview=true").json()["predictions"][0]
    picture = Image.open(io.BytesIO(base64.b64decode(found["preview"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(picture), np.repeat(pixels[..., None], 3, axis=2))
