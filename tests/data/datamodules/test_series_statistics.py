"""Features of series for baselines are what their names promise."""

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.data.datamodules.series_statistics import curve_statistics, even_frames, mean_over_time
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store

LENGTHS = [1, 4, 20]


class Ramps(Source):
    """Series n rises by n + 1 a frame."""

    task = "binary"
    classes = ("a", "b")
    series = True

    def samples(self):
        return pd.DataFrame({"sample_id": ["s0", "s1", "s2"], "group_id": ["g0", "g1", "g2"], "_n": [0, 1, 2]})

    def load(self, row):
        n = row["_n"]
        frame = np.arange(LENGTHS[n], dtype=np.float32) * (n + 1)
        return np.broadcast_to(frame[:, None, None, None], (LENGTHS[n], 2, 3, 3)).copy()

    def fingerprint(self):
        return "ramps"


@pytest.fixture
def store(tmp_path):
    source = Ramps()
    return Store.open(source, source.samples(), cache_dir=tmp_path)


def test_even_frames_go_from_the_first_to_the_last(store):
    frames = even_frames(store, torch.arange(3), 20).reshape(3, 20, 2, 9)
    assert frames[:, -1, 0, 0].tolist() == [0, 6, 57]
    np.testing.assert_allclose(frames[2, :, 0, 0], 3.0 * np.arange(20))
    assert even_frames(store, torch.tensor([1]), 4).shape == (1, 4 * 2 * 9)
    assert even_frames(store, torch.tensor([1]), 500).shape == (1, 32 * 2 * 9)


def test_the_mean_is_over_only_real_frames(store):
    np.testing.assert_allclose(mean_over_time(store, torch.arange(3))[:, 0], [0, 3, 28.5])


def test_curves_have_the_slope_of_the_ramp(store):
    described = curve_statistics(store, torch.arange(3)).reshape(3, 6, 2, 11)
    np.testing.assert_allclose(described[:, 0, :, 8], [[0, 0], [2, 2], [3, 3]], atol=1e-9)
    np.testing.assert_allclose(described[1, 0, 0], [3, np.std([0, 2, 4, 6]), 0, 6, 0, 6, 6, 1, 2, 2, 2])
    np.testing.assert_allclose(described[:, 1], described[:, 1] * 0, atol=1e-9)  # no spread within a frame
