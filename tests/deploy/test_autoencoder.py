"""A loaded autoencoder scores images as its own evaluation did, and shows where it errs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vesalius
from vesalius.commands.predict import predict
from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.deploy.anomaly import AnomalyScorer
from vesalius.deploy.predictor import Predictor
from vesalius.runs.run_folder import RunFolder

RUN = Path(__file__).parents[1] / "stored_runs" / "autoencoder" / "finished"


@pytest.fixture(scope="module")
def model() -> Predictor:
    return vesalius.load(RUN)


def test_the_score_is_the_mean_squared_error_of_the_runs_own_test(model) -> None:
    folder = RunFolder(RUN)
    own = pd.read_csv(folder.predictions / "test.csv", dtype={"sample_id": str})
    source = build(folder.config["data"]["source"], "data.source")
    table = source.samples().set_index("sample_id", drop=False).loc[own["sample_id"]]
    found = model.predict([source.load(row) for row in table.to_dict("records")])
    assert list(found) == ["input", "score", "problem"]
    np.testing.assert_allclose(found["score"], own["mse"], rtol=1e-3)
    assert found["problem"].isna().all()


def test_the_error_is_shown_where_the_image_was_changed(model) -> None:
    image = np.full((1, *model.contract.image_size), 60, np.uint8)
    spot = image.copy()
    spot[0, 10:13, 14:17] = 255
    (plain,), (changed,) = model.explain([image]), model.explain([spot])
    assert changed.maps.shape == (1, *model.contract.image_size)
    row, column = np.unravel_index(changed.maps[0].argmax(), changed.maps[0].shape)
    assert (9 <= row <= 13, 13 <= column <= 17) == (True, True)
    scores = model.predict([image, spot])["score"]
    assert scores[1] > scores[0]
    assert plain.weights.tolist() == [1]


def test_reasons_of_a_prediction_are_refused(model) -> None:
    with pytest.raises(InputError, match="explain=gradcam needs predicted classes or targets: choose explain=auto"):
        model.explain([np.zeros(model.contract.image_size, np.uint8)], method="gradcam")


def test_a_refused_input_has_no_score(model) -> None:
    table = model.predict([np.zeros((3, 3, 3, 3), np.uint8), np.zeros(model.contract.image_size, np.uint8)])
    assert table["score"].isna().tolist() == [True, False]
    assert table["problem"].notna().tolist() == [True, False]


def test_an_autoencoder_flags_what_a_classifier_predicts_for_all_the_same(tmp_path) -> None:
    folder = RunFolder(RUN)
    val = pd.read_csv(folder.predictions / "val.csv", dtype={"sample_id": str})
    source = build(folder.config["data"]["source"], "data.source")
    table = source.samples().set_index("sample_id", drop=False).loc[val["sample_id"]]
    own = [source.load(row)[0] for row in table.to_dict("records")]
    noise = np.random.default_rng(0).integers(0, 256, own[0].shape).astype(np.uint8)
    (tmp_path / "files").mkdir()
    for number, image in enumerate([*own, noise]):
        Image.fromarray(image).save(tmp_path / "files" / f"{number}.png")
    (tmp_path / "files" / "z.png").write_bytes(b"no image")
    overrides = [f"run={RUN.parents[1] / 'cnn' / 'finished'}", f"input={tmp_path / 'files'}", f"autoencoder={RUN}"]
    config = load_config("predict", [*overrides, f"output={tmp_path / 'out.csv'}"])
    predict(RunFolder.create(tmp_path / "predicted", config, overrides).path)
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found)[-3:] == ["anomaly", "anomaly_score", "problem"]
    *inside, unlike, refused = found["anomaly"]
    assert unlike
    assert sum(inside) <= 1  # the one that the threshold is
    assert np.isnan(refused)
    scorer = AnomalyScorer(RUN, vesalius.load(RUN).contract)
    assert scorer.threshold == val["mse"].max()
    np.testing.assert_allclose(found["anomaly_score"][: len(val)], val["mse"] / scorer.threshold, rtol=1e-3)


def test_a_run_that_gives_no_score_and_a_model_of_series_are_refused(model) -> None:
    stored = RUN.parents[1]
    with pytest.raises(InputError, match="gives no anomaly scores"):
        AnomalyScorer(stored / "cnn" / "finished", model.contract)
    with pytest.raises(InputError, match="the model takes series"):
        AnomalyScorer(RUN, vesalius.load(stored / "lstm" / "finished").contract)
