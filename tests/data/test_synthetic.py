"""Synthetic images as training samples next to real ones."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vesalius.config.errors import InputError
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.datamodules.synthesis import SynthesisData
from vesalius.data.samples import UNUSED
from vesalius.data.sources.base import Source
from vesalius.data.splits.file import split_hash, synthetic_rows, write_split
from vesalius.data.store.on_device import DeviceStore
from vesalius.data.synthetic import SyntheticImages

NAMES = ("healthy", "nodule", "cyst")
SIDE = 8


class Bright(Source):
    """Image i is filled with i; every patient has two samples of one class. Synthetic images are 200 and brighter."""

    classes = NAMES

    def __init__(self, task="multiclass", dtype=np.uint8, channels=1, size=120):
        self.task, self.dtype, self.channels, self.size = task, dtype, channels, size

    def samples(self):
        number = np.arange(self.size)
        table = pd.DataFrame({"sample_id": number.astype(str), "group_id": (number // 2).astype(str), "split": None})
        table["hospital"] = number // 2 % 4
        if self.task == "multilabel":
            return table.assign(**{f"target/{name}": number // 2 % (2 + k) == 0 for k, name in enumerate(NAMES)})
        return table.assign(target=number // 2 % 3)

    def load(self, row):
        return np.full((self.channels, SIDE, SIDE), int(row["sample_id"]), self.dtype)

    def fingerprint(self):
        return f"bright {self.dtype} {self.channels} {self.size}"


def real_table(**options):
    data = ClassificationData(Bright(), **options)
    return data.split_table()


@pytest.fixture
def folder(tmp_path):
    """Writes a synthetic folder of the counts given; image k is filled with 200 + its class."""

    def write(counts=(64, 32, 32), *, split=None, side=SIDE, value_max=255, classes=NAMES, changes=None):
        root = tmp_path / f"synthetic{len(list(tmp_path.glob('synthetic*')))}"
        rows, number = [], 0
        for label, count in enumerate(counts):
            (root / "images" / NAMES[label]).mkdir(parents=True)
            for _ in range(count):
                file = f"images/{NAMES[label]}/{number:06d}.png"
                kind = np.uint16 if value_max == 65535 else np.uint8
                Image.fromarray(np.full((side, side), 200 + label, kind)).save(root / file)
                rows.append((file, NAMES[label] if classes else ""))
                number += 1
        pd.DataFrame(rows, columns=["file", "label"]).to_csv(root / "manifest.csv", index=False)
        manifest = {
            "schema": 1,
            "kind": "vesalius synthetic images",
            "run": "gan/first",
            "n": number,
            "classes": list(classes),
            "split": split_hash(real_table()) if split is None else split,
            "image": {"channels": 1, "height": side, "width": side, "value_max": value_max},
        }
        (root / "manifest.json").write_text(json.dumps(manifest | (changes or {})))
        return str(root)

    return write


@pytest.fixture
def make(tmp_path):
    def build(source=None, *, kept=None, stage=None, **options):
        data = ClassificationData(source or Bright(), cache_dir=str(tmp_path / "cache"), batch_size=16, **options)
        if kept is not None:
            data.reuse_split(kept)
        data.setup(stage)
        return data

    return build


def problems_of(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return "\n".join(caught.value.problems)


def synthetic_rows_of(data):
    return torch.from_numpy(synthetic_rows(data.table).to_numpy().nonzero()[0])


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1, 1.5])
def test_so_many_training_samples_are_added_and_nothing_else_changes(make, folder, ratio):
    plain, data = make(), make(synthetic=folder(), synthetic_ratio=ratio)
    real, synthetic = len(plain.rows("train")), synthetic_rows_of(data)
    assert len(synthetic) == round(ratio * real)
    assert data.rows("train").tolist() == [*plain.rows("train").tolist(), *synthetic.tolist()]
    assert data.rows("val").tolist() == plain.rows("val").tolist()
    assert data.rows("test").tolist() == plain.rows("test").tolist()
    assert torch.equal(data.store[plain.rows("test")], plain.store[plain.rows("test")])
    counts = torch.bincount(data.targets[synthetic])
    assert (counts - torch.tensor([0.5, 0.25, 0.25]) * len(synthetic)).abs().max() < 1
    assert data.facts.train_size == real + len(synthetic)
    assert data.table["hospital"].iloc[: len(plain.table)].tolist() == plain.table["hospital"].tolist()
    assert {type(value) for value in data.table["hospital"].iloc[: len(plain.table)]} == {int}


def test_batches_hold_each_image_with_its_own_class(make, folder):
    data = make(synthetic=folder(), synthetic_ratio=1)
    batches = list(data.train_dataloader())
    assert torch.cat([batch["index"] for batch in batches]).sort().values.tolist() == data.rows("train").tolist()
    for batch in batches:
        value = batch["image"][:, 0, 0, 0].long()
        expected = torch.where(value >= 200, value - 200, value // 2 % 3)
        assert torch.equal(batch["target"], expected)
    seen = torch.cat([batch["image"][:, 0, 0, 0] for batch in batches])
    assert (seen >= 200).sum() == len(synthetic_rows_of(data))


def test_smaller_ratios_lie_inside_larger_ones_and_share_decoded_images(make, folder, tmp_path):
    root = folder()
    few = make(synthetic=root, synthetic_ratio=0.5)
    known = sorted(path.name for path in (tmp_path / "cache").iterdir())
    many = make(synthetic=root, synthetic_ratio=1.5)
    assert set(few.table["sample_id"]) < set(many.table["sample_id"])
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == known


def test_only_synthetic_ones_are_learned_from_and_validation_and_test_stay_real(make, folder):
    plain, data = make(), make(synthetic=folder(), synthetic_ratio="only")
    assert data.rows("train").tolist() == synthetic_rows_of(data).tolist()
    assert len(data.rows("train")) == 128
    assert data.rows("test").tolist() == plain.rows("test").tolist()
    assert set(data.table["split"].iloc[plain.rows("train").tolist()]) == {UNUSED}
    assert len(data.spread_rows("train", 50, real=True)) == 0


def test_audits_and_cheap_models_see_only_real_images(make, folder):
    plain, data = make(), make(synthetic=folder(), synthetic_ratio=1)
    assert len(data.real_store) == len(plain.store) < len(data.store)
    assert data.real_store.table["sample_id"].tolist() == plain.table["sample_id"].tolist()
    assert data.spread_rows("train", 10_000, real=True).tolist() == plain.rows("train").tolist()
    assert len(data.spread_rows("train", 10_000)) > len(plain.rows("train"))
    assert plain.real_store is plain.store


@pytest.mark.parametrize("memory_limit_gb", [4.0, 0.0])
def test_sixteen_bits_streamed_or_in_memory(make, folder, memory_limit_gb):
    root = folder(value_max=65535)
    data = make(Bright(dtype=np.uint16), synthetic=root, memory_limit_gb=memory_limit_gb)
    assert data.store.in_memory == (memory_limit_gb > 0)
    rows = torch.tensor([0, len(data.table) - 1, 3])
    images = data.store[rows]
    assert images.dtype == torch.uint16
    assert images[:, 0, 0, 0].tolist() == [0, 200 + int(data.targets[-1]), 3]
    assert data.store.offsets.tolist() == list(range(len(data.table) + 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_synthetic_images_held_on_a_device_are_the_same(make, folder, dtype):
    data = make(Bright(dtype=dtype), synthetic=folder(value_max=np.iinfo(dtype).max))
    held, rows = DeviceStore(data.store, torch.device("cpu")), torch.randperm(len(data.store))
    assert len(held) == len(data.store)
    assert held[rows].dtype == data.store.dtype
    assert torch.equal(held[rows], data.store[rows])


def test_colour_of_sixteen_bits_lies_in_files_of_eight(make, folder):
    image = {"channels": 3, "height": SIDE, "width": SIDE, "value_max": 65535}
    root = folder(changes={"image": image})
    data = make(Bright(dtype=np.uint16, channels=3), synthetic=root, channels=3)
    synthetic = synthetic_rows_of(data)
    assert data.store[synthetic].dtype == torch.uint16
    assert (data.store[synthetic][:, 2, 0, 0].long() == (200 + data.targets[synthetic]) * 257).all()


def test_files_that_are_not_what_the_manifest_says_are_refused(make, folder):
    image = {"channels": 1, "height": SIDE, "width": SIDE, "value_max": 255}
    assert "synthesize again" in problems_of(make, synthetic=folder(value_max=65535, changes={"image": image}))


def test_floats_are_scaled_to_one(make, folder):
    data = make(Bright(dtype=np.float32), synthetic=folder(value_max=1))
    image = data.store[synthetic_rows_of(data)]
    assert image.dtype == torch.float32
    assert torch.allclose(image[:, 0, 0, 0], (200 + data.targets[synthetic_rows_of(data)]) / 255)


def test_augmentation_balance_and_size_treat_them_as_training_samples(make, folder):
    data = make(synthetic=folder((40, 5, 5), side=16), synthetic_ratio=0.3, image_size=12, sampling="balanced")
    assert data.store.shape == (1, 12, 12)
    drawn = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert (drawn >= len(data.real_store)).any()
    shares = torch.bincount(data.targets[drawn]) / len(drawn)
    assert (shares - 1 / 3).abs().max() < 0.15


@pytest.mark.parametrize("ratio", [0.5, "only"])
def test_a_split_file_brings_the_run_back(make, folder, tmp_path, ratio):
    root = folder()
    first = make(synthetic=root, synthetic_ratio=ratio, steps_per_epoch=3)
    write_split(first.split, tmp_path / "kept.csv")
    again = make(synthetic=root, synthetic_ratio=ratio, steps_per_epoch=3, kept=tmp_path / "kept.csv", seed=0)
    pd.testing.assert_frame_equal(first.table, again.table)
    order = [[batch["index"] for batch in data.train_dataloader()] for data in (first, again)]
    assert all(torch.equal(a, b) for a, b in zip(*order, strict=True))
    other = make(synthetic=root, synthetic_ratio=ratio, kept=tmp_path / "kept.csv", seed=5)
    pd.testing.assert_frame_equal(first.table, other.table)


def test_resuming_with_other_synthetic_images_is_refused(make, folder, tmp_path):
    first = make(synthetic=folder(), synthetic_ratio=0.5)
    write_split(first.split, tmp_path / "kept.csv")
    problem = problems_of(make, synthetic=folder((32, 32, 64)), synthetic_ratio=0.5, kept=tmp_path / "kept.csv")
    assert "bring the folder back as it was" in problem


def test_the_split_of_a_mixed_run_serves_others(make, folder, tmp_path):
    first = make(synthetic=folder(), synthetic_ratio=0.5)
    write_split(first.split, tmp_path / "split.csv")
    plain = make(split_file=str(tmp_path / "split.csv"), seed=9)
    assert synthetic_rows(first.split).sum() > 0
    assert not synthetic_rows(plain.split).any()
    assert split_hash(plain.split) == split_hash(first.split) == split_hash(real_table())


def test_a_generator_and_a_classifier_agree_on_a_part_of_the_labels(make, folder, tmp_path):
    options = {"train_fraction": 0.3, "seed": 4, "cache_dir": str(tmp_path / "cache")}
    gan = SynthesisData(Bright(), **options)
    gan.setup()
    write_split(gan.split, tmp_path / "split.csv")
    root = folder(split=split_hash(gan.split))
    by_file = make(synthetic=root, split_file=str(tmp_path / "split.csv"), seed=8)
    by_seed = make(synthetic=root, train_fraction=0.3, seed=4)
    assert by_file.table["sample_id"].tolist() == by_seed.table["sample_id"].tolist()
    assert len(synthetic_rows_of(by_file)) == len(gan.rows("train"))
    assert "saw another split" in problems_of(make, synthetic=root, seed=4)
    assert "data.train_fraction" in problems_of(make, synthetic=root, train_fraction=0.4, seed=4)


def test_split_hash_tells_splits_apart_and_nothing_else():
    table = real_table()
    assert split_hash(table) == split_hash(table.sample(frac=1, random_state=0))
    assert split_hash(table) == split_hash(table.assign(target=0).drop(columns="hospital"))
    moved = table.assign(split=table["split"].mask(table["sample_id"] == "0", UNUSED))
    assert split_hash(moved) != split_hash(table)
    assert split_hash(table.iloc[1:]) != split_hash(table)
    synthetic = pd.DataFrame({"sample_id": ["synthetic/000007"], "group_id": ["synthetic/000007"], "split": ["train"]})
    assert split_hash(pd.concat([table, synthetic])) == split_hash(table)
    real = {"sample_id": "synthetic/7.png", "group_id": "synthetic/7.png"}  # a class folder may have this name
    for change in ({"split": "test"}, {"group_id": "5"}, real):
        assert split_hash(pd.concat([table, synthetic.assign(**change)])) != split_hash(table)


def test_another_split_is_refused_with_the_cure(make, folder):
    problem = problems_of(make, synthetic=folder(), seed=1)
    assert "may hold this run's test patients" in problem
    assert "data.split_file=RUN/split.csv" in problem
    assert "gan/first" in problem


def test_folders_that_are_not_finished_or_damaged_are_refused(make, folder, tmp_path):
    assert "there is no folder" in problems_of(make, synthetic=str(tmp_path / "nowhere"))
    root = folder()
    (tmp_path / "half").mkdir()
    shutil.copytree(root + "/images", tmp_path / "half" / "images")
    assert "unfinished" in problems_of(make, synthetic=str(tmp_path / "half"))
    (tmp_path / "half" / "manifest.json").write_text("{")
    assert "cannot be read" in problems_of(make, synthetic=str(tmp_path / "half"))
    findings = {"is not of kind": {"kind": "x"}, "not 3 as manifest.json": {"n": 3}, "image.channels": {"image": {}}}
    for words, changes in findings.items():
        assert words in problems_of(make, synthetic=folder(changes=changes))
    next((tmp_path / "synthetic0" / "images" / "cyst").iterdir()).unlink()
    assert "1 of its files are missing" in problems_of(make, synthetic=root)


def test_other_classes_and_images_are_refused(make, folder):
    assert "model.conditional=true" in problems_of(make, synthetic=folder(classes=()))
    other = folder(classes=("healthy", "cyst", "tumour"))
    assert "its classes are healthy, cyst, tumour" in problems_of(make, synthetic=other)
    assert "data.channels=1" in problems_of(make, Bright(channels=3), synthetic=folder())
    assert "white is 65535" in problems_of(make, synthetic=folder(value_max=65535))
    assert "set data.image_size" in problems_of(make, synthetic=folder(side=16))


def test_what_cannot_be_mixed_is_refused(make, folder):
    root = folder()
    assert "one class each" in problems_of(make, Bright("multilabel"), synthetic=root)
    assert "data.synthetic=null" in problems_of(make, synthetic=root, shuffle_labels=True)
    assert "vesalius synthesize run=... n=" in problems_of(make, synthetic=root, synthetic_ratio=50)
    assert "raise the ratio" in problems_of(make, synthetic=root, synthetic_ratio=1e-6)
    assert "no image of nodule" in problems_of(make, synthetic=folder((10, 0, 10)), synthetic_ratio="only")


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf"), True, "both"])
def test_what_is_no_ratio_is_refused(ratio):
    assert "must be a number above 0, or only" in problems_of(ClassificationData, Bright(), synthetic_ratio=ratio)


def test_judging_elsewhere_does_not_look_for_them(make, tmp_path):
    data = make(stage="test", synthetic=str(tmp_path / "nowhere"))
    assert set(data.table["split"]) == {"test"}
    assert data.real_store is data.store


def test_unreadable_ones_can_be_skipped(make, folder, tmp_path):
    root = folder()
    (tmp_path / "synthetic0" / "images" / "healthy" / "000003.png").write_bytes(b"no image")
    assert "synthetic/000003" in problems_of(make, synthetic=root)
    data = make(synthetic=root, on_bad_file="skip")
    assert [name for name, _ in data.store.skipped] == ["synthetic/000003"]
    assert len(data.table) == len(data.store) == len(data.split) - 1
    synthetic = synthetic_rows_of(data)
    assert torch.equal(data.store[synthetic][:, 0, 0, 0].long() - 200, data.targets[synthetic])


def test_as_a_source_its_fingerprint_follows_the_files(folder, tmp_path):
    root = folder((3, 3, 3))
    before = SyntheticImages(root, NAMES).fingerprint()
    assert SyntheticImages(root, NAMES).fingerprint() == before
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / "synthetic0/images/cyst/000007.png")
    assert SyntheticImages(root, NAMES).fingerprint() != before
