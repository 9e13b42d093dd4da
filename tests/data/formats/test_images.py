import numpy as np
import pytest
from PIL import Image

from vesalius.config.errors import InputError
from vesalius.data.formats.images import adapt_channels, convert_bits, decode_image, resize

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (7, 5), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (7, 5, 3), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 65536, (7, 5), dtype=np.uint16)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_lossless_formats_give_back_the_pixels(tmp_path, ending):
    for name, pixels in (("grey", GREY), ("rgb", RGB)):
        path = tmp_path / f"{name}.{ending}"
        Image.fromarray(pixels).save(path)
        expected = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        decoded = decode_image(path)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (1, 5, 3), (5, 1, 3), (1, 1, 3)])
def test_images_of_one_row_or_column_can_be_written_to(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = decode_image(tmp_path / "a.png")
    assert np.array_equal(image, pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    image += 1


def test_jpeg_is_close_and_rgb(tmp_path):
    smooth = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[:, None], 24, axis=1)
    Image.fromarray(np.stack([smooth] * 3, axis=2)).save(tmp_path / "a.jpg", quality=95)
    decoded = decode_image(tmp_path / "a.jpg")
    assert decoded.shape == (3, 32, 24)
    assert np.abs(decoded.astype(int) - smooth).max() < 8


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(DEEP).save(path)
    decoded = decode_image(path)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded[0], DEEP)


def test_big_endian_tiff_has_the_same_values(tmp_path):
    image = Image.frombytes("I;16B", (5, 7), DEEP.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[0], DEEP)


@pytest.mark.parametrize("pixels", [GREY, DEEP], ids=["8-bit", "16-bit"])
def test_white_is_zero_is_inverted(tmp_path, pixels):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, tiffinfo={262: 0})
    stored = path.read_bytes()
    top = np.iinfo(pixels.dtype).max
    written_inverted = pixels.tobytes() not in stored  # whether Pillow inverted on writing
    expected = pixels if written_inverted else top - pixels
    np.testing.assert_array_equal(decode_image(path)[0], expected)


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    for orientation, upright in ((1, GREY), (3, np.rot90(GREY, 2)), (6, np.rot90(GREY, -1)), (8, np.rot90(GREY))):
        exif[274] = orientation
        for ending, options in (("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})):
            path = tmp_path / f"a.{ending}"
            Image.fromarray(GREY).save(path, exif=exif, **options)
            np.testing.assert_array_equal(decode_image(path)[0], upright)


def test_orientation_is_applied_to_sixteen_bits(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.tif", tiffinfo={274: 6})
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[0], np.rot90(DEEP, -1))


def test_palette_becomes_rgb(tmp_path):
    image = Image.fromarray(GREY).quantize(16)
    image.putpalette(GENERATOR.integers(0, 256, 48, dtype=np.uint8).tobytes())
    image.save(tmp_path / "a.png")
    expected = np.array(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), expected)


def test_one_bit_becomes_black_and_white(tmp_path):
    mask = GREY > 127
    Image.fromarray(mask).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png")[0], mask * np.uint8(255))


@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_alpha_is_dropped_if_opaque_and_else_laid_over_black(tmp_path, pixels):
    image = Image.fromarray(pixels)
    alpha = np.full((7, 5), 255, dtype=np.uint8)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    for name, hole in (("opaque", 255), ("clear", 0)):
        alpha[2, 3] = hole
        image.putalpha(Image.fromarray(alpha))
        path = tmp_path / f"{name}.png"
        image.save(path)
        expected = planes.copy()
        if hole == 0:
            expected[:, 2, 3] = 0
        np.testing.assert_array_equal(decode_image(path), expected)


def test_floats_are_kept(tmp_path):
    values = GENERATOR.normal(size=(7, 5)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[0], values)


def _broken(folder):
    noise = Image.fromarray(GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("this is no image")
    for ending in ("png", "jpg", "tif", "bmp"):
        whole = folder / f"whole.{ending}"
        noise.save(whole)
        (folder / f"cut.{ending}").write_bytes(whole.read_bytes()[:2000])
    frames = [Image.fromarray(GREY)] * 3
    frames[0].save(folder / "stack.tif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((3, 3), -5, dtype=np.int32)).save(folder / "negative.tif")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.png", "0 bytes"),
        ("text.png", "damaged"),
        ("cut.png", "damaged"),
        ("cut.jpg", "damaged"),
        ("cut.tif", "damaged"),
        ("cut.bmp", "damaged"),
        ("stack.tif", "3 images"),
        ("negative.tif", "outside 0 to 65535"),
        ("missing.png", "does not exist"),
    ],
)
def test_bad_files_are_named_without_their_folder(tmp_path, name, words):
    _broken(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        decode_image(tmp_path / name, f"train/a/{name}")
    assert f"train/a/{name}" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(InputError, match="more pixels than is safe"):
        decode_image(tmp_path / "a.png")


def test_luminance_agrees_with_pillow():
    planes = RGB.transpose(2, 0, 1)
    np.testing.assert_array_equal(adapt_channels(planes, 1)[0], np.array(Image.fromarray(RGB).convert("L")))
    deep = planes.astype(np.uint16) * 257
    assert np.abs(adapt_channels(deep, 1) / 257 - adapt_channels(planes, 1)).max() <= 0.51
    white = np.full((3, 2, 2), 65535, dtype=np.uint16)
    assert (adapt_channels(white, 1) == 65535).all()
    np.testing.assert_allclose(adapt_channels(planes.astype(np.float32), 1), adapt_channels(planes, 1), atol=0.51)


def test_grey_to_rgb_and_back_is_the_identity():
    for image in (GREY[None], DEEP[None]):
        np.testing.assert_array_equal(adapt_channels(adapt_channels(image, 3), 1), image)


def test_odd_channel_numbers_are_refused():
    with pytest.raises(InputError, match="4 channels"):
        adapt_channels(np.zeros((4, 2, 2), np.uint8), 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_resize_keeps_type_and_range(dtype, channels, fit):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    image = (GENERATOR.random((channels, 40, 23)) * top).astype(dtype)
    for size in ((16, 16), (64, 20), (40, 23)):
        resized = resize(image, size, fit)
        assert resized.shape == (channels, *size)
        assert resized.dtype == dtype
        assert resized.flags["C_CONTIGUOUS"]
        assert resized.max() <= image.max()
    np.testing.assert_array_equal(resize(image, (40, 23), fit), image)


def test_reduction_by_a_whole_factor_is_antialiased():
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 65535).astype(np.uint16)
    reduced = resize(checkerboard[None], (8, 8))
    assert np.abs(reduced.astype(float) - 32767.5).max() < 0.02 * 65535


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pad_keeps_the_aspect_ratio_and_adds_black(dtype):
    image = np.full((1, 20, 40), 200, dtype=dtype)
    padded = resize(image, (32, 32), "pad")[0]
    assert (padded[8:24] == 200).all()
    assert (padded[:8] == 0).all()
    assert (padded[24:] == 0).all()


def test_crop_keeps_the_middle():
    image = np.zeros((1, 20, 40), np.uint8)
    image[:, :, 10:30] = 255
    assert (resize(image, (20, 20), "crop") == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bits_scale_the_whole_range(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(1, 16, -1)
    for bits in (8, 16):
        scaled = convert_bits(values, bits)
        assert scaled.dtype.itemsize * 8 == bits
        exact = values / np.iinfo(dtype).max * (2**bits - 1)
        assert np.abs(scaled - exact).max() <= 0.5
    with pytest.raises(InputError, match=r"data\.source\.window"):
        convert_bits(values.astype(np.float32), 8)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "I;16"])
def test_a_size_given_to_the_decoder_saves_copies_and_changes_no_pixel(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
    image.convert(mode).save(tmp_path / "image.png")
    decoded, size = decode_image(tmp_path / "image.png"), (12, 16)
    sized = decode_image(tmp_path / "image.png", size=size)
    assert sized.shape[1:] == (size if mode in ("L", "RGB") else (40, 30))
    np.testing.assert_array_equal(resize(sized, size), resize(decoded, size))
