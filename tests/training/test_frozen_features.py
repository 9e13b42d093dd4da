"""Features of a frozen encoder are computed by the first run on some data, and by no other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from small_runs import SMALL, train_in
from vesalius.data.store.features import join_features, read_features, write_features
from vesalius.models import CNNClassifier, supervised
from vesalius.models.feature_cache import FeatureCache
from vesalius.training.frozen_features import keep_features


def test_features_are_read_as_they_were_written_and_damage_is_as_nothing(tmp_path) -> None:
    file = tmp_path / "features.npz"
    one = np.array([1, 4]), np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    both = join_features(one, (np.array([0, 4]), np.array([[5.0, 6.0], [3.0, 4.0]], np.float32)))
    assert both[0].tolist() == [0, 1, 4]
    assert both[1].tolist() == [[5.0, 6.0], [1.0, 2.0], [3.0, 4.0]]
    write_features(file, both)
    for kept, found in zip(both, read_features(file, 5, 2), strict=True):
        np.testing.assert_array_equal(kept, found)
    assert [len(read_features(file, *other)[0]) for other in ((4, 2), (5, 3))] == [0, 0]  # of other images, other nets
    file.write_bytes(file.read_bytes()[:-40])
    assert len(read_features(file, 5, 2)[0]) == 0


def test_a_model_that_has_computed_nothing_keeps_nothing() -> None:
    model = CNNClassifier.__new__(CNNClassifier)
    torch.nn.Module.__init__(model)
    model.cache = FeatureCache()
    keep_features(model, None)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["lesions", "perfusion"])
def test_the_second_run_finds_what_the_first_has_computed(data, tmp_path, monkeypatch) -> None:
    encoded, encode = [], supervised.encode_alike

    def count(function, images, size=32):
        encoded.append(len(images))
        return encode(function, images, size)

    monkeypatch.setattr(supervised, "encode_alike", count)
    small = [one for one in SMALL if data == "lesions" or "slices" not in one]
    model = {"lesions": "cnn", "perfusion": "transformer"}[data]
    overrides = [f"data={data}", f"model={model}", *small, "data/augment=none", f"data.cache_dir={tmp_path / 'cache'}"]
    overrides += ["model.finetune.freeze=all", "model.cache_features=true", "trainer.max_epochs=1"]
    overrides += ["evaluation.evidence=false"]
    first = train_in(tmp_path / "first", overrides)
    assert sum(encoded) > 0
    (file,) = Path(tmp_path / "cache").rglob("features-*.npz")
    images = {"lesions": 32 * 2, "perfusion": 32 * 12}[data]
    assert sum(encoded) <= images
    encoded.clear()
    again = train_in(tmp_path / "again", overrides)
    assert encoded == []
    one, other = (torch.load(run.best, weights_only=True)["state_dict"] for run in (first, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
    file.unlink()
    train_in(tmp_path / "other", [*overrides, "seed=1"])  # random weights are others
    assert sum(encoded) > 0
