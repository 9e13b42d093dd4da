import numpy as np
import pandas as pd
import pytest

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples, class_matrix, target_columns

CLASSES = ("benign", "malignant")


def table_of(groups=12, each=2):
    """A table that nothing is wrong with: every class in every split."""
    number = np.arange(groups * each)
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in number],
            "group_id": [f"g{i // each}" for i in number],
            "split": [("train", "train", "val", "test")[i // each // 2 % 4] for i in number],
            "target": number // each % 2,
        }
    )


def problems_of(table, task="binary", classes=CLASSES, **options):
    with pytest.raises(InputError) as caught:
        check_samples(table, task, classes, **options)
    return caught.value.problems


def test_a_sound_table_passes():
    check_samples(table_of(), "binary", CLASSES)


def test_every_problem_is_reported_at_once():
    table = table_of()
    table["target"] = table["target"].astype(float)
    table.loc[0, "target"] = np.nan
    table.loc[1, "target"] = 7
    table.loc[3, "sample_id"] = "s2"
    table.loc[5, "split"] = "test"
    table.loc[8, "group_id"] = None
    text = "\n".join(problems_of(table))
    for words in ("no `target`: s0", "(7.0): s1", "more than once: s2", "g2 (test and train)", "no `group_id`"):
        assert words in text


def test_straddling_groups_are_counted_and_the_first_five_named():
    table = table_of(groups=16)
    table["split"] = np.where(np.arange(len(table)) % 2, "train", "val")
    (problem, *_) = problems_of(table, splits=("train", "val"))
    assert problem.startswith("16 group(s) with 32 samples")
    assert problem.count("(train and val)") == 5
    assert "and 11 more" in problem


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_class_absent_from_a_split_is_named(split):
    table = table_of()
    table = table[~((table["split"] == split) & (table["target"] == 1))]
    (problem,) = problems_of(table)
    assert f"`{split}`" in problem
    assert "`malignant`" in problem


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_is_named(split):
    table = table_of()
    (problem,) = problems_of(table[table["split"] != split])
    assert f"`{split}` is empty" in problem
    check_samples(
        table[table["split"] != split], "binary", CLASSES, splits=[s for s in ("train", "val", "test") if s != split]
    )


def test_one_class_only():
    table = table_of()
    table["target"] = 1
    problems = problems_of(table, before_split=True)
    assert problems == ["every sample is of the class `malignant`: a classifier needs samples of at least two."]


def test_no_sample_and_no_column():
    assert "no sample" in problems_of(table_of().iloc[:0])[0]
    assert "`target`" in problems_of(table_of().drop(columns="target"))[0]
    assert "`group_id`" in problems_of(table_of().drop(columns="group_id"))[0]


def test_unset_splits_are_fine_before_splitting_only():
    table = table_of()
    table.loc[:3, "split"] = None
    check_samples(table, "binary", CLASSES, before_split=True)
    check_samples(table.drop(columns="split"), "binary", CLASSES, before_split=True)
    assert "4 sample(s) are in no split" in problems_of(table)[0]
    assert "no column `split`" in problems_of(table.drop(columns="split"))[0]


def test_a_fixed_straddling_group_is_found_before_splitting():
    table = table_of()
    table.loc[0, "split"] = "test"
    assert "g0 (test and train)" in problems_of(table, before_split=True)[0]


def test_an_unknown_split_is_named():
    table = table_of()
    table.loc[:1, "split"] = "holdout"
    assert "not holdout" in problems_of(table)[0]


def test_multilabel_columns():
    table = table_of()
    table = table.assign(**{"target/a": table["target"], "target/b": 1 - table["target"]}).drop(columns="target")
    check_samples(table, "multilabel", ("a", "b"))
    assert target_columns(table) == ["target/a", "target/b"]
    np.testing.assert_array_equal(class_matrix(table, "multilabel", ("a", "b")), table[["target/a", "target/b"]] == 1)
    table.loc[0, "target/b"] = 2
    assert "`target/b`" in problems_of(table, "multilabel", ("a", "b"))[0]
    table["target/b"] = 1
    assert "every sample is positive for b" in problems_of(table, "multilabel", ("a", "b"))[0]
    table["target/b"] = (table["split"] != "val").astype(int)
    (problem,) = problems_of(table, "multilabel", ("a", "b"))
    assert "no positive sample of `b`" in problem
    assert "`val`" in problem


def test_text_targets_are_refused_by_name():
    table = table_of().astype({"target": object})
    table.loc[4, "target"] = "benign"
    assert "(benign): s4" in problems_of(table)[0]


def test_continuous_targets_must_be_numbers_that_vary():
    table = table_of().drop(columns="target").assign(**{"target/age": np.arange(24.0), "target/dose": 1.0})
    check_samples(table.drop(columns="target/dose"), "regression", ["age"])
    assert class_matrix(table, "regression", ["age"]).shape == (24, 0)
    assert "same dose" in problems_of(table, "regression", ["age", "dose"])[0]
    table.loc[3, "target/age"] = np.inf
    assert "not a finite number (inf): s3" in problems_of(table, "regression", ["age"])[0]


def test_unlabelled_samples_need_ids_groups_and_splits_but_no_targets():
    table = table_of().drop(columns="target")
    check_samples(table, "unlabelled", ())
    assert class_matrix(table, "unlabelled", ()).shape == (24, 0)
    table.loc[3, "sample_id"] = "s2"
    table["split"] = table["split"].replace("val", "train")
    (twice, empty) = problems_of(table, "unlabelled", ())
    assert "more than once: s2" in twice
    assert empty.startswith("the split `val` is empty")


def test_targets_that_nothing_is_learned_from_must_be_sound_but_need_not_vary():
    table = table_of().assign(target=0)
    assert any("at least two" in text for text in problems_of(table))
    check_samples(table, "binary", CLASSES, learned=False)
    table.loc[0, "target"] = 7
    assert "not one of 0 to 1" in problems_of(table, learned=False)[0]


@pytest.mark.parametrize(("patients", "who"), [(1, "a single patient"), (2, "2 patients")])
def test_too_few_patients_for_the_splits_are_named_as_the_cause(patients, who):
    table = table_of()
    table["group_id"] = [f"g{number % patients}" for number in range(len(table))]
    table["split"] = np.where(table["group_id"] == "g0", "train", "test")
    (problem,) = problems_of(table)
    assert f"all 24 samples are of {who}" in problem
