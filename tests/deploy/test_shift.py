"""Files that a model is applied to, compared with its validation images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import vesalius
from vesalius.commands.evaluate import evaluate
from vesalius.config.compose import load_config
from vesalius.data.sources.lesions import Lesions
from vesalius.deploy.inputs import from_array
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.shift import ShiftMonitor
from vesalius.metrics.shift.sentinel import reference_of
from vesalius.metrics.shift.statistics import Observations, image_statistics, output_statistics, quantiles, stacked
from vesalius.runs.run_folder import RunFolder

STORED = Path(__file__).parents[1] / "stored_runs"


def images(seed: int, brightness: float = 1.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        (random.uniform(0.3, 0.6) * brightness * random.integers(0, 256, (1, 28, 28))).astype(np.uint8)
        for _ in range(60)
    ]


def reference(model: Predictor, pixels: list[np.ndarray]) -> dict:
    probabilities = model.predict(pixels)[[f"prob/{name}" for name in model.facts.classes]].to_numpy()
    observed = Observations(
        {
            **output_statistics(model.facts.classes, probabilities, regression=False),
            **stacked([image_statistics(one[None], 255.0) for one in pixels]),
        },
        groups=np.arange(len(pixels)).astype(object),
    )
    return reference_of(observed, model.facts.classes)


@pytest.mark.parametrize("brightness", [1.0, 0.6])
def test_darker_images_are_noticed_and_like_ones_are_not(brightness) -> None:
    model = vesalius.load(STORED / "cnn" / "finished")
    model.backend.metrics["reference"] = reference(model, images(0))
    monitor = ShiftMonitor(model.backend)
    inputs = [from_array(image, "image", model.contract) for image in images(1, brightness)]
    for _ in model.rows(inputs, [""] * len(inputs), batch_size=25, observe=monitor.update):
        pass
    shift = monitor.result()
    assert shift is not None
    assert shift.patients == 60
    assert ("intensity/mean" in {finding.name for finding in shift.shifted}) == (brightness < 1)


def test_a_run_without_statistics_is_not_compared() -> None:
    model = vesalius.load(STORED / "cnn" / "finished")
    monitor = ShiftMonitor(model.backend)
    inputs = [from_array(image, "image", model.contract) for image in images(1)]
    list(model.rows(inputs, [""] * len(inputs), observe=monitor.update))
    assert monitor.result() is None


@pytest.mark.parametrize("like", [True, False])
def test_an_evaluation_on_other_data_states_what_differs(tmp_path, capsys, like) -> None:
    run = tmp_path / "run"
    shutil.copytree(STORED / "cnn" / "finished", run)
    source = Lesions(patients=48, seed=3, image_size=28, slices=1)
    kept = [image_statistics(source.load(row)[None], 255.0) for row in source.samples().to_dict("records")]
    light = stacked(kept)["intensity/mean"] + (0 if like else 0.3)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["reference"] = {"n": 48, "patients": 48, "quantiles": {"intensity/mean": quantiles(light)}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    overrides = [f"run={run}", "data=lesions", "data.source.patients=24", "data.source.seed=7"]
    overrides += ["data.source.image_size=28", "data.source.slices=1", f"data.cache_dir={tmp_path}"]
    place = RunFolder.create(tmp_path / "evaluation", load_config("evaluate", overrides), overrides).path
    evaluate(place)
    found = json.loads((place / "metrics.json").read_text())["shift"]
    assert found["shifted"] is not like
    assert list(found["tests"]) == ["intensity/mean"]
    assert ("may not carry over" in capsys.readouterr().out) is not like
