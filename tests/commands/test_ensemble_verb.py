"""`vesalius ensemble` as a user starts it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

STORED = Path(__file__).parents[1] / "stored_runs"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture
def runs(tmp_path):
    for name in ("0", "1"):
        shutil.copytree(STORED / "cnn" / "finished", tmp_path / "sweep" / name)
    return tmp_path / "sweep"


def test_a_sweep_becomes_a_model_that_predicts_without_it(vesalius, tmp_path, runs):
    done = vesalius("ensemble", "runs=sweep", "out=model")
    assert done.returncode == 0, done.stderr
    assert "members, mean" in done.stdout
    assert "sweep/1" in done.stdout
    shutil.rmtree(runs)
    content = (tmp_path / "model" / "ensemble.json").read_text()
    assert str(tmp_path) not in content
    assert {"config.yaml", "metrics.json", "members", "predictions"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    done = vesalius("predict", "run=model", "input=image.png", "output=table.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "table.csv")
    assert np.isclose(table.filter(like="prob/").sum(axis=1), 1).all()
    one, other = json.loads((tmp_path / "model" / "metrics.json").read_text())["members"].values()
    assert one == other


def test_mistakes_end_in_one_message_and_leave_nothing(vesalius, tmp_path, runs):
    for arguments, message in (
        (["runs=[sweep/0]"], "at least 2"),
        (["runs=nowhere"], "is not a folder"),
        (["runs=sweep", "decision=youden"], "youden"),
    ):
        done = vesalius("ensemble", *arguments, "out=model")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "model").exists()
