"""The store holds image series as it holds images: decoded once, in order, checked, and named when they are bad."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.formats.images import adapt_channels, resize
from vesalius.data.sources.base import Source
from vesalius.data.store import build as store_build
from vesalius.data.store.on_device import DeviceStore
from vesalius.data.store.store import Store


class Series(Source):
    """A source of series in memory; an exception in the list is raised instead."""

    task, classes, series = "binary", ("a", "b"), True

    def __init__(self, arrays, root=None):
        self.arrays, self.root, self.loads = arrays, root, 0

    def samples(self):
        ids = [f"s{i:03d}" for i in range(len(self.arrays))]
        times = [list(range(len(array))) if isinstance(array, np.ndarray) else [0.0] for array in self.arrays]
        targets = [i % 2 for i in range(len(ids))]
        return pd.DataFrame({"sample_id": ids, "group_id": ids, "split": None, "target": targets, "_times": times})

    def load(self, row):
        self.loads += 1
        array = self.arrays[int(row["sample_id"][1:])]
        if isinstance(array, Exception):
            raise array
        return array

    def files(self, row):
        return [] if self.root is None else [self.root / f"IM{row['sample_id'][1:]}", self.root / "second"]

    def fingerprint(self):
        return "0"


class Images(Series):
    """The same, of single images."""

    series = False


def noise(lengths=(3, 1, 7, 2, 7), shape=(1, 6, 5), dtype=np.uint8):
    generator = np.random.default_rng(0)
    return [(generator.random((length, *shape)) * 255).astype(dtype) for length in lengths]


def open_store(source, folder, **options):
    return Store.open(source, source.samples(), cache_dir=folder, **options)


def problems_of(source, folder, **options):
    with pytest.raises(InputError) as caught:
        open_store(source, folder, **options)
    return caught.value.problems


def series_of(store, row):
    return store.frames(torch.arange(int(store.offsets[row]), int(store.offsets[row + 1])))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_the_frames_of_each_series_come_back(tmp_path, dtype, memory_limit):
    arrays = noise(dtype=dtype)
    store = open_store(Series(arrays), tmp_path, memory_limit=memory_limit)
    assert store.series
    assert store.in_memory == (memory_limit > 0)
    assert len(store) == 5
    assert store.shape == (1, 6, 5)
    assert store.lengths.tolist() == [3, 1, 7, 2, 7]
    assert store.offsets.tolist() == [0, 3, 4, 11, 13, 20]
    assert store.lengths.dtype == store.offsets.dtype == torch.int64
    for row, array in enumerate(arrays):
        frames = series_of(store, row)
        assert frames.dtype == getattr(torch, np.dtype(dtype).name)
        np.testing.assert_array_equal(frames.numpy(), array)
    for wrong in (20, -1):
        with pytest.raises(IndexError):
            store.frames(torch.tensor([wrong]))
    with pytest.raises(TypeError, match="frames"):
        store[torch.tensor([0])]


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_frames_held_on_a_device_are_the_same(tmp_path, memory_limit):
    arrays = noise(dtype=np.uint16)
    store = open_store(Series(arrays), tmp_path, memory_limit=memory_limit)
    held, positions = DeviceStore(store, torch.device("cpu")), torch.randperm(20).view(4, 5)
    assert store.nbytes == sum(array.nbytes for array in arrays)
    assert torch.equal(held.frames(positions), store.frames(positions))


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_any_lengths_lie_one_behind_another(tmp_path_factory, lengths, seed):
    arrays = noise(lengths, (1, 2, 3))
    store = open_store(Series(arrays), tmp_path_factory.mktemp("store"))
    positions = torch.randint(sum(lengths), (3, 4), generator=torch.Generator().manual_seed(seed))
    batch = store.frames(positions)
    assert batch.shape == (3, 4, 1, 2, 3)
    np.testing.assert_array_equal(batch.numpy(), np.concatenate(arrays)[positions.numpy()])


def test_single_images_are_series_of_one_frame(tmp_path):
    arrays = [array[0] for array in noise()]
    store = open_store(Images(arrays), tmp_path)
    assert not store.series
    assert store.lengths.tolist() == [1] * 5
    assert store.offsets.tolist() == list(range(6))
    rows = torch.tensor([4, 0, 4])
    assert torch.equal(store.frames(rows), store[rows])
    assert "lengths" not in json.loads((store.path / store_build.META_FILE).read_text())


def test_images_and_series_of_one_frame_never_share_a_folder(tmp_path):
    arrays = noise([1, 1])
    series = open_store(Series(arrays), tmp_path)
    images = open_store(Images([array[0] for array in arrays]), tmp_path)
    assert series.path != images.path
    assert torch.equal(series.images, images.images)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_a_pickled_store_gives_the_same_frames(tmp_path, memory_limit):
    store = open_store(Series(noise()), tmp_path, memory_limit=memory_limit)
    again = pickle.loads(pickle.dumps(store))
    assert torch.equal(again.images, store.images)
    assert torch.equal(again.offsets, store.offsets)


def test_each_frame_is_resized_and_its_channels_adapted(tmp_path):
    arrays = [noise([2], (3, 9, 4))[0], noise([5], (1, 30, 60))[0]]
    store = open_store(Series(arrays), tmp_path, image_size=12, fit="pad", channels=1)
    for row, array in enumerate(arrays):
        expected = np.stack([resize(adapt_channels(frame, 1), (12, 12), "pad") for frame in array])
        np.testing.assert_array_equal(series_of(store, row).numpy(), expected)


def test_bad_series_are_left_out_with_their_frames(tmp_path):
    arrays = noise()
    arrays[0] = InputError("s000 is damaged: replace it.")
    arrays[3] = np.full((4, 1, 6, 5), np.nan, np.float32)
    source = Series(arrays)
    for _ in range(2):  # built, then found
        store = open_store(source, tmp_path, on_bad_file="skip")
        assert [name for name, _ in store.skipped] == ["s000", "s003"]
        assert store.table["sample_id"].tolist() == ["s001", "s002", "s004"]
        assert store.lengths.tolist() == [1, 7, 7]
        for row, kept in enumerate((1, 2, 4)):
            np.testing.assert_array_equal(series_of(store, row).numpy(), arrays[kept])
    assert source.loads == 5


def test_every_odd_or_absurd_series_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store_build, "MAX_FRAMES", 6)
    arrays = [*noise([2, 3, 6, 7]), np.zeros((6, 5), np.uint8), np.zeros((0, 1, 6, 5), np.uint8)]
    problems = problems_of(Series(arrays), tmp_path)
    assert len(problems) == 4
    assert "s003 has 7 frames" in problems[0]
    assert "6 at most" in problems[0]
    assert "s004 comes as uint8 of shape (6, 5); (T, C, H, W)" in problems[1]
    assert "s005 comes as" in problems[2]
    (problem,) = problems_of(Series([*noise([2, 3]), *noise([4], (1, 8, 5))]), tmp_path)
    assert "s002 (8×5)" in problem
    assert "2 of 3 have 6×5" in problem
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_image_source_may_not_give_series(tmp_path):
    (problem, _) = problems_of(Images(noise([2])), tmp_path)
    assert "(C, H, W)" in problem


@pytest.mark.parametrize("lengths", [[3, 1, 7, 2, 6], None])
def test_a_description_that_contradicts_the_file_is_not_used(tmp_path, lengths):
    source = Series(noise())
    path = open_store(source, tmp_path).path
    meta = json.loads((path / store_build.META_FILE).read_text())
    (path / store_build.META_FILE).write_text(json.dumps({**meta, "lengths": lengths}))
    assert open_store(source, tmp_path).lengths.tolist() == [3, 1, 7, 2, 7]
    assert source.loads == 10


def test_the_console_names_the_file_and_the_record_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = noise()
    arrays[1] = InputError("s001 is damaged: replace it.")
    source = Series(arrays, root=tmp_path / "private")
    shown = "private/IM001: s001 is damaged: replace it."
    assert problems_of(source, tmp_path / "cache")[0] == shown
    store = open_store(source, tmp_path / "cache", on_bad_file="skip")
    assert store.skipped == [("s001", "s001 is damaged: replace it.")]
    assert not any(b"IM001" in path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    with pytest.raises(InputError) as caught:
        open_store(source, tmp_path / "other")
    assert caught.value.problems[0] == shown
    assert "private" not in str(caught.value)  # which the state of a run records
    assert "s001 is damaged" in str(caught.value)
    assert problems_of(source, tmp_path / "cache")[0] == shown  # from a folder with gaps
    arrays[1] = noise([1], (1, 9, 9))[0]
    (problem,) = problems_of(source, tmp_path / "other")
    assert "s001 (9×9, private/IM001)" in problem
    source.arrays = [InputError("s000 is damaged.")]
    (problem,) = problems_of(source, tmp_path / "other", on_bad_file="skip")
    assert problem.endswith("the first: private/IM000: s000 is damaged.")


def test_a_sample_called_by_its_file_is_not_named_twice(tmp_path):
    source = Series([InputError("s000 is damaged."), *noise()])
    source.files = lambda row: [tmp_path / row["sample_id"]]
    assert problems_of(source, tmp_path / "cache")[0] == "s000 is damaged."


MEMORY = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from vesalius.data.store.build import Decoding, build

class Long:
    series = True
    def image(self, row):
        return np.zeros((400, 1, 64, 64), np.uint8)

def anonymous():
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024

table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(int(sys.argv[1]))]})
most = [0.0]
stop = False
import threading, time
def watch():
    while not stop:
        most.append(anonymous())
        time.sleep(0.002)
before = anonymous()
thread = threading.Thread(target=watch, daemon=True)
thread.start()
build(Long(), table, Decoding(None, "stretch", None), Path(sys.argv[2]), on_bad_file="error", progress=False)
stop = True
thread.join()
print(max(most) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_building_takes_the_memory_of_a_few_series(tmp_path):
    """A series is 1.6 MB; all 200 together, 328 MB."""
    command = [sys.executable, "-c", MEMORY, "200", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    in_flight = 2 * min(store_build.MAX_WORKERS, os.cpu_count() or 1) + 4
    assert float(done.stdout) < 2 * 1.6 * in_flight + 20


def test_what_was_skipped_is_decoded_again_when_nothing_may_be_skipped(tmp_path):
    """A decoder may have been installed in between; the files, and so the key, are the same."""
    import numpy as np
    import pandas as pd
    import pytest

    from vesalius.config.errors import InputError
    from vesalius.data.sources.base import Source
    from vesalius.data.store.store import Store

    class Needy(Source):
        task, classes = "binary", ("a", "b")
        able = False

        def samples(self):
            return pd.DataFrame({"sample_id": ["s0", "s1"], "group_id": ["g0", "g1"]})

        def load(self, row):
            if row["sample_id"] == "s1" and not self.able:
                raise InputError("s1 needs a decoder.")
            return np.zeros((1, 2, 2), np.uint8)

        def fingerprint(self):
            return "needy"

    source = Needy()
    assert len(Store.open(source, source.samples(), cache_dir=tmp_path, on_bad_file="skip").skipped) == 1
    with pytest.raises(InputError, match="needs a decoder"):
        Store.open(source, source.samples(), cache_dir=tmp_path)
    source.able = True
    assert len(Store.open(source, source.samples(), cache_dir=tmp_path)) == 2
