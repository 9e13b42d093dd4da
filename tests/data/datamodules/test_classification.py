"""The datamodule of the CNN family."""

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.data.augment import Augment, Flip, Noise
from vesalius.data.datamodules import base
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.datamodules.targets import shuffle_labels
from vesalius.data.sources.base import Source
from vesalius.data.store.on_device import DeviceStore


class Counted(Source):
    """Images whose every pixel is the number of their row; two a patient."""

    task, classes = "binary", ("no", "yes")

    def __init__(self, size: int = 60, labels: int = 1) -> None:
        self.size = size
        if labels > 1:
            self.task, self.classes = "multilabel", tuple("abc"[:labels])

    def samples(self):
        number = np.arange(self.size)
        table = pd.DataFrame({"sample_id": number.astype(str), "group_id": (number // 2).astype(str), "split": None})
        if self.task == "multilabel":
            for position, name in enumerate(self.classes):
                table[f"target/{name}"] = (number // 2) % (position + 2) == 0
            return table
        return table.assign(target=(number // 2) % 2, _row=number)

    def load(self, row):
        return np.full((1, 4, 4), int(row["sample_id"]), np.uint8)

    def fingerprint(self):
        return f"counted{self.size}{self.task}"


@pytest.fixture
def make(tmp_path):
    def build(source=None, **options):
        data = ClassificationData(source or Counted(), cache_dir=str(tmp_path), batch_size=7, **options)
        data.setup()
        return data

    return build


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_sample_of_a_split_comes_once_with_its_own_image_and_target(make, split):
    data = make()
    loader = data.loader(split) if split != "train" else data.train_dataloader()
    batches = list(loader)
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(index.tolist()) == data.rows(split).tolist()
    for batch in batches:
        assert batch["image"][:, 0, 0, 0].tolist() == batch["index"].tolist()
        assert batch["target"].tolist() == (batch["index"] // 2 % 2).tolist()


@pytest.mark.parametrize(("limit", "held"), [(1.0, True), (0.0, False)])
def test_small_sets_are_held_on_a_gpu_and_others_come_through_locked_memory(make, limit, held, monkeypatch):
    data, plain = make(device_limit_gb=limit), make()
    monkeypatch.setattr(base, "DeviceStore", lambda store, device: DeviceStore(store, torch.device("cpu")))
    data.serve(torch.device("cuda"))
    assert data.train_dataloader().pin_memory
    data._pins_memory = False  # which needs a GPU
    for loader in ("train_dataloader", "val_dataloader"):
        for one, other in zip(getattr(data, loader)(), getattr(plain, loader)(), strict=True):
            assert (one["image"].ndim == 1) == held
            moved = data.transfer_batch_to_device(one, torch.device("cpu"), 0)
            assert moved.keys() == other.keys()
            assert all(torch.equal(moved[name], other[name]) for name in other)
    assert all(batch["image"].ndim == 4 for batch in data.loader("test"))


def test_a_cpu_reads_the_store_itself(make):
    data = make()
    data.serve(torch.device("cpu"))
    assert data.fit_dataset.store is data.store
    assert not data.train_dataloader().pin_memory


def test_patients_stay_together(make):
    table = make().table
    assert table.groupby("group_id")["split"].nunique().eq(1).all()


def test_facts_are_those_of_the_training_split(make):
    data = make()
    train = data.rows("train").double()
    facts = data.facts
    assert (facts.task, facts.classes, facts.channels, facts.image_size) == ("binary", ("no", "yes"), 1, (4, 4))
    assert facts.train_size == len(train) == sum(facts.class_counts)
    assert facts.mean[0] == pytest.approx(float(train.mean()) / 255, rel=1e-5)
    assert facts.std[0] == pytest.approx(float(train.std()) / 255, rel=2e-2)


def test_multilabel_targets_are_float_columns(make):
    data = make(Counted(labels=3))
    batch = next(iter(data.loader("test")))
    assert batch["target"].shape[1] == 3
    assert batch["target"].dtype == torch.float32
    assert data.facts.class_counts == tuple(data.targets[data.rows("train")].sum(0).int().tolist())


def test_a_split_file_brings_the_split_back(make, tmp_path):
    from vesalius.data.splits.file import write_split

    first = make(seed=1)
    write_split(first.table, tmp_path / "split.csv")
    again = make(seed=2, split_file=str(tmp_path / "split.csv"))
    pd.testing.assert_series_equal(first.table["split"], again.table["split"])


def test_balanced_sampling_draws_classes_equally(make):
    data = make(sampling="balanced", steps_per_epoch=300)
    drawn = torch.cat([batch["target"] for batch in data.train_dataloader()])
    assert len(drawn) == 2100
    assert abs(float(drawn.float().mean()) - 0.5) < 4 * 0.5 / 2100**0.5


def test_unlabelled_splits_of_foreign_data_become_test(tmp_path):
    data = ClassificationData(Counted(), cache_dir=str(tmp_path))
    data.setup("test")
    assert (data.table["split"] == "test").all()


def test_only_training_batches_are_augmented(make):
    data = make(augment=Augment({"flip": Flip(horizontal=1.0)}))
    batch = {"image": torch.arange(16.0).reshape(1, 1, 4, 4), "draw": torch.tensor([0])}

    class Trainer:
        training, current_epoch = True, 0

    data.trainer = Trainer()
    assert torch.equal(data.on_after_batch_transfer(batch, 0)["image"], batch["image"].flip(-1))
    data.trainer.training = False
    assert data.on_after_batch_transfer(batch, 0) is batch
    data.trainer = None


@pytest.mark.parametrize("drawn", [{"sampling": "balanced"}, {"steps_per_epoch": 40}])
def test_a_sample_drawn_again_in_an_epoch_is_augmented_in_another_way(make, drawn):
    class Trainer:
        training, current_epoch, global_rank, world_size = True, 1, 0, 1

    data = make(augment=Augment({"noise": Noise(std=0.1)}), **drawn)
    data.trainer = Trainer()
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    data.trainer = None
    rows = torch.cat([batch["index"] for batch in batches])
    images = torch.cat([batch["image"] for batch in batches])
    assert len(rows.unique()) < len(rows)
    assert len(images.unique(dim=0)) == len(images)
    # The first draw of each is that of an epoch in which it comes once.
    first = [rows.tolist().index(row) for row in rows.unique().tolist()]
    once = data.augment(data.store[rows[first]], rows[first], seed=data.seed, epoch=1)
    assert torch.equal(images[first], once)


def test_shuffled_labels_are_dealt_among_patients_and_keep_their_number():
    table = Counted(200).samples()
    shuffled = shuffle_labels(table, seed=0)
    assert shuffled.groupby("group_id")["target"].nunique().eq(1).all()
    assert shuffled["target"].sum() == table["target"].sum()
    assert 0.3 < (shuffled["target"] == table["target"]).mean() < 0.7
    pd.testing.assert_frame_equal(shuffled, shuffle_labels(table, seed=0))
    assert not shuffled["target"].equals(shuffle_labels(table, seed=1)["target"])


def test_what_is_wrong_with_the_table_is_said_before_anything_is_decoded(make, tmp_path):
    source = Counted(60)
    source.load = None
    source.classes = ("no", "yes", "never")
    with pytest.raises(InputError, match="never"):
        make(source)


def test_folds_and_fractions_share_one_store_and_every_patient_is_tested_once(make):
    whole, tested = make(), []
    for fold in range(4):
        data = make(fold=fold, folds=4, train_fraction=0.5)
        assert data.store.path == whole.store.path
        tested += data.table["sample_id"][data.rows("test").numpy()].tolist()
        used = torch.cat([data.rows(split) for split in ("train", "val", "test")])
        assert set(data.table["split"].drop(used.tolist())) == {"unused"}
        assert data.facts.train_size == len(data.rows("train"))
    assert sorted(tested) == sorted(whole.table["sample_id"])


class Unlabelled(Counted):
    task, classes = "unlabelled", ()

    def samples(self):
        return super().samples()[["sample_id", "group_id", "split"]]


def test_unlabelled_data_can_be_tested_on_but_not_learned_from(make, tmp_path):
    with pytest.raises(InputError, match="choose model=autoencoder"):
        make(Unlabelled())
    data = ClassificationData(Unlabelled(), cache_dir=str(tmp_path))
    data.setup("test")
    batches = list(data.loader("test"))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(60))
    assert all(batch["target"].shape == (len(batch["index"]), 0) for batch in batches)


def test_without_labels_none_are_shuffled_or_balanced():
    with pytest.raises(InputError) as caught:
        ClassificationData(Unlabelled(), shuffle_labels=True, sampling="balanced")
    assert [text.split(":")[0] for text in caught.value.problems] == [
        "data.sampling=balanced",
        "data.shuffle_labels=true",
    ]
