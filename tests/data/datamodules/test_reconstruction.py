"""The datamodule of the autoencoder family: images without targets, and learning from only some classes."""

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.augment import Augment, Noise
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.datamodules.reconstruction import ReconstructionData
from vesalius.data.samples import UNUSED
from vesalius.data.sources.base import Source
from vesalius.data.splits.file import write_split

NAMES = ("healthy", "nodule", "cyst")


class Counted(Source):
    """Image i is filled with i mod 250; two samples a patient, whose classes may differ."""

    classes = NAMES

    def __init__(self, task="multiclass", size=240, target=None):
        self.task, self.size, self.target = task, size, target
        if task == "unlabelled":
            self.classes = ()

    def samples(self):
        number = np.arange(self.size)
        table = pd.DataFrame({"sample_id": number.astype(str), "group_id": (number // 2).astype(str), "split": None})
        if self.task == "multiclass":
            return table.assign(target=number // 2 % 3 if self.target is None else self.target)
        if self.task == "unlabelled":
            return table
        return table.assign(**{f"target/{name}": number // 2 % (2 + k) == 0 for k, name in enumerate(NAMES)})

    def load(self, row):
        return np.full((1, 4, 4), int(row["sample_id"]) % 250, np.uint8)

    def fingerprint(self):
        return f"counted{self.size}"


@pytest.fixture
def make(tmp_path):
    def build(source=None, *, kept=None, stage=None, **options):
        data = ReconstructionData(source or Counted(), cache_dir=str(tmp_path), batch_size=7, **options)
        if kept is not None:
            data.reuse_split(kept)
        data.setup(stage)
        return data

    return build


def problems_of(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return "\n".join(caught.value.problems)


def seen(loader):
    return torch.cat([batch["index"] for batch in loader]).sort().values.tolist()


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression", "unlabelled"])
def test_a_batch_holds_images_alone_whatever_the_task(make, task):
    data = make(Counted(task))
    for split, loader in {"train": data.train_dataloader(), "val": data.val_dataloader()}.items():
        batches = list(loader)
        assert all(set(batch) == {"image", "index", "draw"} for batch in batches)
        assert seen(batches) == data.rows(split).tolist()
        for batch in batches:
            assert torch.equal(batch["image"][:, 0, 0, 0].long(), batch["index"] % 250)
    assert data.normal is None
    assert len(data.targets) == len(data.table)
    assert Facts.from_dict(data.facts.to_dict()) == data.facts


def test_labels_are_kept_aside_and_splits_are_those_of_a_classifier(make, tmp_path):
    data, classifier = make(), ClassificationData(Counted(), cache_dir=str(tmp_path))
    classifier.setup()
    assert torch.equal(data.targets, classifier.targets)
    assert data.table["split"].equals(classifier.table["split"])


def test_facts_of_unlabelled_data_have_no_classes(make):
    data = make(Counted("unlabelled"))
    assert (data.facts.task, data.facts.classes, data.facts.class_counts) == ("unlabelled", (), ())
    assert not data.facts.single_label
    assert data.targets.shape == (240, 0)
    assert data.table.groupby("group_id")["split"].nunique().eq(1).all()
    shares = data.table["split"].value_counts(normalize=True)
    assert shares[["train", "val", "test"]].tolist() == pytest.approx([0.7, 0.15, 0.15], abs=0.02)


def test_a_part_of_unlabelled_training_patients_lies_inside_a_larger_one(make):
    parts = [set(make(Counted("unlabelled"), train_fraction=part).rows("train").tolist()) for part in (0.1, 0.5, 1.0)]
    assert parts[0] < parts[1] < parts[2]
    assert [len(part) for part in parts] == [18, 84, 168]


def test_targets_that_do_not_vary_or_miss_a_split_do_not_matter(make):
    assert make(Counted(target=0)).facts.class_counts == (168, 0, 0)
    rare = np.zeros(240, int)
    rare[:2] = 1
    assert make(Counted(target=rare)).normal is None


def test_an_empty_split_is_refused(make):
    assert "the split `val` is empty" in problems_of(make, fractions=[0.8, 0.0, 0.2])


def test_image_series_are_refused():
    source = Counted()
    source.series = True
    assert "data.source.unit=slice" in problems_of(ReconstructionData, source)


# learning from some classes


def test_only_named_classes_are_learned_from_and_monitored(make):
    data = make(train_classes=["healthy"])
    everything = make()
    target = data.targets
    assert data.normal.tolist() == (target == 0).tolist()
    assert (target[data.rows("train")] == 0).all()
    assert seen(data.train_dataloader()) == data.rows("train").tolist()
    assert seen(data.val_dataloader()) == [row for row in data.rows("val").tolist() if target[row] == 0]
    for split in ("val", "test"):
        assert seen(data.loader(split)) == data.rows(split).tolist() == everything.rows(split).tolist()
        assert set(target[data.rows(split)].tolist()) == {0, 1, 2}
    left_out = data.table["split"] == UNUSED
    assert (everything.table["split"][left_out] == "train").all()
    assert set(data.table["target"][left_out]) == {1, 2}
    assert data.facts.class_counts == (len(data.rows("train")), 0, 0)
    learned = (data.rows("train") % 250).double()
    assert data.facts.mean[0] == pytest.approx(float(learned.mean()) / 255, rel=1e-5)


def test_a_patient_of_several_classes_stays_in_one_split(make):
    target = np.tile([0, 1], 120)
    data = make(Counted(target=target), train_classes=["healthy"])
    split = data.table["split"].replace(UNUSED, "train")
    assert split.groupby(data.table["group_id"]).nunique().eq(1).all()
    assert (data.table["split"] == UNUSED).sum() == len(data.rows("train"))


def test_the_part_to_learn_from_is_one_of_the_normal_patients(make):
    whole = make(train_classes=["healthy", "cyst"])
    part = make(train_classes=["healthy", "cyst"], train_fraction=0.25)
    assert set(part.rows("train").tolist()) < set(whole.rows("train").tolist())
    assert len(part.rows("train")) == len(whole.rows("train")) // 4


@pytest.mark.parametrize("option", ["split_file", "kept"])
def test_the_split_that_was_written_comes_again(make, tmp_path, option):
    first = make(train_classes=["healthy"], train_fraction=0.5, seed=1)
    path = tmp_path / "split.csv"
    write_split(first.split, path)
    again = make(train_classes=["healthy"], train_fraction=0.5, seed=2, **{option: path})
    assert again.table["split"].equals(first.table["split"])
    assert again.normal.equal(first.normal)


def test_a_split_file_of_another_run_is_cut_down_to_the_classes(make, tmp_path):
    first = make(train_fraction=0.5, seed=1)
    write_split(first.split, tmp_path / "split.csv")
    data = make(train_classes="nodule", seed=2, split_file=str(tmp_path / "split.csv"))
    expected = [row for row in first.rows("train").tolist() if first.targets[row] == 1]
    assert data.rows("train").tolist() == expected


def test_other_data_are_judged_whole(make):
    data = make(train_classes=["healthy"], stage="test")
    assert seen(data.loader("test")) == list(range(240))
    assert data.normal.sum() == 80


@pytest.mark.parametrize(
    ("task", "names", "words"),
    [
        ("multiclass", ["helthy"], "Did you mean 'healthy'?"),
        ("multiclass", [], "names no class"),
        ("multilabel", ["nodule"], "the data are multilabel"),
        ("regression", ["nodule"], "set data.train_classes=null"),
        ("unlabelled", ["healthy"], "the data are unlabelled"),
    ],
)
def test_classes_that_cannot_be_picked_are_refused(task, names, words):
    assert words in problems_of(ReconstructionData, Counted(task), train_classes=names)


def test_splits_without_a_class_to_learn_from_are_refused(make):
    source, target = Counted(), np.ones(240, int)
    table = source.samples().assign(split=np.repeat(["train", "val", "test"], 80), target=target)
    source.samples = lambda: table.copy()
    problems = problems_of(make, source, train_classes=["healthy"])
    assert "the split `train` has no sample of `healthy`" in problems
    assert "the split `val` has no sample" in problems
    table.loc[[0, 80], "target"] = 0
    assert make(source, train_classes=["healthy"]).rows("train").tolist() == [0]


class Training:
    """What a datamodule asks of a trainer."""

    training, global_rank, world_size = True, 0, 1

    def __init__(self, epoch):
        self.current_epoch = epoch


def test_a_second_view_is_a_function_of_seed_epoch_and_draw(make):
    noise = Augment({"noise": Noise(std=0.1)})
    data = make(augment=noise, second_view=True)
    data.trainer = Training(1)
    (whole,) = data._loader([torch.arange(6)], data.dataset)
    both = data.on_after_batch_transfer(whole, 0)
    assert both["view"].shape == both["image"].shape
    assert not torch.equal(both["view"], both["image"])
    (part,) = data._loader([torch.tensor([4, 2])], data.dataset)
    assert torch.equal(data.on_after_batch_transfer(part, 0)["view"], both["view"][[4, 2]])
    data.trainer = Training(2)
    assert not torch.equal(data.on_after_batch_transfer(whole, 0)["view"], both["view"])
    data.trainer.training = False  # in validation: the image as it is, and always the same view
    validated = data.on_after_batch_transfer(whole, 0)
    assert torch.equal(validated["image"], whole["image"])
    data.trainer.current_epoch = 5
    assert torch.equal(data.on_after_batch_transfer(whole, 0)["view"], validated["view"])


def test_two_equal_views_are_refused(make):
    with pytest.raises(InputError, match="data/augment=standard"):
        make(second_view=True)
