"""Pictures show relevance where it is, and the image where there is none."""

import numpy as np

from vesalius.deploy.explain.overlay import overlay
from vesalius.deploy.explain.picture import picture


def test_only_relevant_pixels_are_coloured() -> None:
    images = np.full((2, 1, 8, 8), 100, np.uint8)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1, 2:4, 5] = 1
    mixed = overlay(images, maps)
    assert mixed.shape == (2, 8, 8, 3)
    grey = (mixed == 100).all(axis=-1)
    assert np.argwhere(~grey).tolist() == [[1, 2, 5], [1, 3, 5]]


def test_colour_stays_colour_and_sixteen_bits_are_stretched() -> None:
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    none = np.zeros((1, 8, 8), np.float32)
    np.testing.assert_array_equal(overlay(colour, none)[0], colour[0].transpose(1, 2, 0))
    deep = random.integers(900, 1100, (1, 1, 8, 8)).astype(np.uint16)
    assert np.ptp(overlay(deep, none)) > 240


def test_a_series_has_a_bar_for_each_time_point_and_the_highest_for_the_most_relevant() -> None:
    images = np.zeros((3, 1, 16, 16), np.uint8)
    weights = np.array([0.1, 0.6, 0.3], np.float32)
    drawn = np.asarray(picture(images, np.zeros((3, 16, 16), np.float32), weights))
    bars = np.array_split(drawn[-28:, :, 0] > 200, 3, axis=1)
    heights = [bar.any(axis=1).sum() for bar in bars]
    assert heights[1] > heights[2] > heights[0] > 0


def test_a_single_image_stands_next_to_its_overlay() -> None:
    drawn = picture(np.zeros((1, 1, 28, 28), np.uint8), np.ones((1, 28, 28), np.float32), np.ones(1))
    assert drawn.size == (2 * 224 + 4, 224)
    pixels = np.asarray(drawn)
    assert pixels[:, :224].max() == 0
    assert pixels[:, 228:].min(axis=(0, 1)).max() > 0
