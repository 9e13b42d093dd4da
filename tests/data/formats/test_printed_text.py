"""Print in images, and what stands still over a clip, is found, masked, and found no longer; nothing else changes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vesalius.data.formats.overlays import MIN_FRAMES, mask_print, shows_overlay, shows_print
from vesalius.data.formats.printed_text import mask_text, shows_text
from vesalius.data.sources import Lesions, Perfusion

NAME = "HANS MUELLER 1950\nM 74y  ID 42"


def printed(image, text=NAME, at=(4, 4), level=255):
    """A grey image with text, and where it was drawn: both (H, W)."""
    font = ImageFont.load_default(size=max(10, len(image) // 20))
    picture, ink = Image.fromarray(image), Image.new("L", image.shape[::-1])
    ImageDraw.Draw(picture).text(at, text, fill=level, font=font)
    ImageDraw.Draw(ink).text(at, text, fill=255, font=font)
    return np.asarray(picture), np.asarray(ink) > 60


def slices(size, count=3):
    source = Lesions(patients=16, slices=1, image_size=size, seed=4)
    return [source.load(row)[0] for row in source.samples().to_dict("records")[:count]]


@pytest.mark.parametrize(("at", "level"), [((4, 4), 255), ((100, 190), 255), ((4, 4), 0)])
def test_every_letter_goes_and_what_is_far_from_it_stays(at, level):
    for image in slices(224):
        image = np.maximum(image, 60) if level == 0 else image  # dark print needs something to stand out from
        drawn, ink = printed(image, at=at, level=level)
        assert shows_text(drawn[None])
        masked = mask_text(drawn[None])[0]
        assert not shows_text(masked[None])
        far = np.ones_like(ink)
        rows, columns = np.nonzero(ink)
        far[max(0, rows.min() - 30) : rows.max() + 30, max(0, columns.min() - 30) : columns.max() + 30] = False
        assert np.array_equal(masked[far], drawn[far])
        # of the letters nothing is to be seen: what lies under them is as bright as its surroundings
        assert (masked[ink] == level).mean() < 0.02


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_types_and_colours_are_kept(dtype):
    (image, *_) = slices(160)
    drawn = printed(image)[0].astype(dtype) * (200 if dtype == np.uint16 else 1 / 255)
    colour = np.stack([drawn.astype(dtype)] * 3)
    masked = mask_text(colour)
    assert masked.dtype == dtype
    assert not shows_text(masked)
    assert np.array_equal(masked[0], masked[2])
    assert shows_text(colour)  # the given image is left as it was


def test_images_without_text_come_back_as_they_are():
    for image in slices(160):
        assert mask_text(image[None]) is not None
        assert np.array_equal(mask_text(image[None])[0], image)
    for image in (np.zeros((1, 128, 128), np.uint8), np.full((1, 20, 20), 7, np.uint8)):
        assert np.array_equal(mask_text(image), image)


def clip(frames=12, size=128):
    """A bright disc that moves over noise, (T, 1, H, W)."""
    noise = np.random.default_rng(0).integers(20, 90, (frames, size, size))
    rows, columns = np.mgrid[:size, :size]
    for number, frame in enumerate(noise):
        frame[(rows - 70) ** 2 + (columns - 40 - 4 * number) ** 2 < 150] = 200
    return noise.astype(np.uint8)[:, None]


def test_marks_that_stand_still_over_a_moving_image_are_masked():
    series = clip()
    assert np.array_equal(mask_print(series), series)
    marked = series.copy()
    marked[:, 0, 100:104, 100:110] = 255  # a caliper
    marked[:, 0, 110:122, 8:10] = 240
    assert shows_overlay(marked)
    masked = mask_print(marked)
    assert not shows_overlay(masked)
    assert masked[:, 0, 100:104, 100:110].max() < 150
    apart = np.ones(series.shape[2:], dtype=bool)
    apart[95:110, 95:115] = apart[105:127, 3:15] = False
    assert np.array_equal(masked[:, 0, apart], series[:, 0, apart])


def test_text_over_a_clip_goes_from_every_frame_also_where_it_changes():
    series = clip(size=160)
    for number, frame in enumerate(series):
        frame[0] = printed(frame[0], f"HANS MUELLER 00:{number:02d}")[0]
    assert shows_print(series)
    masked = mask_print(series)
    assert not shows_print(masked)
    assert not any(shows_text(frame) for frame in masked)


def test_nothing_stands_out_where_nothing_moves_or_the_clip_is_short():
    still = np.repeat(slices(128, 1)[0][None, None], 12, axis=0)
    assert np.array_equal(mask_print(still), still)
    short = clip(MIN_FRAMES - 1)
    short[:, 0, 100:104, 100:110] = 255
    assert np.array_equal(mask_print(short), short)


def test_a_phantom_of_perfusion_has_no_overlays():
    source = Perfusion(patients=16, seed=4)
    for row in source.samples().to_dict("records")[:3]:
        series = source.load(row)
        assert np.array_equal(mask_print(series), series)
