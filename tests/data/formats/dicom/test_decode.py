"""One file becomes its frames: against pydicom's own functions, closed forms, and every file that pydicom ships."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEGLSLossless, RLELossless

from dicom_maker import CT_IMAGE, SECONDARY_CAPTURE, new_image, write_cine, write_enhanced, write_image
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.decode import decode_dataset, decode_file

DATA = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    path
    for folder in ("test_files", "charset_files", "palettes")
    for path in (DATA / folder).rglob("*")
    if path.is_file() and not path.match("TINY_ALPHA/*/*/*/IM0000[1-9A-Z]?")  # fifty alike, without pixels
)
REFUSED_IMAGES = {  # files with pixels that cannot be had here, and a word of the reason
    "JPEG-lossy.dcm": "JPEG Extended",
    "JPGExtended.dcm": "JPEG Extended",
    "JPEG2000-embedded-sequence-delimiter.dcm": "JPEG 2000",
    "MR_truncated.dcm": "cut off",
    "badVR.dcm": "",
    "nested_priv_SQ.dcm": "no image",
    "meta_missing_tsyntax.dcm": "no image",
}
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def _expected(path: Path) -> np.ndarray:
    """The documented steps, by pydicom's own functions: (T, C, H, W)."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    kind = dataset.PhotometricInterpretation
    frames = pixels if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else pixels[None]
    if kind == "PALETTE COLOR":
        return apply_color_lut(frames, dataset)[..., :3].transpose(0, 3, 1, 2)
    if dataset.SamplesPerPixel == 3:
        frames = frames >> 16 if frames.dtype == np.uint32 else frames
        return frames.transpose(0, 3, 1, 2)
    bits, slope, intercept = dataset.BitsStored, dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    low = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    low, high = low * slope + intercept, (low + 2**bits - 1) * slope + intercept
    shown = np.asarray(apply_voi_lut(apply_modality_lut(frames, dataset), dataset), dtype=np.float64)
    top = 255 if bits <= 8 else 65535
    part = (shown - float(low)) / float(high - low)
    return np.rint((1 - part if kind == "MONOCHROME1" else part) * top)[:, None]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DATA).as_posix())
def test_every_file_that_pydicom_ships_decodes_as_documented_or_is_refused_with_a_reason(path):
    name = path.name
    try:
        decoded = decode_file(path, name)
    except InputError as error:
        refused = error.problems
    else:
        refused = []
    if refused:
        assert len(refused) == 1
        assert name in refused[0]
        assert REFUSED_IMAGES.get(name, "") in refused[0]
        assert name in REFUSED_IMAGES or "PixelData" not in pydicom.dcmread(path, force=True)
        return
    assert name not in REFUSED_IMAGES
    expected = _expected(path)
    assert decoded.dtype in (np.uint8, np.uint16)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(np.int64) - expected.astype(np.int64)).max() <= 1  # halves may round either way
    assert np.mean(decoded != expected) < 0.01


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm", "MR_small.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_without_a_window_values_are_what_the_modality_means(name):
    path = DATA / "test_files" / name
    dataset = pydicom.dcmread(path)
    decoded = decode_file(path, window="none")
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded[0, 0], apply_modality_lut(dataset.pixel_array, dataset).astype(np.float32))


def test_a_window_of_the_users_is_linear_between_its_edges_and_flat_outside(tmp_path):
    stored = np.array([[0, 1000, 1024, 1124, 1224, 4000]], dtype=np.int16)
    path = write_image(tmp_path / "ct", stored, rescale=(1, -1024), sop_class=CT_IMAGE, modality="CT")
    decoded = decode_file(path, window=(100.0, 200.0))  # 0 HU to 200 HU
    assert np.array_equal(decoded[0, 0, 0], [0, 0, 0, 32768, 65535, 65535])


def test_monochrome1_is_inverted(tmp_path):
    plain = decode_file(write_image(tmp_path / "a", RAMP))
    inverted = decode_file(write_image(tmp_path / "b", RAMP, photometric="MONOCHROME1"))
    assert np.array_equal(plain[0, 0], RAMP)
    assert np.array_equal(inverted, 255 - plain)
    assert np.array_equal(decode_file(tmp_path / "b", window="none")[0, 0], 255.0 - RAMP)
    signed = write_image(tmp_path / "c", RAMP.astype(np.int16), photometric="MONOCHROME1")
    assert np.array_equal(decode_file(signed, window="none")[0, 0], -1.0 - RAMP)


@pytest.mark.parametrize(
    "tags",
    [
        {"modality": "CT"},
        {"rescale": (1.0, -1024.0)},
        {"rescale": (2.0, 0.0), "modality": "DX"},
        {"RescaleType": "HU"},
        {"RescaleType": "OD", "modality": "CR"},
    ],
)
def test_monochrome1_of_values_with_a_unit_needs_a_window(tags):
    dataset = new_image(RAMP.astype(np.uint16), photometric="MONOCHROME1", **tags)
    with pytest.raises(InputError, match=r"inverted is MONOCHROME1 .*data.source.window=\[40,400\]"):
        decode_dataset(dataset, "inverted", window="none")
    plain = new_image(RAMP.astype(np.uint16), **tags)
    shown, other = (decode_dataset(one, "x", window=(100.0, 200.0)).astype(int) for one in (dataset, plain))
    assert np.abs(shown - (65535 - other)).max() <= 1  # a half is rounded to even on either side


@pytest.mark.parametrize("tags", [{"modality": "DX"}, {"modality": "MG", "RescaleType": "US"}])
def test_monochrome1_of_films_without_a_unit_is_inverted(tags):
    dataset = new_image(RAMP, photometric="MONOCHROME1", **tags)
    assert np.array_equal(decode_dataset(dataset, "film", window="none")[0, 0], 255.0 - RAMP)


def test_monochrome1_of_floating_point_values_is_refused():
    dataset = new_image(RAMP.astype(np.float32), photometric="MONOCHROME1")
    with pytest.raises(InputError, match="no fixed range"):
        decode_dataset(dataset, "float", window="none")


@pytest.mark.parametrize(("removed", "slope", "intercept"), [("RescaleSlope", 1, -1024), ("RescaleIntercept", 2, 0)])
def test_half_a_rescale_has_the_slope_one_or_the_intercept_zero(removed, slope, intercept):
    dataset = new_image(RAMP, rescale=(slope, intercept), **{removed: None})
    assert removed not in dataset
    assert np.array_equal(decode_dataset(dataset, "half", window="none")[0, 0], RAMP * float(slope) + intercept)


def test_bits_above_unused_ones_are_refused_by_name():
    dataset = new_image(RAMP.astype(np.uint16) << 4, bits_stored=12, HighBit=15)
    with pytest.raises(InputError, match=r"shifted stores its 12 bits above unused ones \(HighBit is 15, not 11\)"):
        decode_dataset(dataset, "shifted")


@pytest.mark.parametrize("written", [b"40,0", b"40.5", b"4E1 "])
def test_a_decimal_comma_in_a_window_is_a_decimal_point(tmp_path, written):
    path = write_image(tmp_path / "a", RAMP, window=("1234", 100))
    path.write_bytes(path.read_bytes().replace(b"DS\x04\x001234", b"DS\x04\x00" + written))
    plain = write_image(tmp_path / "b", RAMP, window=(float(written.replace(b",", b".")), 100))
    assert np.array_equal(decode_file(path), decode_file(plain))


def test_a_window_that_is_no_number_counts_as_absent(tmp_path):
    path = write_image(tmp_path / "a", RAMP, window=("1234", 100))
    path.write_bytes(path.read_bytes().replace(b"DS\x04\x001234", b"DS\x04\x00auto"))
    assert np.array_equal(decode_file(path)[0, 0], RAMP)


def test_an_empty_look_up_table_beside_a_window_counts_as_absent():
    empty, without_data, without_descriptor = Dataset(), Dataset(), Dataset()
    empty.add_new("LUTDescriptor", "SS", None)
    empty.add_new("LUTData", "OW", None)
    without_data.add_new("LUTDescriptor", "SS", [256, 0, 16])
    without_descriptor.add_new("LUTData", "OW", b"\0\0")
    plain = decode_dataset(new_image(RAMP, window=(100, 50)), "plain")
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        for item in (empty, without_data, without_descriptor, Dataset()):
            dataset = new_image(RAMP, window=(100, 50), **{keyword: Items([item])})
            assert np.array_equal(decode_dataset(dataset, keyword), plain)


def test_a_sigmoid_window_is_half_at_its_centre(tmp_path):
    path = write_image(tmp_path / "a", RAMP.astype(np.uint16), window=(100, 50), VOILUTFunction="SIGMOID")
    decoded = decode_file(path)[0, 0].ravel()
    assert decoded[100] == 32768
    assert np.all(np.diff(decoded.astype(np.int64)) >= 0)
    assert decoded[125] == round(65535 / (1 + np.exp(-2)))


@pytest.mark.parametrize("window", [(100, 0), (100, -3)])
def test_a_window_of_no_width_is_passed_over(tmp_path, window):
    assert np.array_equal(decode_file(write_image(tmp_path / "a", RAMP, window=window))[0, 0], RAMP)


def test_a_window_of_width_one_is_a_threshold(tmp_path):
    decoded = decode_file(write_image(tmp_path / "a", RAMP, window=(100, 1)))[0, 0]
    assert np.array_equal(decoded, np.where(RAMP > 99.5, 255, 0))


def test_a_voi_lut_and_a_modality_lut_are_applied(tmp_path):
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 16], [int(value) for value in np.arange(256)[::-1] * 257]
    voi = new_image(RAMP)
    voi.VOILUTSequence = Items([lut])
    voi["VOILUTSequence"].value[0]["LUTData"].VR = voi["VOILUTSequence"].value[0]["LUTDescriptor"].VR = "US"
    assert np.array_equal(decode_dataset(voi, "voi")[0, 0], 255 - RAMP)
    modality = new_image(RAMP)
    modality.ModalityLUTSequence = voi.VOILUTSequence
    assert np.array_equal(decode_dataset(modality, "modality", window="none")[0, 0], (255.0 - RAMP) * 257)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_pixels_stay_floating_point(tmp_path, dtype):
    pixels = np.linspace(-1, 1, 64, dtype=dtype).reshape(8, 8)
    path = write_image(tmp_path / "a", pixels, PhotometricInterpretation="MONOCHROME2")
    assert np.array_equal(decode_file(path)[0, 0], pixels.astype(np.float32))
    assert np.array_equal(decode_file(path, window=(0.0, 2.0))[0, 0], np.rint((pixels + 1) / 2 * 65535))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compression_changes_nothing(tmp_path, syntax):
    stored = np.random.default_rng(0).integers(0, 4096, (20, 30)).astype(np.uint16)
    plain = write_image(tmp_path / "a", stored, bits_stored=12, window=(2000, 3000))
    packed = write_image(tmp_path / "b", stored, bits_stored=12, window=(2000, 3000), transfer_syntax=syntax)
    assert np.array_equal(decode_file(plain), decode_file(packed))


def test_frames_may_be_picked(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (7, 9, 11, 3)).astype(np.uint8)
    for syntax in (None, RLELossless):
        options = {} if syntax is None else {"transfer_syntax": syntax}
        path = write_cine(tmp_path / "cine", frames, **options)
        assert np.array_equal(decode_file(path), frames.transpose(0, 3, 1, 2))
        assert np.array_equal(decode_file(path, frames=[5, 0]), frames[[5, 0]].transpose(0, 3, 1, 2))
        with pytest.raises(InputError, match="frame"):
            decode_file(path, frames=[7])


def test_frames_of_an_enhanced_file_have_each_their_own_slope_and_window(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 1000, (2, 3, 8, 8)).astype(np.uint16)
    slopes = [(1.0 + number, float(number)) for number in range(6)]
    windows = [(500.0, 1000.0 + 10 * number) for number in range(6)]
    path = write_enhanced(tmp_path / "a", pixels, order=range(6), rescale=slopes, window=windows)
    values = decode_file(path, window="none")
    assert np.array_equal(values, decode_file(path, window="none", frames=range(6)))
    for number, (slope, intercept) in enumerate(slopes):
        stored = pixels.reshape(6, 8, 8)[number]
        assert np.array_equal(values[number, 0], (stored * slope + intercept).astype(np.float32))
    shown = decode_file(path)
    expected = np.clip((values[3, 0] - 499.5) / (windows[3][1] - 1) + 0.5, 0, 1) * 65535
    assert np.abs(shown[3, 0] - expected).max() <= 1


def test_sixteen_bit_colour_stays_sixteen_bit(tmp_path):
    colours = np.random.default_rng(0).integers(0, 4096, (8, 8, 3)).astype(np.uint16)
    options = {"photometric": "RGB", "sop_class": SECONDARY_CAPTURE, "bits_stored": 12}
    decoded = decode_file(write_image(tmp_path / "a", colours, **options))
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded[0], colours.transpose(2, 0, 1) << 4)


def test_many_threads_decode_the_same_as_one():
    paths = [
        path for path in FILES if path.name in ("JPEG2000.dcm", "SC_rgb_jpeg.dcm", "MR_small_jpeg_ls_lossless.dcm")
    ]
    serial = [decode_file(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode_file, paths * 4))
    assert all(np.array_equal(one, other) for one, other in zip(serial * 4, together, strict=True))


def test_nothing_of_the_header_is_printed(tmp_path, capfd, caplog):
    path = write_image(tmp_path / "a", RAMP)
    content = path.read_bytes().replace(b"19600102", b"Jan Doe ")  # no date, which pydicom warns of
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        decode_file(path)
    assert not [str(one.message) for one in caught if "Doe" in str(one.message)]
    assert "Doe" not in caplog.text + "".join(capfd.readouterr())
