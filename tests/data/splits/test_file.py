"""Promises of a split file: it reads back as it was written, and other data is refused."""

import pandas as pd
import pytest

from split_tables import table_of
from vesalius.config.errors import InputError
from vesalius.data.samples import UNUSED, check_samples, in_use
from vesalius.data.splits.assign import assign_splits
from vesalius.data.splits.file import read_split, write_split
from vesalius.data.splits.subset import train_subset


def test_a_written_part_reads_back_as_the_very_same(tmp_path):
    table = table_of([[g % 2] * 2 for g in range(60)])
    subset = train_subset(assign_splits(table, seed=0, task="binary"), 0.2, seed=0, task="binary")
    write_split(subset, tmp_path / "split.csv")
    again = read_split(tmp_path / "split.csv", table)
    pd.testing.assert_frame_equal(again, subset)
    pd.testing.assert_frame_equal(assign_splits(again, seed=1, task="binary"), subset)  # nothing is dealt out again
    assert (subset["split"] == UNUSED).sum() > 60
    check_samples(in_use(again), "binary", ("a", "b"))


def test_a_written_split_reads_back(tmp_path):
    table = assign_splits(table_of([[g % 2] * 2 for g in range(20)]), seed=0, task="binary")
    table["_path"] = "secret"
    write_split(table, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().splitlines()[0] == "sample_id,group_id,split"
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]
    shuffled = table.drop(columns="split").sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(read_split(tmp_path / "split.csv", shuffled).sort_index()[table.columns], table)


def test_identifiers_that_look_like_numbers_or_missing_values_survive(tmp_path):
    table = table_of([[0], [1], [0]]).assign(sample_id=["001", "NA", "1e5"], group_id=["007", "nan", ""], split="train")
    write_split(table, tmp_path / "split.csv")
    pd.testing.assert_frame_equal(read_split(tmp_path / "split.csv", table.drop(columns="split")), table)


def test_a_split_file_of_other_data_is_refused_with_every_difference(tmp_path):
    table = assign_splits(table_of([[g % 2] for g in range(20)]), seed=0, task="binary")
    other = table.copy()
    other.loc[0, "sample_id"] = "stranger"
    other.loc[1, "group_id"] = "another"
    other.loc[2, "split"] = "holdout"
    other = pd.concat([other, other.iloc[[3]]])
    write_split(other, tmp_path / "split.csv")
    with pytest.raises(InputError) as caught:
        read_split(tmp_path / "split.csv", table)
    text = str(caught.value)
    for words in ("stranger", "of the data: g0_s0", "another group than the data does: g1_s0", "`holdout`", "g3_s0"):
        assert words in text
    assert len(caught.value.problems) == 5


def test_split_files_that_cannot_be_read(tmp_path):
    table = table_of([[0], [1]])
    with pytest.raises(InputError, match="does not exist"):
        read_split(tmp_path / "none.csv", table)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="cannot be read"):
        read_split(tmp_path / "empty.csv", table)
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column sample_id"):
        read_split(tmp_path / "odd.csv", table)
