import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.samples import SPLITS, check_samples
from vesalius.data.splits import assign_splits, read_split, write_split

FRACTIONS = (0.7, 0.15, 0.15)


def table_of(groups):
    """Build a table from (targets of a group's samples) for each group."""
    rows = [(f"g{g}_s{s}", f"g{g}", target) for g, targets in enumerate(groups) for s, target in enumerate(targets)]
    return pd.DataFrame(rows, columns=["sample_id", "group_id", "target"])


pure_groups = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 6)).map(lambda pair: [pair[0]] * pair[1]), min_size=1, max_size=60
)
mixed_groups = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=60)


def splits_of_groups(table):
    return table.groupby("group_id")["split"].nunique()


@settings(max_examples=60, deadline=None)
@given(st.one_of(pure_groups, mixed_groups), st.integers(0, 5))
def test_no_group_ever_straddles_and_every_sample_has_a_split(groups, seed):
    table = assign_splits(table_of(groups), fractions=FRACTIONS, seed=seed, task="multiclass")
    assert (splits_of_groups(table) == 1).all()
    assert set(table["split"]) <= set(SPLITS)


@settings(max_examples=60, deadline=None)
@given(pure_groups, st.integers(0, 5))
def test_every_split_gets_every_class_that_has_three_groups(groups, seed):
    table = assign_splits(table_of(groups), fractions=FRACTIONS, seed=seed, task="multiclass")
    for target, rows in table.groupby("target"):
        expected = min(3, rows["group_id"].nunique())
        assert rows["split"].nunique() == expected, f"class {target}"


@settings(max_examples=60, deadline=None)
@given(pure_groups, st.integers(0, 5))
def test_classes_keep_their_proportions_within_what_groups_allow(groups, seed):
    """A split is served while it wants something, so it overshoots or lacks at most two groups; one may be moved."""
    table = assign_splits(table_of(groups), fractions=FRACTIONS, seed=seed, task="multiclass")
    for _, rows in table.groupby("target"):
        largest = rows.groupby("group_id").size().max()
        for name, part in zip(SPLITS, FRACTIONS, strict=True):
            assert abs((rows["split"] == name).sum() - part * len(rows)) <= 4 * largest


def test_single_image_groups_come_out_as_asked():
    table = table_of([[g % 2] for g in range(2000)])
    table = assign_splits(table, fractions=FRACTIONS, seed=0, task="binary")
    assert table.groupby("target")["split"].value_counts().to_dict() == {
        (target, name): 1000 * part for target in (0, 1) for name, part in zip(SPLITS, (0.7, 0.15, 0.15), strict=True)
    }


def test_the_order_of_rows_does_not_matter_but_the_seed_does():
    table = table_of([[g % 3] * (g % 4 + 1) for g in range(50)])
    first = assign_splits(table, seed=1, task="multiclass")
    shuffled = assign_splits(table.sample(frac=1, random_state=3), seed=1, task="multiclass")
    pd.testing.assert_frame_equal(shuffled.sort_index(), first)
    other = assign_splits(table, seed=2, task="multiclass")
    assert (other["split"] != first["split"]).any()


def test_large_patients_do_not_all_land_in_train():
    """Serving groups by size would bias train towards patients with many images."""
    sizes = [1 + g % 10 for g in range(300)]
    table = table_of([[g % 2] * size for g, size in enumerate(sizes)])
    table = assign_splits(table, seed=0, task="binary")
    sizes_of = table.groupby(["split", "group_id"]).size().groupby("split").mean()
    assert sizes_of.max() / sizes_of.min() < 1.35


def test_fixed_splits_are_kept():
    table = table_of([[g % 2] * 2 for g in range(40)])
    table["split"] = [("train", "val", "test")[i // 2 % 3] for i in range(len(table))]
    pd.testing.assert_frame_equal(assign_splits(table, seed=0, task="binary"), table)


def test_a_missing_validation_split_is_cut_from_train_by_group():
    table = table_of([[g % 2] * 3 for g in range(60)])
    table["split"] = np.where(np.arange(len(table)) < 120, "train", "test")
    result = assign_splits(table, fractions=FRACTIONS, seed=0, task="binary")
    assert (result["split"][120:] == "test").all()
    counts = result["split"][:120].value_counts()
    assert counts["train"] + counts["val"] == 120
    assert abs(counts["val"] - 120 * 0.15 / 0.85) <= 3
    assert (splits_of_groups(result) == 1).all()


def test_loose_samples_follow_their_group():
    table = table_of([[g % 2] * 3 for g in range(30)])
    table["split"] = None
    table.loc[0, "split"] = "test"
    result = assign_splits(table, seed=0, task="binary")
    assert (result["split"][:3] == "test").all()
    assert set(result["split"][3:]) == {"train", "val"}  # the table's own test set stays as it is


@pytest.mark.parametrize("val_missing", [False, True])
def test_a_contradiction_in_the_table_is_left_to_be_found(val_missing):
    table = table_of([[g % 2] * 2 for g in range(30)])
    table["split"] = [("train", "test" if val_missing else "val", "test")[i // 2 % 3] for i in range(len(table))]
    table.loc[0, "split"] = "test"
    result = assign_splits(table, seed=0, task="binary")
    with pytest.raises(InputError, match=r"1 group\(s\) with 2 samples are in two splits: g0 \(test and train\)"):
        check_samples(result, "binary", ("a", "b"))


def test_a_part_of_zero_stays_empty():
    table = assign_splits(table_of([[g % 2] for g in range(50)]), fractions=(0.8, 0.2, 0), seed=0, task="binary")
    assert set(table["split"]) == {"train", "val"}


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)])
def test_fractions_must_be_parts_of_a_whole(fractions):
    with pytest.raises(InputError, match="sum to 1"):
        assign_splits(table_of([[0], [1]]), fractions=fractions, seed=0, task="binary")


def test_multilabel_positives_are_spread():
    generator = np.random.default_rng(0)
    rates = (0.5, 0.1, 0.02)
    table = table_of([[0] * 3 for _ in range(400)]).drop(columns="target")
    for name, rate in zip("abc", rates, strict=True):
        table[f"target/{name}"] = (generator.random(len(table)) < rate).astype(int)
    table = assign_splits(table, seed=0, task="multilabel")
    assert (splits_of_groups(table) == 1).all()
    for name in "abc":
        positives = table[table[f"target/{name}"] == 1]["split"].value_counts(normalize=True)
        for split, part in zip(SPLITS, FRACTIONS, strict=True):
            assert abs(positives[split] - part) < 0.05
    sizes = table["split"].value_counts(normalize=True)
    assert abs(sizes["train"] - 0.7) < 0.03


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
    for words in ("stranger", "not at all: g0_s0", "another group than the data says: g1_s0", "`holdout`", "g3_s0"):
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
