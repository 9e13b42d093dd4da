"""Promises of a split: no patient in two splits, classes spread evenly, what the data set fixes is kept."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from split_tables import FRACTIONS, folds_of, mixed_groups, pure_groups, splits_of_groups, table_of, tables
from vesalius.config.errors import InputError
from vesalius.data.samples import SPLITS, UNUSED, check_samples
from vesalius.data.splits.assign import assign_splits
from vesalius.data.splits.subset import train_subset


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


@settings(max_examples=80, deadline=None)
@given(tables(), st.integers(0, 5), st.data())
def test_any_table_comes_apart_by_group(drawn, seed, data):
    """Whatever the task, the fixed splits, the folds and the fraction: one split a group, in any order of rows."""
    task, table = drawn
    groups = table.loc[table["split"] != "test", "group_id"].nunique()
    folds = data.draw(st.sampled_from([None, 2, 3, 5, groups]).filter(lambda k: k is None or 2 <= k <= groups), "folds")
    fold = None if folds is None else data.draw(st.integers(0, folds - 1), "fold")
    fraction = data.draw(st.sampled_from([0.01, 0.1, 0.5, 0.99, 1]), "fraction")

    def split(rows):
        assigned = assign_splits(rows, seed=seed, task=task, fold=fold, folds=folds)
        return train_subset(assigned, fraction, seed=seed, task=task)

    before = table.copy(deep=True)
    result = split(table)
    pd.testing.assert_frame_equal(table, before)  # what was handed in stays as it was
    assert (splits_of_groups(result) == 1).all()
    assert set(result["split"]) <= {*SPLITS, UNUSED}
    pd.testing.assert_frame_equal(result.drop(columns="split"), table.drop(columns="split"))
    fixed = table["split"].notna() if folds is None and table["split"].isna().any() else table["split"] == "test"
    assert (result["split"][fixed].replace(UNUSED, "train") == table["split"][fixed]).all()
    shuffled = split(table.sample(frac=1, random_state=seed))
    pd.testing.assert_frame_equal(shuffled.sort_index(), result)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 5), st.data())
def test_every_sample_is_held_out_exactly_once(drawn, seed, data):
    task, table = drawn
    test_is_fixed = (table["split"] == "test").any()
    dealt = table["split"] != "test"
    groups = table.loc[dealt, "group_id"].nunique()
    if groups < 2:
        return
    folds = data.draw(st.integers(2, groups))
    results = folds_of(task, table, folds, seed)
    held_out = np.array([result["split"] == ("val" if test_is_fixed else "test") for result in results])
    assert (held_out[:, dealt].sum(axis=0) == 1).all()
    assert held_out[:, dealt].any(axis=1).all()  # no fold is empty
    for result in results:
        assert (result.loc[~dealt, "split"] == "test").all()
        assert (result["split"] == "train").any()


@settings(max_examples=60, deadline=None)
@given(pure_groups, st.integers(2, 8), st.integers(0, 5))
def test_folds_differ_by_one_group_of_a_class_at_most(groups, folds, seed):
    """Each group of a class goes to the fold that has least of the class: so folds never differ by more than it."""
    folds = min(folds, len(groups))
    if folds < 2:
        return
    table = table_of(groups)
    held_out = pd.concat(
        [
            result[result["split"] == "test"].assign(fold=fold)
            for fold, result in enumerate(folds_of("multiclass", table, folds, seed))
        ]
    )
    for _, rows in held_out.groupby("target"):
        counts = rows.groupby("fold").size().reindex(range(folds), fill_value=0)
        assert counts.max() - counts.min() <= rows.groupby("group_id").size().max()


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_folds_are_more_alike_than_most_that_chance_makes(task):
    """Where no bound is known: the largest gap between a fold's mean target and the mean of all."""
    generator = np.random.default_rng(0)
    better = []
    for seed in range(8):
        table = table_of([[0] * generator.integers(1, 6) for _ in range(60)]).drop(columns="target")
        frailty = pd.Series(generator.normal(size=60)).loc[pd.factorize(table["group_id"])[0]].to_numpy()
        noise = generator.normal(size=(len(table), 3))
        if task == "regression":
            table["target/age"] = frailty + 0.3 * noise[:, 0]
        else:
            for name, cut, draw in zip("abc", (0, 1, 2), noise.T, strict=True):
                table[f"target/{name}"] = (frailty + draw > cut).astype(int)
        codes = pd.factorize(table["group_id"])[0]
        targets = table.filter(like="target/").to_numpy(dtype=float)

        def gap(fold, targets=targets):
            means = np.array([targets[fold == number].mean(axis=0) for number in range(5)])
            return (np.abs(means - targets.mean(axis=0)) / targets.std(axis=0)).max()

        results = folds_of(task, table, 5, seed)
        ours = gap(np.argmax([result["split"] == "test" for result in results], axis=0))
        chance = [gap(generator.permutation(np.arange(60) % 5)[codes]) for _ in range(40)]
        better.append(np.mean(ours < np.array(chance)))
    assert np.mean(better) > 0.9


def test_leaving_one_group_out_leaves_each_out_once():
    table = table_of([[g % 3] * (1 + 7 * (g == 0) + g % 4) for g in range(25)])
    groups = [set(result.loc[result["split"] == "test", "group_id"]) for result in folds_of("multiclass", table, 25, 0)]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 25


def test_validation_is_cut_from_what_a_fold_leaves():
    table = table_of([[g % 2] for g in range(1000)])
    result = assign_splits(table, fractions=(0.6, 0.2, 0.2), seed=0, task="binary", fold=1, folds=5)
    assert result["split"].value_counts().to_dict() == {"train": 600, "val": 200, "test": 200}
    none = assign_splits(table, fractions=(0.8, 0, 0.2), seed=0, task="binary", fold=1, folds=5)
    assert none["split"].value_counts().to_dict() == {"train": 800, "test": 200}
    assert (none.loc[result["split"] == "test", "split"] == "test").all()


def test_a_fixed_test_split_stays_and_the_fold_validates():
    table = table_of([[g % 2] * 2 for g in range(60)])
    table["split"] = np.repeat(["train"] * 30 + ["val"] * 10 + ["test"] * 20, 2)
    results = folds_of("binary", table, 4, 0)
    for result in results:
        assert (result["split"][80:] == "test").all()
        assert result["split"].value_counts().to_dict() == {"train": 60, "val": 20, "test": 40}


@pytest.mark.parametrize(
    ("fold", "folds", "message"),
    [
        (0, None, "data.fold=0.*data.folds"),
        (None, 5, r"data.fold=null.*0 to 4.*range\(5\)"),
        (5, 5, "data.fold=5.*0 to 4"),
        (-1, 5, "data.fold=-1.*0 to 4"),
        (0, 1, "data.folds=1.*2 or more"),
        (0, 11, "data.folds=11.*10 groups.*set it to 10"),
    ],
)
def test_impossible_folds_are_refused(fold, folds, message):
    table = table_of([[g % 2] * 2 for g in range(10)])
    with pytest.raises(InputError, match=message):
        assign_splits(table, seed=0, task="binary", fold=fold, folds=folds)


def test_continuous_targets_are_spread():
    generator = np.random.default_rng(0)
    table = table_of([[0] * 2 for _ in range(300)]).rename(columns={"target": "target/age"})
    table["target/age"] = np.repeat(generator.gamma(2.0, size=300), 2)
    result = assign_splits(table, seed=0, task="regression")
    whole = table["target/age"].quantile([0.1, 0.5, 0.9])
    for name in SPLITS:
        values = result.loc[result["split"] == name, "target/age"]
        # standard error of the quantiles of 45 random patients: 0.1, 0.2 and 0.5
        assert (np.abs(values.quantile([0.1, 0.5, 0.9]).to_numpy() - whole.to_numpy()) < (0.1, 0.2, 0.4)).all(), name
