import numpy as np
import pytest

from vesalius.metrics.baselines.gaussian_sampler import GaussianSampler, best_gaussian_sampler
from vesalius.metrics.baselines.principal_components import PrincipalComponents

SHAPE = (1, 6, 6)


def images(count=400, seed=0):
    """Two classes of different means and correlations."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    axes = np.random.default_rng(9).standard_normal((2, 3, 36)) * 0.04
    codes = generator.standard_normal((count, 3))
    flat = 0.4 + 0.15 * labels[:, None] + np.einsum("nk,nkp->np", codes, axes[labels])
    flat += 0.005 * generator.standard_normal(flat.shape)
    return flat.reshape(-1, *SHAPE).clip(0, 1).astype(np.float32), labels


def fit(train, labels, count):
    return GaussianSampler.fit(PrincipalComponents.fit(train, count), train, labels)


def test_draws_have_the_means_and_covariances_of_their_class():
    train, labels = images()
    sampler = fit(train, labels, 8)
    for label in (0, 1):
        drawn = sampler.sample(np.full(4_000, label), np.random.default_rng(1)).reshape(4_000, -1)
        own = train[labels == label].reshape(-1, 36)
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert np.allclose(drawn.mean(0), own.mean(0), atol=0.02)
        assert np.allclose(np.cov(drawn.T), np.cov(own.T), atol=0.002)


def test_equal_generators_draw_equal_images_and_classes_are_optional():
    train, _ = images(60)
    sampler = fit(train, None, 4)
    one, again = (sampler.sample(np.zeros(5, np.int64), np.random.default_rng(2)) for _ in range(2))
    assert one.shape == (5, *SHAPE)
    assert np.array_equal(one, again)


def test_a_class_of_one_image_can_be_drawn():
    train, labels = images(20)
    labels = np.where(np.arange(20) == 7, 2, labels)
    drawn = fit(train, labels, 4).sample(np.full(3, 2), np.random.default_rng(0))
    assert np.isfinite(drawn).all()


def test_the_number_of_components_with_the_lowest_score_is_taken():
    train, labels = images()
    tried = []

    def score(sampler):
        tried.append(sampler.count)
        return abs(sampler.count - 16)

    best = best_gaussian_sampler(train, labels, score, counts=(4, 8, 16, 32, 999))
    assert tried == [4, 8, 16, 32, 36]
    assert best.count == 16
    single = fit(train, labels, 16)
    assert np.abs(best.means) == pytest.approx(np.abs(single.means), abs=1e-4)
