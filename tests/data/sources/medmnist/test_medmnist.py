import hashlib
import http.server
import importlib.util
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.formats.npz import NpzImages
from vesalius.data.samples import check_samples
from vesalius.data.sources.medmnist import download as download_module
from vesalius.data.sources.medmnist import medmnist as medmnist_module
from vesalius.data.sources.medmnist.medmnist import MedMNIST
from vesalius.data.sources.medmnist.sets import DOWNLOAD_URL, SETS, SIZES
from vesalius.data.store.store import Store

REAL = Path(__file__).parents[4] / "../shared/data/medmnist"
COUNTS = {"train": 9, "val": 5, "test": 6}


def write_set(folder, name, size=28, counts=COUNTS, **changes):
    """Write a file of noise in the official layout; returns its arrays."""
    facts, generator = SETS[name], np.random.default_rng(0)
    arrays = {}
    for split, count in counts.items():
        shape = (count, size, size) if facts.channels == 1 else (count, size, size, 3)
        arrays[f"{split}_images"] = generator.integers(0, 256, shape, dtype=np.uint8)
        columns = len(facts.classes) if facts.task == "multilabel" else 1
        top = 2 if facts.task == "multilabel" else len(facts.classes)
        arrays[f"{split}_labels"] = generator.integers(0, top, (count, columns), dtype=np.uint8)
    file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    np.savez_compressed(folder / file, **{**arrays, **changes})
    return arrays


def test_facts_agree_with_the_package_of_the_authors(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing it makes a folder there
    package = importlib.util.find_spec("medmnist")
    assert package is not None, "the `dev` extra brings the oracle"
    spec = importlib.util.spec_from_file_location("medmnist_info", Path(package.origin).with_name("info.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    official = {name: info for name, info in module.INFO.items() if "3d" not in name}
    assert SETS.keys() == official.keys()
    for name, info in official.items():
        facts = SETS[name]
        assert facts.channels == info["n_channels"]
        assert list(facts.classes) == [info["label"][str(k)] for k in range(len(info["label"]))]
        kind = {"binary-class": "binary", "multi-class": "multiclass", "ordinal-regression": "ordinal"}
        assert facts.task == kind.get(info["task"], "multilabel")
        for size in SIZES:
            suffix = "" if size == 28 else f"_{size}"
            assert facts.md5[size] == info[f"MD5{suffix}"]
            assert info[f"url{suffix}"] == f"{DOWNLOAD_URL}/{name}{suffix}.npz?download=1"


@pytest.mark.parametrize("name", list(SETS))
def test_every_set_gives_its_images_and_labels(tmp_path, name):
    arrays = write_set(tmp_path, name)
    source = MedMNIST(name, str(tmp_path), verify=False)
    table = source.samples()
    assert table["sample_id"].is_unique
    assert table["split"].value_counts().to_dict() == COUNTS
    columns = [c for c in table if c.startswith("target")]
    for split in COUNTS:
        rows = table[table["split"] == split]
        np.testing.assert_array_equal(rows[columns].to_numpy(), arrays[f"{split}_labels"])
        for (_, row), image in zip(rows.iterrows(), arrays[f"{split}_images"], strict=True):
            expected = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
            np.testing.assert_array_equal(source.load(row), expected)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_have_files_of_their_own(tmp_path, size):
    write_set(tmp_path, "breastmnist", size)
    source = MedMNIST("breastmnist", str(tmp_path), size=size, verify=False)
    assert source.load(source.samples().iloc[0]).shape == (1, size, size)


def test_wrong_names_and_sizes_are_both_reported():
    with pytest.raises(InputError) as caught:
        MedMNIST("brestmnist", size=32)
    assert len(caught.value.problems) == 2
    assert "breastmnist" in caught.value.problems[0]


def test_a_missing_file_tells_the_cure(tmp_path):
    with pytest.raises(InputError, match=r"data\.source\.download=true") as caught:
        MedMNIST("octmnist", str(tmp_path), size=64).samples()
    assert str(tmp_path / "octmnist_64.npz") in str(caught.value)


def test_an_unofficial_file_is_refused_unless_allowed(tmp_path):
    write_set(tmp_path, "breastmnist")
    with pytest.raises(InputError, match=r"data\.source\.verify=false"):
        MedMNIST("breastmnist", str(tmp_path)).samples()


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "pathmnist.npz"
    source = MedMNIST("pathmnist", str(tmp_path), verify=False)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="damaged"):
        source.samples()
    write_set(tmp_path, "pathmnist")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="damaged"):
        source.samples()
    write_set(tmp_path, "pathmnist", train_images=np.zeros((9, 28, 28), np.uint8))
    with pytest.raises(InputError, match="not `pathmnist` at 28 pixels"):
        source.samples()
    write_set(tmp_path, "pathmnist", val_labels=np.zeros((4, 1), np.uint8))
    with pytest.raises(InputError, match="there are 5 images"):
        source.samples()
    objects = np.empty((6, 28, 28, 3), dtype=object)
    write_set(tmp_path, "pathmnist", test_images=objects)
    with pytest.raises(InputError, match="Python objects"):
        MedMNIST("pathmnist", str(tmp_path), verify=False).samples()


def test_the_fingerprint_follows_the_content(tmp_path):
    write_set(tmp_path, "breastmnist")
    first = MedMNIST("breastmnist", str(tmp_path), verify=False).fingerprint()
    assert first == hashlib.md5((tmp_path / "breastmnist.npz").read_bytes()).hexdigest()
    write_set(tmp_path, "breastmnist", train_labels=np.ones((9, 1), np.uint8))
    assert MedMNIST("breastmnist", str(tmp_path), verify=False).fingerprint() != first


@pytest.fixture
def passes(monkeypatch):
    """The archives opened from now on, which a list counts: one for each pass over a member."""
    opened, open_archive = [], zipfile.ZipFile

    def count(*args, **options):
        opened.append(args)
        return open_archive(*args, **options)

    monkeypatch.setattr(zipfile, "ZipFile", count)
    return opened


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_images_come_right_in_any_order(tmp_path, whole_bytes, passes):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", train_images=images)
    passes.clear()
    reader = NpzImages(tmp_path / "a.npz", "train_images", whole_bytes=whole_bytes, window=4)
    for number in (*range(10), 6, 9):
        np.testing.assert_array_equal(reader[number], images[number])
    assert len(passes) == 1
    for number in (5, 8, 3, 49, 0, 49, *np.random.default_rng(1).integers(0, 50, 30)):
        np.testing.assert_array_equal(reader[int(number)], images[number])
        assert len(passes) == 1 if whole_bytes else len(passes) > 1  # the window holds the last four images only
    with pytest.raises(IndexError):
        reader[50]


def test_images_come_right_to_many_threads(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (200, 6, 6), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", train_images=images)
    reader = NpzImages(tmp_path / "a.npz", "train_images", whole_bytes=0, window=8)
    wrong = []

    def read(start):
        wrong.extend(n for n in range(start, 200, 4) if not np.array_equal(reader[n], images[n]))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_large_set_is_read_once_into_a_store(tmp_path, monkeypatch, passes):
    """The store decodes roughly in order, so with the reader's window one pass is enough."""
    write_set(tmp_path, "breastmnist", counts={"train": 3000, "val": 10, "test": 10})
    monkeypatch.setattr(medmnist_module, "NpzImages", partial(NpzImages, whole_bytes=0, window=1024))
    source = MedMNIST("breastmnist", str(tmp_path), verify=False)
    table = source.samples()
    passes.clear()
    store = Store.open(source, table, cache_dir=tmp_path / "cache")
    assert not passes
    with np.load(source.path) as archive:
        np.testing.assert_array_equal(store.images[:3000, 0].numpy(), archive["train_images"])


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_a_flipped_bit_is_noticed_and_tried_once(tmp_path, monkeypatch, whole_bytes):
    images = np.random.default_rng(0).integers(0, 256, (50, 40, 40), dtype=np.uint8)
    path = tmp_path / "a.npz"
    np.savez(path, train_images=images)
    content = bytearray(path.read_bytes())
    content[content.index(images[40].tobytes())] ^= 1
    path.write_bytes(content)
    reader = NpzImages(path, "train_images", whole_bytes=whole_bytes)
    for _ in range(3):
        with pytest.raises(zipfile.BadZipFile):
            reader[49]
        monkeypatch.setattr(zipfile.ZipExtFile, "read", None)


@pytest.fixture
def server(tmp_path):
    """Serve the folder `served` over HTTP on this machine."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(served))

        def log_message(self, *args):
            pass

        def send_header(self, keyword, value):
            if keyword == "Content-Length" and (served / "break").exists():
                value = str(int(value) + 10)
            super().send_header(keyword, value)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield served, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_download(server, tmp_path, monkeypatch):
    served, url = server
    write_set(served, "breastmnist")
    content = (served / "breastmnist.npz").read_bytes()
    monkeypatch.setitem(SETS["breastmnist"].md5, 28, hashlib.md5(content).hexdigest())
    root = tmp_path / "new" / "folder"
    source = MedMNIST("breastmnist", str(root), download=True, base_url=url)
    assert len(source.samples()) == sum(COUNTS.values())
    assert (root / "breastmnist.npz").read_bytes() == content
    assert [file.name for file in root.iterdir()] == ["breastmnist.npz"]
    (served / "breastmnist.npz").unlink()
    MedMNIST("breastmnist", str(root), download=True, base_url=url).samples()  # nothing is fetched twice


def test_failed_downloads_leave_nothing_behind(server, tmp_path, monkeypatch):
    served, url = server
    root = tmp_path / "root"
    source = MedMNIST("breastmnist", str(root), download=True, base_url=url)
    with pytest.raises(InputError, match=r"could not be fetched .*404.* by hand"):
        source.samples()
    write_set(served, "breastmnist")
    with pytest.raises(InputError, match="another file than expected"):
        source.samples()
    (served / "break").touch()
    with pytest.raises(InputError, match="could not be fetched"):
        source.samples()
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(InputError, match="could not be fetched"):
        MedMNIST("breastmnist", str(root), download=True, base_url="http://127.0.0.1:1").samples()
    assert not list(root.iterdir())


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data folder is absent")
def test_the_real_breastmnist():
    source = MedMNIST("breastmnist", str(REAL))
    table = source.samples()
    check_samples(table, source.task, source.classes)
    assert source.classes[0] == "malignant"
    counts = {split: (rows["target"] == 0).sum() for split, rows in table.groupby("split")}
    assert counts == {"train": 147, "val": 21, "test": 42}
    assert source.fingerprint() == SETS["breastmnist"].md5[28]
    with np.load(REAL / "breastmnist.npz") as archive:
        np.testing.assert_array_equal(source.load(table.iloc[-1])[0], archive["test_images"][-1])
