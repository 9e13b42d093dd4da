"""What a report states about its model agrees with what the model decides."""

import numpy as np
import pytest

from brightness_model import BrightnessBackend
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.predictor import Predictor
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.decision.scaling import Calibration

RANDOM = np.random.default_rng(0)


def describe(rule: DecisionRule) -> ModelDescription:
    backend = BrightnessBackend()
    backend.sha256 = "ab" * 32  # type: ignore[attr-defined]
    model = Predictor(backend)  # type: ignore[arg-type]
    model.rule = rule
    return ModelDescription.of(model)


@pytest.mark.parametrize("calibration", [None, Calibration("temperature", (0.4,)), Calibration("temperature", (3.0,))])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.93])
def test_the_calibrated_threshold_decides_as_the_model_does(threshold, calibration) -> None:
    rule = DecisionRule("binary", ("no", "yes"), threshold, calibration)
    ((name, stated),) = describe(rule).thresholds.items()
    positive = RANDOM.uniform(0, 1, 1000)
    probabilities = np.column_stack([1 - positive, positive])
    decided = np.array(rule.decide(probabilities)) == name
    assert (decided == (rule.calibrate(probabilities)[:, 1] > stated)).all()


def test_each_label_has_a_threshold_of_its_own() -> None:
    calibration = Calibration("platt", (0.5, 2.0, 1.0), (1.0, -1.0, 0.0))
    rule = DecisionRule("multilabel", ("a", "b", "c"), 0.3, calibration)
    stated = np.array([describe(rule).thresholds[name] for name in "abc"])
    probabilities = RANDOM.uniform(0, 1, (1000, 3))
    decided = [set(filter(None, names.split("|"))) for names in rule.decide(probabilities)]
    above = rule.calibrate(probabilities) > stated
    assert decided == [{name for name, found in zip("abc", row, strict=True) if found} for row in above]


def test_without_a_threshold_there_is_none() -> None:
    assert describe(DecisionRule("multiclass", ("a", "b", "c"), np.nan)).thresholds == {}


def test_the_rates_of_the_operating_point_are_stated_with_their_intervals() -> None:
    backend = BrightnessBackend()
    backend.sha256 = "ab" * 32  # type: ignore[attr-defined]
    test = {"sensitivity": {"value": 0.94, "ci95": [0.9, 0.97]}, "specificity": {"value": 0.7, "ci95": None}}
    backend.metrics["operating_point"] = {"rule": "sensitivity@0.95", "test": test}
    parameters = ModelDescription.of(Predictor(backend)).parameters  # type: ignore[arg-type]
    assert "sensitivity on the test split of its training: 0.940, 95 % interval 0.900 to 0.970" in parameters
    assert not any("specificity" in sentence for sentence in parameters)  # no number without its interval
