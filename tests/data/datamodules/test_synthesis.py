"""The datamodule of the GAN family: images, and a class where each has one."""

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.data.datamodules.synthesis import SynthesisData
from vesalius.data.sources.base import Source
from vesalius.data.splits.file import write_split


class Counted(Source):
    """Image i is filled with i; two samples a patient, and the class follows the patient."""

    classes = ("healthy", "nodule", "cyst")

    def __init__(self, task="multiclass", series=False, target=None):
        self.task, self.series, self.target = task, series, target
        if task == "unlabelled":
            self.classes = ()

    def samples(self):
        number = np.arange(120)
        table = pd.DataFrame({"sample_id": number.astype(str), "group_id": (number // 2).astype(str), "split": None})
        if self.task in ("multiclass", "ordinal"):
            return table.assign(target=number // 2 % 3 if self.target is None else self.target)
        targets = {f"target/{name}": (number // 2 % (2 + k) == 0) * 1.0 for k, name in enumerate(self.classes)}
        return table.assign(**targets)

    def load(self, row):
        return np.full((1, 4, 4), int(row["sample_id"]), np.uint8)

    def fingerprint(self):
        return "counted"


@pytest.fixture
def make(tmp_path):
    def build(source=None, **options):
        data = SynthesisData(source or Counted(), cache_dir=str(tmp_path), batch_size=7, **options)
        data.setup()
        return data

    return build


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel", "regression", "unlabelled"])
def test_a_batch_has_the_class_where_each_sample_has_one(make, task):
    data = make(Counted(task))
    batches = list(data.train_dataloader())
    assert torch.cat([batch["index"] for batch in batches]).sort().values.tolist() == data.rows("train").tolist()
    for batch in batches:
        number = batch["image"][:, 0, 0, 0].long()
        assert torch.equal(number, batch["index"])
        if task in ("multiclass", "ordinal"):
            assert torch.equal(batch["target"], number // 2 % 3)
            assert batch["target"].dtype == torch.int64
        else:
            assert set(batch) == {"image", "index", "draw"}


def test_series_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"data\.source\.unit=slice"):
        SynthesisData(Counted(series=True))


def test_a_class_without_training_sample_is_refused(make, tmp_path):
    table = Counted().samples()
    table["split"] = np.resize(["train", "val", "test"], 60).repeat(2)  # patients and classes repeat in step
    write_split(table, tmp_path / "split.csv")
    with pytest.raises(InputError, match=r"no sample of nodule, cyst, which the generator is to draw: change"):
        make(split_file=str(tmp_path / "split.csv"))


def test_other_splits_may_lack_a_class(make, tmp_path):
    table = Counted().samples()
    first = table["group_id"].astype(int) // 3  # three patients, one of each class
    held_out = np.where(first % 4 == 0, "val", "test")
    table["split"] = np.where((table["target"] == 0) & (first % 2 == 0), held_out, "train")
    write_split(table, tmp_path / "split.csv")
    data = make(split_file=str(tmp_path / "split.csv"))
    assert data.targets[data.rows("test")].unique().tolist() == [0]
    assert data.facts.class_counts == tuple(torch.bincount(data.targets[data.rows("train")]).tolist())
