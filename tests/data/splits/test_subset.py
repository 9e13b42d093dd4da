"""Promises of a part of the training set: parts are nested, and keep the shares of classes."""

import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from split_tables import FRACTIONS, folds_of, mixed_groups, pure_groups, splits_of_groups, table_of, tables
from vesalius.config.errors import InputError
from vesalius.data.samples import SPLITS, UNUSED, in_use
from vesalius.data.splits.assign import assign_splits
from vesalius.data.splits.subset import train_subset


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 5))
def test_smaller_parts_of_training_lie_inside_larger_ones(drawn, seed):
    task, table = drawn
    table = assign_splits(table, seed=seed, task=task)
    before = in_use(table)
    groups = before.loc[before["split"] == "train", "group_id"].nunique()
    kept = set()
    for fraction in (0.02, 0.05, 0.1, 0.33, 0.5, 0.9, 1):
        subset = train_subset(table, fraction, seed=seed, task=task)
        assert (subset["split"].replace(UNUSED, "train") == table["split"]).all()
        train = set(subset.loc[subset["split"] == "train", "group_id"])
        assert kept <= train
        assert len(train) >= min(1, groups)
        assert len(train) >= fraction * groups - 1e-9
        assert not train & set(subset.loc[subset["split"] != "train", "group_id"])
        kept = train
    assert kept == set(table.loc[table["split"] == "train", "group_id"])


@settings(max_examples=60, deadline=None)
@given(pure_groups, st.floats(0.01, 1), st.integers(0, 5))
def test_a_part_holds_its_share_of_every_class(groups, fraction, seed):
    """The bound of Adams' method: with n of G groups, a class of g has between (n - K + 1) g / G and n g / G + 1."""
    table = table_of(groups).assign(split="train")
    subset = in_use(train_subset(table, fraction, seed=seed, task="multiclass"))
    taken, total = subset["group_id"].nunique(), len(groups)
    classes = table["target"].nunique()
    assert taken == max(np.ceil(fraction * total - 1e-9), min(taken, classes))
    for target, rows in table.groupby("target"):
        of_class = rows["group_id"].nunique()
        got = subset.loc[subset["target"] == target, "group_id"].nunique()
        assert got >= 1
        assert (taken - classes + 1) * of_class / total - 1e-9 <= got < taken * of_class / total + 1


def test_a_part_of_many_labels_keeps_their_rates():
    """As a random part does on the average, but for labels that are too rare for chance too."""
    generator = np.random.default_rng(0)
    rates = {"a": 0.5, "b": 0.1, "c": 0.01}
    table = table_of([[0] * 2 for _ in range(1000)]).drop(columns="target").assign(split="train")
    for name, rate in rates.items():
        table[f"target/{name}"] = np.repeat(generator.random(1000) < rate, 2).astype(int)
    for fraction in (0.05, 0.1, 0.5):
        subset = in_use(train_subset(table, fraction, seed=0, task="multilabel"))
        assert len(subset) == 2000 * fraction
        for name in rates:
            whole = table[f"target/{name}"].sum() // 2
            assert abs(subset[f"target/{name}"].sum() // 2 - fraction * whole) <= 4, (fraction, name)


def test_a_hundred_thousand_patients_are_lined_up_in_seconds():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"sample_id": np.arange(100_000), "group_id": np.arange(100_000), "split": "train"})
    for number in range(14):
        table[f"target/{number}"] = (generator.random(100_000) < 0.5 ** (1 + number / 2)).astype(int)
    start = time.perf_counter()
    subset = train_subset(table, 0.1, seed=0, task="multilabel")
    assert time.perf_counter() - start < 15
    assert (subset["split"] == "train").sum() == 10_000


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_part_must_be_one(fraction):
    with pytest.raises(InputError, match=r"data.train_fraction.*above 0 and at most 1"):
        train_subset(table_of([[0], [1]]).assign(split="train"), fraction, seed=0, task="binary")


def test_what_a_file_leaves_unused_stays_so_in_a_cross_validation():
    table = train_subset(
        assign_splits(table_of([[g % 2] * 2 for g in range(60)]), seed=0, task="binary"), 0.5, seed=0, task="binary"
    )
    table["split"] = table["split"].replace("test", "val")
    unused = (table["split"] == UNUSED).to_numpy()
    assert unused.sum() > 30
    for result in folds_of("binary", table, 3, 0):
        assert ((result["split"] == UNUSED).to_numpy() == unused).all()


@settings(max_examples=40, deadline=None)
@given(mixed_groups, st.integers(0, 5))
def test_unlabelled_patients_are_split_like_others_and_parts_are_nested(groups, seed):
    table = assign_splits(table_of(groups).drop(columns="target"), fractions=FRACTIONS, seed=seed, task="unlabelled")
    assert (splits_of_groups(table) == 1).all()
    assert set(table["split"]) <= set(SPLITS)
    train = table["group_id"][table["split"] == "train"].nunique()
    parts = [train_subset(table, part, seed=seed, task="unlabelled") for part in (0.2, 0.6)]
    small, large = (set(part["group_id"][part["split"] == "train"]) for part in parts)
    assert small <= large
    assert (len(small), len(large)) == (math.ceil(0.2 * train - 1e-9), math.ceil(0.6 * train - 1e-9))
