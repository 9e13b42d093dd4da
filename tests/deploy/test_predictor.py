"""A loaded run predicts what the run's own evaluation did, from files and from arrays."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vesalius
from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.deploy.backend import Outputs
from vesalius.deploy.predictor import Predictor
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.runs.run_folder import RunFolder

STORED = Path(__file__).parents[1] / "stored_runs"


def test_samples(name: str) -> tuple[list[np.ndarray], list[Any], pd.DataFrame]:
    """Pixels and times of the test samples of a stored run, and what it predicted for them."""
    folder = RunFolder(STORED / name / "finished")
    source = build(folder.config["data"]["source"], "data.source")
    predicted = pd.read_csv(folder.predictions / "test.csv", dtype={"sample_id": str})
    table = source.samples().set_index("sample_id", drop=False).loc[predicted["sample_id"]]
    rows = table.to_dict("records")
    return [source.load(row) for row in rows], [row.get("_times") for row in rows], predicted


test_samples.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def cnn() -> Predictor:
    return vesalius.load(STORED / "cnn" / "finished")


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_arrays_get_the_probabilities_of_the_runs_own_test(name, cnn) -> None:
    pixels, times, own = test_samples(name)
    model = cnn if name == "cnn" else vesalius.load(STORED / name / "finished")
    table = model.predict(pixels, seconds=None if times[0] is None else times)
    columns = [column for column in own if column.startswith("prob/")]
    # Stored on another machine: the bits of a convolution may differ.
    np.testing.assert_allclose(table[columns], own[columns], atol=1e-4)
    assert list(table) == model.columns
    assert table["problem"].isna().all()
    names = np.array(model.facts.classes)
    assert table["prediction"].tolist() == names[own[columns].to_numpy().argmax(axis=1)].tolist()


def test_files_get_what_their_pixels_get_whatever_the_batch(cnn, tmp_path) -> None:
    pixels, _, _ = test_samples("cnn")
    for number, image in enumerate(pixels[:5]):
        Image.fromarray(image[0]).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes(b"nothing")
    whole = cnn.predict(tmp_path)
    singly = cnn.predict([tmp_path / f"{number}.png" for number in range(6)])
    assert whole["input"].tolist() == [f"{number}.png" for number in range(6)]
    columns = [column for column in whole if column.startswith("prob/")]
    np.testing.assert_allclose(whole[columns], singly[columns], atol=1e-6)
    np.testing.assert_allclose(whole[columns][:5], cnn.predict(pixels[:5])[columns], atol=1e-6)
    assert whole["problem"].notna().tolist() == [False] * 5 + [True]
    assert whole["prediction"].isna().tolist() == [False] * 5 + [True]
    assert np.isnan(whole[columns].iloc[5]).all()


def test_names_from_several_folders_differ(cnn, tmp_path) -> None:
    pixels, _, _ = test_samples("cnn")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels[0][0]).save(tmp_path / folder / "0.png")
    names = cnn.predict([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "0.png", pixels[0]])["input"].tolist()
    paths = [(tmp_path / folder / "0.png").as_posix() for folder in "aba"]
    assert names == [*paths, "array 3"]


def test_the_module_holds_its_preprocessing(cnn) -> None:
    pixels, _, own = test_samples("cnn")
    with torch.inference_mode():
        logits = cnn.module(torch.from_numpy(np.stack(pixels)))
    columns = [column for column in own if column.startswith("prob/")]
    np.testing.assert_allclose(logits.softmax(1), own[columns], atol=1e-4)
    assert cnn.metrics["test"]["auroc"]["value"] > 0


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_the_runs_own_threshold_decides(threshold, cnn) -> None:
    names = cnn.facts.classes[:2]
    facts = dataclasses.replace(cnn.facts, task="binary", classes=names)
    rule = DecisionRule.of_metrics({"decision": {"threshold": threshold}}, facts)
    decided = rule.decide(np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]]))
    assert decided == [names[threshold < 0.5], names[0], names[1]]


class Fixed:
    """A backend with a run's contract whose probabilities are known."""

    ood, sha256 = None, "0" * 64

    def __init__(self, like: Predictor, probabilities: np.ndarray, metrics: dict[str, Any]) -> None:
        self.facts, self.contract, self.metrics, self.known = like.facts, like.contract, metrics, probabilities

    def compute(self, inputs) -> Outputs:
        return Outputs(self.known[: len(inputs)])


def test_probabilities_are_calibrated_decisions_are_the_nets_and_sets_follow(cnn) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=5)
    pixels = test_samples("cnn")[0][:5]
    calibration = {"method": "temperature", "temperature": 0.5}
    conformal = {"coverage": 0.9, "by_class": True, "thresholds": [0.1, 0.2, 0.3, 0.9]}
    plain = Predictor(Fixed(cnn, probabilities, {})).predict(pixels)
    metrics = {"calibration": calibration, "conformal": conformal, "abstain": {"share": 0.4, "confidence": 0.6}}
    table = Predictor(Fixed(cnn, probabilities, metrics)).predict([*pixels, np.zeros((3, 3), np.uint8)])
    columns = [f"prob/{name}" for name in cnn.facts.classes]
    squares = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table[columns][:5], squares)
    np.testing.assert_array_equal(plain[columns], probabilities)
    assert table["prediction"].tolist()[:5] == plain["prediction"].tolist()
    names = np.array(cnn.facts.classes)
    assert table["set"].tolist()[:5] == ["|".join(names[row]) for row in squares >= [0.1, 0.2, 0.3, 0.9]]
    assert list(table) == ["input", *columns, "prediction", "abstain", "set", "problem"]
    assert table["abstain"].tolist()[:5] == (squares.max(axis=1) < 0.6).tolist()
    assert "set" not in plain
    assert table.iloc[5][[*columns, "prediction", "abstain", "set"]].isna().all()


def test_a_model_that_generates_is_refused_with_the_cure() -> None:
    with pytest.raises(InputError, match="predicts nothing of them: give a run of model=cnn, model=lstm"):
        vesalius.load(STORED / "gan" / "finished")


@pytest.mark.parametrize("wrong", [None, "", b"a.png", torch.zeros(28, 28), [[0.0]]])
def test_what_is_neither_a_path_nor_an_array_is_refused(wrong, cnn):
    with pytest.raises(InputError, match="predict takes paths and numpy arrays"):
        cnn.predict([wrong])


def test_seconds_may_be_an_array() -> None:
    pixels, times, _ = test_samples("lstm")
    model = vesalius.load(STORED / "lstm" / "finished")
    given = model.predict(pixels[:2], seconds=np.array(times[:2]))
    pd.testing.assert_frame_equal(given, model.predict(pixels[:2], seconds=times[:2]))


@pytest.mark.parametrize("given", [[], [[0.0]] * 3])
def test_times_of_more_or_fewer_series_than_there_are_are_refused(given, cnn) -> None:
    with pytest.raises(InputError, match=rf"times of {len(given)} series for 2 array"):
        cnn.predict([np.zeros((28, 28), np.uint8)] * 2, seconds=given)


def test_no_inputs_give_an_empty_table(cnn) -> None:
    assert list(cnn.predict([])) == cnn.columns


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        vesalius.load(tmp_path)
