"""Distances of features: scipy's distance, a threshold that holds its rate by patients, and files that hold no code."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from vesalius.config.errors import InputError
from vesalius.metrics.out_of_distribution import OutOfDistribution
from vesalius.metrics.out_of_distribution_fit import fit_features
from vesalius.runs.arrays import read_arrays, write_arrays


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(20_000, 5)) @ (np.eye(5) + 0.3 * rng.normal(size=(5, 5))) + 3


def test_the_score_is_scipys_distance_over_the_threshold(features) -> None:
    fitted = fit_features(features[:10_000], features[10_000:], np.arange(10_000))
    inverse = np.linalg.inv(np.cov(features[:10_000].T))
    expected = [mahalanobis(one, features[:10_000].mean(axis=0), inverse) for one in features[:20]]
    assert fitted.score(features[:20]) * fitted.threshold == pytest.approx(expected, rel=0.02)


def test_the_rate_counts_patients_and_not_their_images(features) -> None:
    val = features[10_000:11_000].copy()
    patients = np.arange(1_000)
    val[:50] *= 100  # one patient with fifty images that are all far away
    patients[:50] = 0
    fitted = fit_features(features[:10_000], val, patients)
    above = fitted.score(val) > 1
    weights = 1 / np.bincount(patients)[patients]
    assert weights[above].sum() / weights.sum() <= 0.01
    # The next lower threshold would flag too many: one more patient of 951 at the most is missing.
    assert weights[above].sum() / weights.sum() > 0.01 - 2 / 951
    plain = fit_features(features[:10_000], val, np.arange(1_000))
    assert plain.threshold > 10 * fitted.threshold


def test_an_image_is_scored_the_same_in_any_batch(features) -> None:
    fitted = fit_features(features[:100], features[100:200], np.arange(100))
    whole = fitted.score(features[:64].astype(np.float32))
    singly = [fitted.score(features[[row]].astype(np.float32))[0] for row in range(64)]
    assert whole.tolist() == singly


def test_features_that_are_not_finite_are_unlike_all(features) -> None:
    fitted = fit_features(features[:100], features[100:200], np.arange(100))
    asked = features[:3].copy()
    asked[1, 2] = np.nan
    assert np.isinf(fitted.score(asked)).tolist() == [False, True, False]


def test_a_file_gives_back_the_same_scores(features, tmp_path) -> None:
    fitted = fit_features(features[:100], features[100:200], np.arange(100))
    write_arrays(tmp_path / "ood.safetensors", fitted.to_arrays())
    back = OutOfDistribution.from_arrays(read_arrays(tmp_path / "ood.safetensors"))
    assert back.score(features).tolist() == fitted.score(features).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": np.zeros(1, np.float32)},
        {"threshold": np.full(1, np.nan, np.float32)},
        {"whitening": np.zeros((5, 4), np.float32)},
        {"mean": np.zeros(5, np.float64)},
        {"more": np.zeros(1, np.float32)},
    ],
)
def test_other_arrays_are_refused(change, features) -> None:
    fitted = fit_features(features[:100], features[100:200], np.arange(100))
    with pytest.raises(InputError):
        OutOfDistribution.from_arrays({**fitted.to_arrays(), **change})


def test_features_of_another_length_are_refused(features) -> None:
    fitted = fit_features(features[:100], features[100:200], np.arange(100))
    with pytest.raises(InputError, match="they are of another model"):
        fitted.score(features[:, :4])


def test_a_damaged_file_is_refused(tmp_path) -> None:
    (tmp_path / "ood.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(tmp_path / "ood.safetensors")


def test_features_that_do_not_vary_have_no_distance():
    with pytest.raises(InputError, match="nearly all equal"):
        fit_features(np.full((20, 4), 3.0), np.full((5, 4), 3.0), np.arange(5))
