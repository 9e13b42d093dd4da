"""Anomaly scores: known distances, planted findings, and numbers that another library confirms."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score

from vesalius.config.errors import InputError
from vesalius.data.sources.lesions import Lesions
from vesalius.metrics.anomaly import ErrorMaps, anomaly_metrics, peak_in_mask
from vesalius.metrics.classification.no_skill import random_average_precision
from vesalius.metrics.intervals.clustered import wilson
from vesalius.metrics.mahalanobis import Mahalanobis

CLASSES = ["healthy", "nodule", "cyst"]


def test_distance_is_scipys_where_images_are_many() -> None:
    rng = np.random.default_rng(0)
    mixing, mean = rng.normal(size=(6, 6)), 10 * rng.normal(size=6)
    codes = rng.normal(size=(20_000, 6)) @ mixing.T + mean
    asked = 5 * rng.normal(size=(30, 6)) + mean
    inverse = np.linalg.inv(mixing @ mixing.T)
    expected = [mahalanobis(code, mean, inverse) for code in asked]
    assert Mahalanobis.fit(codes).distance(asked) == pytest.approx(expected, rel=0.05)


def test_distance_does_not_depend_on_units_and_ignores_dead_dimensions() -> None:
    rng = np.random.default_rng(1)
    codes, asked = rng.normal(size=(50, 8)), rng.normal(size=(5, 8))
    scale, shift = np.logspace(-4, 4, 8), 100 * rng.normal(size=8)
    plain = Mahalanobis.fit(codes).distance(asked)
    assert Mahalanobis.fit(codes * scale + shift).distance(asked * scale + shift) == pytest.approx(plain, rel=1e-6)
    dead, alive = np.full((50, 1), 0.3), np.full((5, 1), 7.0)
    assert Mahalanobis.fit(np.hstack([codes, dead])).distance(np.hstack([asked, alive])) == pytest.approx(
        plain, rel=0.1
    )


def test_fewer_images_than_dimensions_still_give_finite_distances() -> None:
    rng = np.random.default_rng(2)
    found = Mahalanobis.fit(rng.normal(size=(5, 64)))
    near, far = found.distance(rng.normal(size=(20, 64))), found.distance(5 * rng.normal(size=(20, 64)))
    assert np.isfinite(near).all()
    assert near.max() < far.min()
    for codes, problem in ((np.zeros((1, 4)), "2 or more"), (np.full((5, 4), np.nan), "diverged")):
        with pytest.raises(InputError, match=problem):
            Mahalanobis.fit(codes)


def pairs(rng: np.random.Generator, count: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Reconstructions that are always bad at an edge, a bad column, and good elsewhere."""
    originals = rng.random((count, channels, 24, 24))
    noise = 0.01 * rng.normal(size=originals.shape)
    noise[..., 5] += 0.3 * rng.normal(size=(count, channels, 24))
    return originals, originals + noise


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (13, 13, 14), (0, 40)])
def test_batches_add_up_to_the_whole(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    originals, drawn = pairs(rng, 40, channels=3)
    error = gaussian_filter(np.abs(originals - drawn).mean(axis=1), (0, 2, 2), mode="nearest")
    maps = ErrorMaps(2.0)
    for part in np.split(np.arange(40), np.cumsum(sizes)[:-1]):
        maps.update(originals[part], drawn[part])
    variance = error.var(axis=0, ddof=1)
    expected = (error - error.mean(axis=0)) / np.sqrt(variance + 0.25 * variance.mean())
    assert maps.maps(originals, drawn) == pytest.approx(expected, abs=1e-6)
    assert maps.count == 40


def test_what_is_always_drawn_badly_does_not_count_and_a_finding_does() -> None:
    rng = np.random.default_rng(4)
    maps = ErrorMaps(1.0)
    maps.update(*pairs(rng, 200))
    originals, drawn = pairs(rng, 60)
    normal = maps.maps(originals, drawn)
    originals[:, 0, 12:15, 15:18] += 0.2
    found = maps.maps(originals, drawn)
    column = np.abs(normal[:, :, 4:7]).mean() / np.abs(normal).mean()
    assert 0.5 < column < 3  # the raw error is thirty times that of other places
    mask = np.zeros((60, 24, 24), dtype=bool)
    mask[:, 11:16, 14:19] = True
    assert peak_in_mask(found, mask, np.arange(60))["value"] > 0.95
    assert (maps.score(found) > np.quantile(maps.score(normal), 0.95)).mean() > 0.9
    assert (maps.score(found) == found.max(axis=(1, 2))).all()
    raw = np.abs(originals - drawn)[:, 0]
    assert peak_in_mask(raw, mask, np.arange(60))["value"] < 0.5


def test_error_maps_refuse_what_they_cannot_use() -> None:
    image = np.zeros((1, 1, 8, 8))
    with pytest.raises(InputError, match="sigma=-1"):
        ErrorMaps(-1)
    maps = ErrorMaps()
    maps.update(image, image)
    with pytest.raises(InputError, match="2 or more"):
        maps.maps(image, image)
    with pytest.raises(InputError, match="one shape"):
        maps.update(image, image[0])
    maps.update(image, image)
    assert (maps.maps(image, image) == 0).all()  # nothing ever went wrong, and nothing does
    assert maps.score(maps.maps(image, image + 0.1)) > 100


def scored(seed: int = 0, patients: int = 90) -> tuple[pd.DataFrame, np.ndarray]:
    """Nodules score high and cysts as the healthy do; on a scale far from 0..1."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), 2)
    target = groups % 3
    error = 50 + 10 * (rng.normal(size=len(groups)) + 1.5 * (target == 1))
    table = pd.DataFrame({"sample_id": np.arange(len(groups)), "group_id": groups, "target": target})
    return table.assign(error=error, distance=-error), target == 0


def test_values_are_scikit_learns_and_higher_is_more_unusual() -> None:
    table, normal = scored()
    entries = anomaly_metrics(table, scores=["error", "distance"], normal=normal, classes=CLASSES)
    assert list(entries) == ["error", "distance"]
    assert list(entries["error"]) == ["auroc", "average_precision", "auroc/nodule", "auroc/cyst"]
    assert entries["error"]["auroc"]["value"] == pytest.approx(roc_auc_score(~normal, table["error"]))
    assert entries["distance"]["auroc"]["value"] == pytest.approx(1 - entries["error"]["auroc"]["value"])
    precision = average_precision_score(~normal, table["error"])
    assert entries["error"]["average_precision"]["value"] == pytest.approx(precision)
    assert entries["error"]["average_precision"]["no_skill"] == random_average_precision(120, 180)
    for k, name in ((1, "nodule"), (2, "cyst")):
        rows = normal | (table["target"] == k)
        entry = entries["error"][f"auroc/{name}"]
        assert entry["value"] == pytest.approx(roc_auc_score(~normal[rows], table["error"][rows]))
        assert (entry["n"], entry["groups"], entry["no_skill"]) == (120, 60, 0.5)
        assert (entry["ci95"][0] <= 0.5 <= entry["ci95"][1]) == (name == "cyst")
    assert json.loads(json.dumps(entries)) == entries


def test_only_the_order_of_scores_counts_and_patients_are_counted_not_images() -> None:
    table, normal = scored()
    bent = table.assign(error=np.exp(table["error"] / 10))
    one, two = (anomaly_metrics(t, scores=["error"], normal=normal, classes=CLASSES) for t in (table, bent))
    assert one == two
    copies = pd.concat([table.assign(sample_id=table["sample_id"] + 1000 * k) for k in range(3)])
    thrice = anomaly_metrics(copies, scores=["error"], normal=np.tile(normal, 3), classes=CLASSES)
    assert thrice["error"]["auroc"]["ci95"] == pytest.approx(one["error"]["auroc"]["ci95"], abs=0.01)


def test_several_normal_classes_and_empty_sides() -> None:
    table, _ = scored()
    normal = (table["target"] != 1).to_numpy()
    entries = anomaly_metrics(table, scores=["error"], normal=normal, classes=CLASSES)["error"]
    assert list(entries) == ["auroc", "average_precision", "auroc/nodule"]
    assert entries["auroc/nodule"] == entries["auroc"]
    everyone = anomaly_metrics(table, scores=["error"], normal=np.ones(len(table), dtype=bool), classes=CLASSES)[
        "error"
    ]
    assert everyone["auroc"]["value"] is None
    assert "unusual" in everyone["auroc"]["reason"]
    with pytest.raises(InputError, match="no column error"):
        anomaly_metrics(table.drop(columns="error"), scores=["error"], normal=normal, classes=CLASSES)
    with pytest.raises(InputError, match="1 values of error"):
        anomaly_metrics(
            table.replace({"error": {table["error"][0]: np.nan}}), scores=["error"], normal=normal, classes=[]
        )


def test_peaks_count_only_inside_the_mask() -> None:
    maps = np.zeros((5, 6, 6))
    masks = np.zeros((5, 6, 6), dtype=bool)
    masks[:4, 2:4, 2:4] = True
    maps[0, 2, 2] = maps[1, 3, 3] = 1  # inside
    maps[2, 0, 0] = 1  # outside
    maps[3, 2, 2] = maps[3, 5, 5] = 1  # shared with a place outside
    found = peak_in_mask(maps, masks, np.array(["a", "b", "c", "d", "e"]))  # the fifth has no finding
    assert (found["value"], found["n"], found["groups"]) == (0.5, 4, 4)
    assert found["no_skill"] == pytest.approx(4 / 36)
    assert found["ci95"] == pytest.approx(wilson(0.5, 4))
    one_patient = peak_in_mask(maps, masks, np.zeros(5, dtype=int))["ci95"]
    assert one_patient[1] - one_patient[0] > found["ci95"][1] - found["ci95"][0]
    assert peak_in_mask(np.zeros((5, 6, 6)), masks, np.arange(5))["value"] == 0  # a map without a peak hits nothing
    none = peak_in_mask(maps[4:], masks[4:], np.arange(1))
    assert (none["value"], none["reason"]) == (None, "no image has a mask of its finding")


@pytest.mark.proof
def test_lesions_are_found_even_from_principal_components_of_the_healthy() -> None:
    """32 components of the healthy slices of 300 patients, tested on 200 others. Run with `-s` to see the figures."""
    source = Lesions(patients=500)
    records = source.samples().to_dict("records")
    images = np.stack([source.load(record) for record in records]) / 255
    masks = np.stack([source.mask(record) for record in records])
    table = pd.DataFrame(records)
    train = ((table["target"] == 0) & (table["_patient"] < 300)).to_numpy()
    test = (table["_patient"] >= 300).to_numpy()
    flat = images.reshape(len(images), -1)
    pca = PCA(32, svd_solver="randomized", random_state=0).fit(flat[train])
    drawn = pca.inverse_transform(pca.transform(flat)).reshape(images.shape).clip(0, 1)
    maps = ErrorMaps(2.0)
    maps.update(images[train], drawn[train])
    errors = maps.maps(images[test], drawn[test])
    scored_table = table[test].assign(error=maps.score(errors))
    entries = anomaly_metrics(
        scored_table, scores=["error"], normal=(scored_table["target"] == 0).to_numpy(), classes=source.classes
    )
    peaks = peak_in_mask(errors, masks[test], scored_table["group_id"].to_numpy())
    print({name: entry["value"] for name, entry in entries["error"].items()}, peaks["value"])
    assert all(entries["error"][f"auroc/{name}"]["value"] > 0.88 for name in ("nodule", "cyst", "spiculated"))
    assert peaks["value"] > 0.8 > 10 * peaks["no_skill"]
