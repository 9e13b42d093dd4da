"""The worst errors are wrong predictions, in order, and name nobody."""

import numpy as np
import pandas as pd

from vesalius.metrics.worst_errors import find_worst_errors


def table(**columns) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    who = {"sample_id": [f"Doe_Jane_{i}" for i in range(count)], "group_id": ["Doe_Jane"] * count}
    return pd.DataFrame({**who, **columns})


def test_of_classes_the_surest_of_what_is_wrong_comes_first():
    sick = [0.9, 0.6, 0.95, 0.1, 0.45]
    given = table(target=[0, 0, 1, 1, 1], **{"prob/healthy": 1 - np.array(sick), "prob/sick": sick})
    worst = find_worst_errors(given, task="binary", classes=("healthy", "sick"))
    # samples 0, 1 are healthy and called sick, 3 and 4 the other way round; 2 is right
    assert worst.index.tolist() == [0, 3, 1, 4] or worst.index.tolist() == [3, 0, 1, 4]
    np.testing.assert_allclose(worst["probability"], [0.1, 0.1, 0.4, 0.45])
    assert worst.loc[3, ["true", "predicted"]].tolist() == ["sick", "healthy"]
    assert "Doe" not in worst.to_csv()
    assert (
        find_worst_errors(given, task="binary", classes=("healthy", "sick"), most=2).index.tolist()
        == worst.index[:2].tolist()
    )


def test_a_threshold_decides_what_is_wrong():
    given = table(target=[1, 0], **{"prob/healthy": [0.7, 0.65], "prob/sick": [0.3, 0.35]})
    assert find_worst_errors(given, task="binary", classes=("healthy", "sick")).index.tolist() == [0]
    assert find_worst_errors(given, task="binary", classes=("healthy", "sick"), decision=0.2).index.tolist() == [1]


def test_of_several_labels_any_wrong_one_counts():
    columns = {"target/a": [1, 0, 1], "target/b": [0, 0, 1], "prob/a": [0.9, 0.2, 0.9], "prob/b": [0.8, 0.1, 0.3]}
    worst = find_worst_errors(table(**columns), task="multilabel", classes=("a", "b"))
    assert worst.index.tolist() == [0, 2]
    assert worst["true"].tolist() == ["a", "a, b"]
    assert worst["predicted"].tolist() == ["a, b", "a"]


def test_continuous_targets_count_in_their_own_units():
    columns = {"target/grams": [0.0, 2000.0, 0.0], "pred/grams": [100.0, 2000.0, 0.0], "target/years": [0.0, 2.0, 0.0]}
    given = table(**columns, **{"pred/years": [0.0, 2.0, 3.0]})
    worst = find_worst_errors(given, task="regression", classes=("grams", "years"))
    assert worst.index.tolist() == [2, 0, 1]
    assert worst.loc[2].to_dict() == {"grams": 0, "grams predicted": 0, "years": 0, "years predicted": 3}


def test_a_target_that_does_not_vary_counts_as_it_is():
    given = table(**{"target/grams": [5.0, 5.0], "pred/grams": [5.5, 9.0]})
    assert find_worst_errors(given, task="regression", classes=("grams",)).index.tolist() == [1, 0]


def test_of_reconstructions_the_largest_error_comes_first():
    given = table(psnr=[30.0, 20.0], ssim=[0.9, 0.5], mse=[0.001, 0.01])
    assert find_worst_errors(given, task="unlabelled", classes=()).index.tolist() == [1, 0]


def test_generators_have_no_worst_errors():
    assert find_worst_errors(table(recalled=[1, 0]), task="unlabelled", classes=()).empty
