"""Damaged, hostile and foreign files are refused in one sentence: no traceback, no hang, no memory."""

import os
import random
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from dicom_maker import new_image, write_cine, write_image
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom import limits, reading
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.formats.dicom.reading import NotDicom, read_header

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


def _outcome(path: Path) -> str:
    try:
        decode_file(path, "the file")
    except InputError as refused:
        problems = refused.problems
    else:
        return "decoded"
    assert len(problems) == 1
    assert "the file" in problems[0]
    return problems[0]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg.dcm"])
def test_a_file_cut_off_anywhere_is_refused_or_read(tmp_path, name):
    content = (TEST_FILES / name).read_bytes()
    cuts = random.Random(0).sample(range(len(content)), 40)
    for cut in [0, 1, 131, 132, 133, *cuts, len(content) - 1]:
        path = tmp_path / "cut"
        path.write_bytes(content[:cut])
        _outcome(path)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "JPEGLSNearLossless_08.dcm"]
)
def test_a_file_with_changed_bytes_is_refused_or_read(tmp_path, name):
    original, chance = (TEST_FILES / name).read_bytes(), random.Random(1)
    for _ in range(40):
        content = bytearray(original)
        for _ in range(8):
            content[chance.randrange(132, min(len(content), 4000))] = chance.randrange(256)
        path = tmp_path / "changed"
        path.write_bytes(bytes(content))
        _outcome(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"NumberOfFrames": 2_000_000_000}, "more than is safe"),
        ({"Rows": 65535, "Columns": 65535}, "more than is safe"),
        ({"NumberOfFrames": 5000}, "cut off"),
        ({"Rows": 0}, "damaged"),
        ({"BitsStored": 64}, "damaged"),
        ({"BitsAllocated": None}, "no valid description"),
    ],
)
def test_sizes_that_no_image_has_are_refused_before_decoding(tmp_path, monkeypatch, tags, reason, syntax):
    monkeypatch.setattr("vesalius.data.formats.dicom.decode.stored_pixels", lambda *_, **__: pytest.fail("decoded"))
    dataset = new_image(PIXELS, transfer_syntax=syntax)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
        if value is None:
            delattr(dataset, keyword)
    dataset.save_as(tmp_path / "bomb", enforce_file_format=True)
    assert reason in _outcome(tmp_path / "bomb")


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_deflate_bomb_is_not_inflated(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a", PIXELS)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.ImageComments = "0" * 8_000_000
    dataset.save_as(path)
    assert path.stat().st_size < 100_000
    assert _outcome(path) == "decoded"
    monkeypatch.setattr(reading, "MAX_INFLATED", 2**20)
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("inflated"))
    assert "inflates" in _outcome(path)


def test_a_missing_decoder_is_named_with_what_to_install(tmp_path, monkeypatch):
    path = write_cine(tmp_path / "a", np.zeros((2, 8, 8), dtype=np.uint8), transfer_syntax=RLELossless)
    syntax = "1.2.840.10008.1.2.4.201"  # High-Throughput JPEG 2000
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    decoder = get_decoder(syntax)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0",)})
    assert "pip install 'vesalius[medical]'" in _outcome(path)
    assert "High-Throughput JPEG 2000" in _outcome(path)


@pytest.mark.parametrize("kind", ["ARGB", "HSV", "YBR_PARTIAL_420", "COLOUR"])
def test_unknown_colours_are_refused(tmp_path, kind):
    dataset = new_image(np.zeros((8, 8, 3), dtype=np.uint8), photometric="RGB")
    dataset.PhotometricInterpretation = kind
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    assert kind in _outcome(tmp_path / "a")


def test_what_is_not_dicom_differs_from_what_is_damaged(tmp_path):
    for name, content in {"text": b"Patient: Doe, Jane", "empty": b"", "picture": b"\x89PNG" + b"\0" * 200}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NotDicom):
            read_header(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert "no DICOM file" in _outcome(path)
    with pytest.raises(NotDicom, match="DICOMDIR"):
        read_header(TEST_FILES / "dicomdirtests" / "DICOMDIR")
    with pytest.raises(InputError, match="does not exist"):
        read_header(tmp_path / "absent")
    assert "no DICOM file" in _outcome(tmp_path / "text")


def test_limits_leave_room_for_real_images():
    assert limits.MAX_FRAME_PIXELS > 10 * 5000 * 5000  # a mammogram has 20 megapixels
    assert limits.MAX_BYTES > 3000 * 512 * 512 * 2
