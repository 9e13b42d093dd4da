"""What is printed of a data set before anything trains: counts by hand."""

import numpy as np
import pandas as pd
import pytest

from vesalius.data.datamodules.summary import describe_data
from vesalius.data.sources.base import Source


class Given(Source):
    """A source of which only its table is asked."""

    def __init__(self, task="binary", classes=("no", "yes"), unit=None, passed_over=None):
        self.task, self.classes, self.unit = task, classes, unit
        self.passed_over = passed_over or {}

    def samples(self):
        raise NotImplementedError

    load = fingerprint = samples


def table_of(**columns):
    """Eight samples, two of each of four patients."""
    ids = [f"s{number}" for number in range(8)]
    patients = [f"p{number // 2}" for number in range(8)]
    return pd.DataFrame(
        {"sample_id": ids, "group_id": patients, "split": ["train"] * 4 + ["val"] * 2 + ["test"] * 2, **columns}
    )


def test_classes_splits_patients_and_what_was_passed_over():
    table = table_of(target=[0, 1, 1, 1, 0, 0, 1, 1])
    lines = describe_data(table, Given(passed_over={".heic": 3, "masks and segmentations": 2}))
    assert lines[0] == "Data: binary, 8 images of 4 patients."
    assert [line.split() for line in lines[1:-1]] == [
        ["in", "all", "train", "val", "test"],
        ["samples", "(patients)", "8", "(4)", "4", "(2)", "2", "(1)", "2", "(1)"],
        ["no", "3", "(2)", "1", "(1)", "2", "(1)", "0", "(0)"],
        ["yes", "5", "(3)", "3", "(2)", "0", "(0)", "2", "(1)"],
    ]
    assert lines[-1] == "Passed over: .heic (3), masks and segmentations (2)."


def test_several_classes_each_continuous_targets_and_none():
    table = table_of(**{"target/a": [1, 1, 0, 0, 0, 0, 0, 0], "target/b": [1] * 8})
    lines = describe_data(table, Given("multilabel", ("a", "b"), unit="volume"))
    assert lines[0] == "Data: multilabel, 8 volumes of 4 patients."
    assert lines[3].split()[:3] == ["a", "2", "(1)"]
    table = table_of(**{"target/age": [1.5, 2, 3, 4, 5, 6, 7, 80]})
    lines = describe_data(table, Given("regression", ("age",), unit="time_series"))
    assert lines[0] == "Data: regression, 8 time series of 4 patients."
    assert lines[-1] == "  age: 1.5 to 80, median 4.5"
    table = table_of().assign(group_id=[f"q{number}" for number in range(8)], split=None)
    lines = describe_data(table, Given("unlabelled", ()))
    assert lines[0] == "Data: unlabelled, 8 images, each taken for a patient of its own."
    assert lines[2].split() == ["samples", "(patients)", "8", "(8)"]


@pytest.mark.parametrize("gap", [np.nan])
def test_a_sample_without_a_target_does_not_stop_it(gap):
    assert describe_data(table_of(target=[0, 1, gap, 1, 0, 0, 1, 1]), Given())[0].startswith("Data: binary, 8 images")


def test_many_classes_are_cut_short():
    names = tuple(f"class {number}" for number in range(50))
    lines = describe_data(table_of(target=[0] * 8), Given("multiclass", names))
    assert lines[-1] == "  and 30 more classes"
    assert len(lines) == 24
