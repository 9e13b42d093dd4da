import numpy as np
import pytest

from vesalius.metrics.synthesis.two_sample import two_sample_test


def draw(count, seed, shift=0.0):
    return shift + np.random.default_rng(seed).standard_normal((count, 6))


def test_what_is_alike_is_not_told_apart_and_what_differs_is():
    groups = np.repeat(np.arange(50), 4)
    outside = 0
    for number in range(40):
        low, high = two_sample_test(draw(200, 2 * number), groups, draw(200, 2 * number + 1), seed=number)["ci95"]
        outside += not low < 0.5 < high
    assert outside <= 6  # 2 expected; 7 or more by chance once in 300
    apart = two_sample_test(draw(200, 0), groups, draw(200, 1, shift=1.0))
    assert apart["value"] > 0.9
    assert apart["ci95"][0] > 0.8
    assert (apart["n"], apart["synthetic"], apart["groups"], apart["no_skill"]) == (100, 100, 25, 0.5)


def test_patients_are_not_learned_by_heart():
    """A patient's images are nearly one; if some were learned from, their position would give the others away."""
    own = np.random.default_rng(0).standard_normal((40, 60))
    real, synthetic = np.repeat(own, 5, axis=0), np.random.default_rng(1).standard_normal((200, 60))
    entry = two_sample_test(real, np.repeat(np.arange(40), 5), synthetic)
    naive = two_sample_test(real, np.arange(200), synthetic)
    assert naive["value"] > entry["value"] + 0.1


def test_too_few_patients_have_a_reason():
    entry = two_sample_test(draw(20, 0), np.zeros(20), draw(20, 1))
    assert entry["value"] is None
    assert "patients" in entry["reason"]


def test_non_finite_features_have_a_reason():
    entry = two_sample_test(draw(20, 0), np.arange(20), np.full((20, 6), np.nan))
    assert entry["value"] is None
    assert "not finite" in entry["reason"]


@pytest.mark.proof
def test_the_interval_covers_chance_where_nothing_differs():
    rounds, inside, above = 300, 0, 0
    groups = np.repeat(np.arange(60), 4)
    for number in range(rounds):
        generator = np.random.default_rng(number)
        real = generator.standard_normal((60, 6))[groups] + generator.standard_normal((240, 6))
        synthetic = np.sqrt(2) * generator.standard_normal((240, 6))
        low, high = two_sample_test(real, groups, synthetic, seed=number)["ci95"]
        inside, above = inside + (low <= 0.5 <= high), above + (low > 0.5)
    print(f"covers .5: {inside / rounds:.3f}, lies above: {above / rounds:.3f}")
    assert inside / rounds >= 0.90
    assert above / rounds < 0.05
