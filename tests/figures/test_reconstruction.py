"""Figures of reconstructions show what they were given, on scales that can be compared."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from vesalius.figures.reconstruction import (
    IMAGES_SHOWN,
    MAX_POINTS,
    error_maps_figure,
    latent_map_figure,
    reconstructions_figure,
    walk_figure,
)


@pytest.fixture(autouse=True)
def drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_images(count=4, channels=1, side=6, seed=0):
    return np.random.default_rng(seed).random((count, channels, side, side), dtype=np.float32)


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def pictures(figure):
    """Axes that hold images, without colour bars."""
    return [axes for axes in figure.axes if axes.images]


def points(figure):
    return np.concatenate([np.asarray(each.get_offsets()) for each in figure.axes[0].collections])


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("with_pca", [True, False])
def test_reconstructions_are_shown_above_their_errors(with_pca, channels):
    original, drawn, pca = (make_images(3, channels, seed=seed) for seed in range(3))
    figure = reconstructions_figure(original, drawn, pca if with_pca else None, ["a", "b", "c"])
    shown = [axes.images[0] for axes in pictures(figure)]
    assert len(shown) == 3 * (5 if with_pca else 3)
    assert {"original", "autoencoder", "error of\nautoencoder", "a", "b", "c"} <= set(texts(figure))
    assert ("PCA" in texts(figure)) is with_pca
    second = np.asarray(shown[1].get_array())
    np.testing.assert_allclose(second, np.moveaxis(original[1], 0, -1) if channels == 3 else original[1, 0])
    error = shown[6 + 3 * with_pca + 1]
    np.testing.assert_allclose(error.get_array(), np.abs(drawn[1] - original[1]).mean(axis=0), rtol=1e-5)
    scales = {image.get_clim() for image in shown[6 + 3 * with_pca :]}
    largest = max(np.abs(each - original).mean(axis=1).max() for each in ([drawn, pca] if with_pca else [drawn]))
    assert len(scales) == 1
    assert scales.pop() == pytest.approx((0, largest), rel=1e-5)


def test_a_dim_image_is_not_stretched_to_look_like_a_bright_one():
    dim = make_images(2) * 0.1
    figure = reconstructions_figure(dim, np.full_like(dim, 1.7))
    assert {axes.images[0].get_clim() for axes in pictures(figure)[:4]} == {(0, 1)}
    assert np.asarray(pictures(figure)[0].images[0].get_array()).max() < 0.1
    assert np.asarray(pictures(figure)[2].images[0].get_array()).max() == 1  # as the screen clips it


def test_of_many_images_ten_are_shown_and_perfect_ones_can_be():
    images = make_images(14)
    figure = reconstructions_figure(images, images, captions=[str(k) for k in range(14)])
    assert len(pictures(figure)) == 3 * IMAGES_SHOWN
    assert "9" in texts(figure)
    assert "13" not in texts(figure)


def test_a_map_keeps_classes_together_and_names_them():
    random = np.random.default_rng(0)
    labels = [f"class {k % 3}" for k in range(90)]
    codes = random.standard_normal((90, 16)) + 8 * random.standard_normal((3, 16))[np.arange(90) % 3]
    figure = latent_map_figure(codes, labels)
    assert [len(each.get_offsets()) for each in figure.axes[0].collections] == [30, 30, 30]
    assert silhouette_score(points(figure), np.repeat(range(3), 30)) > 0.5
    assert "Latent space, t-SNE" in texts(figure)
    assert "class 2  (30)" in texts(figure)
    np.testing.assert_array_equal(points(figure), points(latent_map_figure(codes, labels)))


@pytest.mark.parametrize("count", [1, 2, 29])
def test_few_codes_are_drawn_along_their_principal_components(count):
    codes = np.random.default_rng(1).standard_normal((count, 5)) * [1, 9, 1, 30, 1]
    figure = latent_map_figure(codes)
    assert "Latent space, two principal components" in texts(figure)
    centred = codes - codes.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points(figure), axis=0)[: len(singular)], singular[:2], atol=1e-9)
    assert len(points(figure)) == count


@pytest.mark.parametrize("dimensions", [1, 2])
def test_codes_of_two_dimensions_need_no_map(dimensions):
    codes = np.random.default_rng(2).standard_normal((50, dimensions))
    np.testing.assert_array_equal(points(latent_map_figure(codes))[:, :dimensions], codes)


def test_collapsed_codes_are_drawn_as_one_point():
    figure = latent_map_figure(np.ones((60, 4)), ["a"] * 60)
    np.testing.assert_array_equal(points(figure), 0)


def test_of_many_codes_some_of_all_parts_are_drawn():
    codes = np.arange(3 * MAX_POINTS, dtype=float)[:, None] * [1, 0]
    found = points(latent_map_figure(codes))
    assert len(found) == MAX_POINTS
    assert np.ptp(found[:, 0]) == pytest.approx(3 * MAX_POINTS - 1)


def test_a_walk_goes_from_one_patient_to_the_other():
    images = make_images(5, 3)
    figure = walk_figure(images, "healthy", "nodule")
    assert len(pictures(figure)) == 5
    assert figure.axes[0].get_title() == "healthy"
    assert figure.axes[-1].get_title() == "nodule"
    assert [axes.get_xlabel() for axes in figure.axes] == ["0%", "25%", "50%", "75%", "100%"]
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), np.moveaxis(images[3], 0, -1))


def test_an_error_map_is_marked_at_its_peak_and_the_lesion_is_outlined():
    images, maps, masks = make_images(2, side=8), np.zeros((2, 8, 8)), np.zeros((2, 8, 8), dtype=bool)
    maps[0, 2, 5], maps[1, 7, 0] = 4.0, 1.0
    masks[0, 1:4, 4:8] = True  # touches the border; the second is empty
    figure = error_maps_figure(images, maps, masks, ["nodule", "healthy"])
    first, second = figure.axes[2:4]
    assert first.lines[0].get_xydata().tolist() == [[5, 2]]
    assert second.lines[0].get_xydata().tolist() == [[0, 7]]
    assert {axes.images[1].get_clim() for axes in (first, second)} == {(0, 4)}
    assert np.asarray(second.images[1].get_alpha())[0, 0] == 0  # the image shows where nothing is unusual
    for axes, around in ((figure.axes[0], 14), (first, 14), (second, 0)):
        segments = [np.asarray(segment) for each in axes.collections for segment in each.get_segments()]
        assert sum(np.abs(np.diff(segment, axis=0)).sum() for segment in segments) == around
        if around:
            ends = np.concatenate(segments)
            assert ends.min(axis=0).tolist() == [3.5, 0.5]
            assert ends.max(axis=0).tolist() == [7.5, 3.5]
    assert {"nodule", "healthy", "image", "error"} <= set(texts(figure))


def test_error_maps_need_no_masks_and_no_errors():
    figure = error_maps_figure(make_images(12), np.full((12, 6, 6), -1.0))
    assert len(pictures(figure)) == 2 * IMAGES_SHOWN
    assert not figure.axes[0].collections
    texts(figure)
