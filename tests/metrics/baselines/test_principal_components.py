"""Principal components are those of an exact decomposition, and the best linear code there is."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents


def make_images(count=40, shape=(2, 4, 5), *, rank=6, seed=0):
    """Images of some strong directions, each half as strong as the one before, and weak noise."""
    random = np.random.default_rng(seed)
    pixels = int(np.prod(shape))
    strengths = 100 * 0.5 ** np.arange(rank)
    images = (random.standard_normal((count, rank)) * strengths) @ random.standard_normal((rank, pixels)) + 500
    return (images + random.standard_normal((count, pixels))).reshape(count, *shape)


def exact(images):
    """Mean, axes and standard deviations in 64 bits."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    _, singular, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return flat.mean(0), axes, singular / np.sqrt(len(flat) - 1)


# 600 x 600 is decomposed at random, the others exactly
@pytest.mark.parametrize(("count", "shape"), [(40, (2, 4, 5)), (10, (1, 8, 8)), (600, (1, 20, 30))])
def test_axes_are_those_of_an_exact_decomposition(count, shape):
    images = make_images(count, shape)
    found = PrincipalComponents.fit(images, 5)
    mean, axes, scales = exact(images)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(found.scales, scales[:5], rtol=1e-3)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(5), atol=1e-5)
    overlap = np.abs((found.components * axes[:5]).sum(axis=1))  # the sign of an axis is free
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


@pytest.mark.parametrize(("count", "shape"), [(40, (2, 4, 5)), (600, (1, 20, 30))])
def test_the_loss_is_that_of_the_best_linear_code(count, shape):
    images = make_images(count, shape, rank=12)
    found = PrincipalComponents.fit(images, 4)
    lost = ((found.reconstruct(found.project(images)) - images) ** 2).sum() / (count - 1)
    assert lost == pytest.approx((exact(images)[2][4:] ** 2).sum(), rel=1e-3)


def test_scales_are_the_spread_of_the_codes():
    images = make_images()
    found = PrincipalComponents.fit(images, 6)
    codes = found.project(images)
    assert codes.shape == (40, 6)
    np.testing.assert_allclose(codes.std(axis=0, ddof=1), found.scales, rtol=1e-4)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-2)


def test_with_as_many_axes_as_images_allow_nothing_is_lost():
    images = make_images(9)
    found = PrincipalComponents.fit(images, 100)
    assert found.components.shape == (8, 40)
    drawn = found.reconstruct(found.project(images))
    assert drawn.shape == images.shape
    np.testing.assert_allclose(drawn, images, rtol=1e-4)
    assert PrincipalComponents.fit(make_images(60, (1, 2, 2)), 100).components.shape == (4, 4)


def test_integers_are_taken_at_their_value_and_equal_seeds_are_equal():
    images = np.random.default_rng(1).integers(0, 256, (600, 1, 24, 24), dtype=np.uint8)
    first, second = (PrincipalComponents.fit(each, 8, seed=3) for each in (images, images.astype(np.float32)))
    for name in ("mean", "components", "scales"):
        assert getattr(first, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_images_that_are_all_the_same_come_back_as_they_are():
    images = np.full((5, 1, 3, 3), 0.25)
    found = PrincipalComponents.fit(images, 2)
    np.testing.assert_array_equal(found.scales, 0)
    np.testing.assert_allclose(found.reconstruct(found.project(images)), images)


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_has_no_axes(count):
    with pytest.raises(InputError, match=rf"at least 2 training images and there are {count}; .*data\.split"):
        PrincipalComponents.fit(np.zeros((count, 1, 3, 3)), 2)
