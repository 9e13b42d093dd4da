"""New data against validation: silent where nothing has changed, and plain about what has."""

import json
import re

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.metrics.shift.sentinel import FEWEST, compare, describe, reference_of
from vesalius.metrics.shift.statistics import (
    MOST_QUANTILES,
    Observations,
    image_statistics,
    output_statistics,
    quantiles,
    stacked,
)

CLASSES = ("a", "b", "c")


def observed(seed, *, patients=80, images=4, shares=(0.4, 0.3, 0.3), brightness=0.0, known=True):
    """Samples of patients, each of one class, whose images and errors are alike."""
    random = np.random.default_rng(seed)
    truth = np.repeat(random.choice(3, patients, p=shares), images)
    logits = 2.5 * np.eye(3)[truth] + np.repeat(random.normal(size=(patients, 3)), images, axis=0)
    logits += 0.5 * random.normal(size=logits.shape)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    light = np.repeat(random.normal(0.5 + brightness, 0.1, patients), images)
    return Observations(
        {**output_statistics(CLASSES, probabilities, regression=False), "intensity/mean": light},
        decided=probabilities.argmax(axis=1)[:, None] == np.arange(3),
        gaps=np.eye(3)[truth] - probabilities if known else None,
        groups=np.repeat([f"p{n}" for n in range(patients)], images).astype(object) if known else None,
    )


def test_without_shift_there_are_hardly_any_alarms() -> None:
    alarms = 0
    for seed in range(200):
        reference = reference_of(observed([seed, 0]), CLASSES)
        alarms += bool(compare(reference, observed([seed, 1], known=seed % 2 > 0), single_label=True).shifted)
    assert alarms <= 6  # 1 % of 200 is 2; 7 or more would come in one of 200 studies


@pytest.mark.parametrize("known", [True, False])
def test_a_shift_is_found_where_it_is(known) -> None:
    reference = json.loads(json.dumps(reference_of(observed(0), CLASSES)))
    brighter = compare(reference, observed(1, brightness=0.15, known=known), single_label=True)
    assert {finding.name for finding in brighter.shifted} == {"intensity/mean"}
    assert "the images themselves" in describe(brighter)[0]
    rarer = compare(reference, observed(1, shares=(0.05, 0.9, 0.05), known=known), single_label=True)
    kinds = {finding.name.partition("/")[0] for finding in rarer.shifted}
    assert {"predicted", "probability"} <= kinds
    assert "intensity" not in kinds
    lines = "\n".join(describe(rarer))
    assert re.match(r"Shift in (the calibration and )?the predictions, compared", lines)
    assert "may not carry over" in lines
    assert "more or less frequent" in lines
    predicted = next(finding for finding in rarer.shifted if finding.name == "predicted")
    assert predicted.label == "b"
    assert f"share predicted as b: {predicted.new:.3f}".replace(" 0.", " .") in lines
    assert json.loads(json.dumps(rarer.to_dict()))["shifted"] is True


def test_calibration_is_compared_with_that_of_validation() -> None:
    reference = reference_of(observed(0), CLASSES)
    new = observed(1)
    assert new.gaps is not None
    new.gaps = new.gaps + np.array([0.3, -0.3, 0.0])
    found = [finding.name for finding in compare(reference, new, single_label=True).shifted]
    assert sorted(found) == ["calibration/a", "calibration/b"]


def test_each_label_of_several_is_compared_by_itself() -> None:
    reference, new = reference_of(observed(0), CLASSES), observed(1)
    assert new.decided is not None
    new.decided = new.decided | np.array([False, True, False])  # now every sample has the label b
    found = [finding.name for finding in compare(reference, new, single_label=False).shifted]
    assert found == ["predicted/b"]


def test_few_patients_are_not_compared() -> None:
    reference = reference_of(observed(0), CLASSES)
    few = compare(reference, observed(1, patients=FEWEST - 1, brightness=5), single_label=True)
    assert few.findings == ()
    assert describe(few) == []
    # of files that name no patient, so many count as one as a validation patient has
    unknown = observed(1, patients=3 * FEWEST, brightness=5, known=False, images=1)
    assert not compare(reference, unknown, single_label=True).findings


@pytest.mark.parametrize("damage", [{"patients": 0}, {"quantiles": []}, {"predicted": {"a": "x"}}, {"n": None}])
def test_a_damaged_reference_is_refused(damage) -> None:
    reference = {**reference_of(observed(0), CLASSES), **damage}
    with pytest.raises(InputError, match="reference"):
        compare(reference, observed(1), single_label=True)


def test_statistics_of_an_image() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (2, 1, 8, 9), dtype=np.uint8)
    found = image_statistics(image, 255.0)
    assert found["intensity/mean"] == pytest.approx(image.mean() / 255)
    assert found["intensity/contrast"] == pytest.approx(image.std() / 255)
    smooth = image_statistics(np.full((1, 1, 8, 9), 7, np.uint8), 255.0)
    assert smooth["intensity/sharpness"] == 0
    assert image_statistics(np.zeros((1, 1, 1, 1), np.float32), 1.0)["intensity/sharpness"] == 0
    assert stacked([found, smooth])["intensity/mean"].shape == (2,)


def test_kept_quantiles_are_values_that_were_there() -> None:
    values = np.round(np.random.default_rng(0).normal(size=50), 3)
    np.testing.assert_allclose(quantiles(values), np.sort(values))
    many = quantiles(np.arange(10_000.0))
    assert len(many) == MOST_QUANTILES
    np.testing.assert_allclose(np.diff(many), 50, atol=1)
