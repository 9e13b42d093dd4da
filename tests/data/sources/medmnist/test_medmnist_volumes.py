"""The 3-D sets of MedMNIST, as slices and as series of slices."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples
from vesalius.data.sources.medmnist.medmnist import MedMNIST
from vesalius.data.sources.medmnist.sets import DOWNLOAD_URL
from vesalius.data.sources.medmnist.volume_sets import VOLUME_SETS, VOLUME_SIZES
from vesalius.data.store.store import Store

REAL = Path(__file__).parents[4] / "../shared/data/medmnist"
COUNTS = {"train": 5, "val": 3, "test": 4}


def write_set(folder, name, size=28, **changes):
    """Write a file of noise in the official layout; returns its arrays."""
    generator, arrays = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, size, size, size), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % len(VOLUME_SETS[name].classes)
    np.savez_compressed(folder / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz"), **{**arrays, **changes})
    return arrays


def test_facts_agree_with_the_package_of_the_authors(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing it makes a folder there
    package = importlib.util.find_spec("medmnist")
    assert package is not None, "the `dev` extra brings the oracle"
    spec = importlib.util.spec_from_file_location("medmnist_info", Path(package.origin).with_name("info.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    official = {name: info for name, info in module.INFO.items() if "3d" in name}
    assert VOLUME_SETS.keys() == official.keys()
    for name, info in official.items():
        facts = VOLUME_SETS[name]
        assert facts.channels == info["n_channels"] == 1
        assert list(facts.classes) == [info["label"][str(k)] for k in range(len(info["label"]))]
        assert facts.task == {"binary-class": "binary", "multi-class": "multiclass"}[info["task"]]
        for size in VOLUME_SIZES:
            suffix = "" if size == 28 else f"_{size}"
            assert facts.md5[size] == info[f"MD5{suffix}"]
            assert info[f"url{suffix}"] == f"{DOWNLOAD_URL}/{name}{suffix}.npz?download=1"


@pytest.mark.parametrize("name", list(VOLUME_SETS))
def test_every_set_gives_its_volumes_and_labels(tmp_path, name):
    arrays = write_set(tmp_path, name)
    source = MedMNIST(name, str(tmp_path), verify=False)
    table = source.samples()
    assert source.series
    assert table["sample_id"].is_unique
    assert table["split"].value_counts().to_dict() == COUNTS
    for split in COUNTS:
        rows = table[table["split"] == split]
        np.testing.assert_array_equal(rows["target"], arrays[f"{split}_labels"][:, 0])
        for row, volume in zip(rows.to_dict("records"), arrays[f"{split}_images"], strict=True):
            np.testing.assert_array_equal(source.load(row)[:, 0], volume)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", VOLUME_SIZES)
def test_slices_are_cut_across_the_axis(tmp_path, axis, size):
    volume = write_set(tmp_path, "nodulemnist3d", size)["val_images"][1]
    options = {"root": str(tmp_path), "size": size, "verify": False, "axis": axis}
    series = MedMNIST("nodulemnist3d", **options)
    stack = series.load(series.samples().set_index("sample_id", drop=False).loc["val/000001"])
    single = MedMNIST("nodulemnist3d", **options, unit="slice")
    table = single.samples()
    check_samples(table, single.task, single.classes)
    assert not single.series
    assert len(table) == sum(COUNTS.values()) * size
    rows = table[table["group_id"] == "val/000001"]
    assert (rows["target"] == 1).all()
    for place, row in enumerate(rows.to_dict("records")):
        expected = volume[(slice(None),) * axis + (place,)]
        np.testing.assert_array_equal(stack[place, 0], expected)
        np.testing.assert_array_equal(single.load(row)[0], expected)


def test_each_way_of_cutting_has_a_fingerprint_of_its_own(tmp_path):
    write_set(tmp_path, "adrenalmnist3d")
    choices = [{"unit": unit, "axis": axis} for unit in ("slice", "volume") for axis in range(3)]
    prints = [MedMNIST("adrenalmnist3d", str(tmp_path), verify=False, **choice).fingerprint() for choice in choices]
    assert len(set(prints)) == 6
    default = MedMNIST("adrenalmnist3d", str(tmp_path), verify=False).fingerprint()
    assert default == prints[3]


def test_wrong_choices_are_named_at_once():
    with pytest.raises(InputError) as caught:
        MedMNIST("adrenalmnist3d", size=128)
    assert len(caught.value.problems) == 1
    with pytest.raises(InputError, match="breastmnist has single images; leave it null"):
        MedMNIST("breastmnist", unit="slice")
    with pytest.raises(InputError, match=r"take one of .*breastmnist.*adrenalmnist3d"):
        MedMNIST("adrenalmnist")


def test_a_file_of_images_where_volumes_belong_is_refused(tmp_path):
    write_set(tmp_path, "vesselmnist3d", test_images=np.zeros((4, 28, 28), np.uint8))
    with pytest.raises(InputError, match="not `vesselmnist3d` at 28 pixels"):
        MedMNIST("vesselmnist3d", str(tmp_path), verify=False).samples()


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data folder is absent")
def test_the_real_adrenalmnist3d(tmp_path):
    source = MedMNIST("adrenalmnist3d", str(REAL))
    table = source.samples()
    check_samples(table, source.task, source.classes)
    positive = table.groupby("split")["target"].agg(["size", "sum"])
    assert positive.loc[["train", "val", "test"]].to_numpy().tolist() == [[1188, 259], [98, 22], [298, 69]]
    store = Store.open(source, table[table["split"] == "val"].reset_index(drop=True), cache_dir=tmp_path)
    assert store.series
    assert store.lengths.tolist() == [28] * 98
    with np.load(REAL / "adrenalmnist3d.npz") as archive:
        np.testing.assert_array_equal(store.images.numpy().reshape(98, 28, 28, 28), archive["val_images"])
