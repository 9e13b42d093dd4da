"""A loaded autoencoder scores images as its own evaluation did, and shows where it errs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vesalius
from vesalius.config.build import build
from vesalius.config.errors import InputError
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
