"""The worst answers are wrong ones, in order, and name nobody."""

import numpy as np
import pandas as pd

from vesalius.config.facts import Facts
from vesalius.evaluation.worst import worst_answers


def facts(task: str, classes: tuple[str, ...], **more) -> Facts:
    plain = {"channels": 1, "image_size": (8, 8), "value_max": 255.0, "train_size": 9, "mean": (0.5,), "std": (0.1,)}
    return Facts(task=task, classes=classes, class_counts=(1,) * len(classes), **plain, **more)


def table(**columns) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    who = {"sample_id": [f"Doe_Jane_{i}" for i in range(count)], "group_id": ["Doe_Jane"] * count}
    return pd.DataFrame({**who, **columns})


def test_of_classes_the_surest_of_what_is_wrong_comes_first():
    sick = [0.9, 0.6, 0.95, 0.1, 0.45]
    given = table(target=[0, 0, 1, 1, 1], **{"prob/healthy": 1 - np.array(sick), "prob/sick": sick})
    worst = worst_answers(given, facts("binary", ("healthy", "sick")))
    # samples 0, 1 are healthy and called sick, 3 and 4 the other way round; 2 is right
    assert worst.index.tolist() == [0, 3, 1, 4] or worst.index.tolist() == [3, 0, 1, 4]
    np.testing.assert_allclose(worst["probability"], [0.1, 0.1, 0.4, 0.45])
    assert worst.loc[3, ["true", "predicted"]].tolist() == ["sick", "healthy"]
    assert "Doe" not in worst.to_csv()
    assert worst_answers(given, facts("binary", ("healthy", "sick")), most=2).index.tolist() == worst.index[:2].tolist()


def test_a_threshold_decides_what_is_wrong():
    given = table(target=[1, 0], **{"prob/healthy": [0.7, 0.65], "prob/sick": [0.3, 0.35]})
    assert worst_answers(given, facts("binary", ("healthy", "sick"))).index.tolist() == [0]
    assert worst_answers(given, facts("binary", ("healthy", "sick")), decision=0.2).index.tolist() == [1]


def test_of_several_labels_any_wrong_one_counts():
    columns = {"target/a": [1, 0, 1], "target/b": [0, 0, 1], "prob/a": [0.9, 0.2, 0.9], "prob/b": [0.8, 0.1, 0.3]}
    worst = worst_answers(table(**columns), facts("multilabel", ("a", "b")))
    assert worst.index.tolist() == [0, 2]
    assert worst["true"].tolist() == ["a", "a, b"]
    assert worst["predicted"].tolist() == ["a, b", "a"]


def test_quantities_count_in_their_own_units():
    columns = {"target/grams": [0.0, 0.0], "pred/grams": [100.0, 0.0], "target/years": [0.0, 0.0]}
    given = table(**columns, **{"pred/years": [0.0, 3.0]})
    worst = worst_answers(given, facts("regression", ("grams", "years"), target_std=(1000.0, 1.0)))
    assert worst.index.tolist() == [1, 0]
    assert worst.loc[1].to_dict() == {"grams": 0, "grams predicted": 0, "years": 0, "years predicted": 3}


def test_of_reconstructions_the_largest_error_comes_first():
    given = table(psnr=[30.0, 20.0], ssim=[0.9, 0.5], mse=[0.001, 0.01])
    assert worst_answers(given, facts("unlabelled", ())).index.tolist() == [1, 0]


def test_of_generators_nothing_is_told():
    assert worst_answers(table(recalled=[1, 0]), facts("unlabelled", ())).empty
