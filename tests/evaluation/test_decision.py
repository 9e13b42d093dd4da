"""The parts of `metrics.json` on decisions: from tables, as they are written and read again."""

import json

import numpy as np
import pandas as pd
import pytest

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.decision import DecisionOptions, fit_decision, score_decision, score_prior_shift
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.runs.decision_parts import decision_parts

TASKS = {"binary": 2, "multiclass": 3, "ordinal": 3, "multilabel": 3}


def facts_of(task: str) -> Facts:
    classes = tuple(f"c{k}" for k in range(TASKS[task]))
    return Facts(task, classes, 1, (8, 8), 255, (1,) * len(classes), 1, (0.0,), (1.0,))  # type: ignore[arg-type]


def table_of(task: str, seed: int, patients: int = 60, per: int = 2) -> pd.DataFrame:
    """A net that is too sure of itself."""
    rng, classes = np.random.default_rng(seed), facts_of(task).classes
    logits = 2 * rng.normal(size=(patients * per, len(classes)))
    table = pd.DataFrame({"sample_id": np.arange(len(logits)), "group_id": np.repeat(np.arange(patients), per)})
    if task == "multilabel":
        present = rng.logistic(size=logits.shape) < logits
        table[[f"target/{name}" for name in classes]] = present.astype(int)
        shown = 1 / (1 + np.exp(-3 * logits))
    else:
        table["target"] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        shown = np.exp(3 * logits)
        shown /= shown.sum(axis=1, keepdims=True)
    table[[f"prob/{name}" for name in classes]] = shown
    return table


@pytest.mark.parametrize("abstain", [None, 0.2])
@pytest.mark.parametrize("task", TASKS)
def test_a_runs_parts_are_written_read_and_applied_again(task, abstain):
    if abstain is not None and task == "multilabel":
        return
    facts, val, test = facts_of(task), table_of(task, 1), table_of(task, 2)
    threshold = 0.3 if task == "binary" else "argmax"
    decision = {"decision": {"rule": "argmax", "threshold": threshold}}
    fitted = fit_decision(val, facts, DecisionOptions("argmax", abstain=abstain), threshold) | decision
    metrics = score_decision(test, facts, fitted)
    assert ("operating_point" in metrics) is (task == "binary")
    assert {"calibration", "conformal", "decision_curve", "abstention"} <= metrics.keys()
    stored = json.loads(json.dumps(metrics, allow_nan=False))
    assert stored == metrics
    assert decision_parts(stored) == stored
    # `evaluate` of the same data by what is stored.
    assert score_decision(test, facts, stored | decision) == metrics
    rule = DecisionRule.of_metrics(stored | decision, facts)
    columns = [f"prob/{name}" for name in facts.classes]
    probabilities = test[columns].to_numpy()
    calibrated = test.assign(**dict(zip(columns, rule.calibrate(probabilities).T, strict=True)))
    scores = classification_metrics(calibrated, task=facts.task, classes=facts.classes, names=["ece", "brier"])
    assert scores == metrics["calibration"]["test"]
    before = classification_metrics(test, task=facts.task, classes=facts.classes, names=["brier"])
    assert scores["brier"]["value"] < before["brier"]["value"]
    left = rule.abstains(probabilities)
    assert (left is None) is (abstain is None) is ("abstain" not in metrics)
    if left is not None:
        assert 1 - left.mean() == pytest.approx(metrics["abstain"]["test"]["coverage"]["value"])
    sizes = [len(one.split("|")) if one else 0 for one in rule.prediction_sets(probabilities) or []]
    assert np.mean(sizes) == pytest.approx(metrics["conformal"]["test"]["set_size"]["value"])


@pytest.mark.parametrize("task", TASKS)
def test_the_order_of_the_rows_does_not_matter(task):
    facts, val, test = facts_of(task), table_of(task, 3), table_of(task, 4)

    def parts(order: int | None) -> dict:
        tables = [table if order is None else table.sample(frac=1, random_state=order) for table in (val, test)]
        fitted = fit_decision(tables[0], facts, DecisionOptions("argmax"), "argmax")
        return score_decision(tables[1], facts, fitted)

    def numbers(node):
        if isinstance(node, dict):
            return [number for value in node.values() for number in numbers(value)]
        if isinstance(node, list):
            return [number for value in node for number in numbers(value)]
        return [node] if isinstance(node, float) else []

    assert numbers(parts(0)) == pytest.approx(numbers(parts(None)), abs=1e-9)


def test_a_stated_prevalence_moves_the_predictive_values_only():
    facts, test = facts_of("binary"), table_of("binary", 6)
    fitted = fit_decision(table_of("binary", 5), facts, DecisionOptions("argmax"), "argmax")
    own, rare = (score_decision(test, facts, fitted, prevalence=share)["operating_point"] for share in (None, 0.01))
    assert (own["prevalence"], rare["prevalence"]) == (fitted["calibration"]["priors"][1], 0.01)
    for name in ("sensitivity", "specificity"):
        assert own["test"][name] == rare["test"][name]
    assert rare["test"]["ppv"]["value"] < own["test"]["ppv"]["value"]
    assert rare["test"]["npv"]["value"] > own["test"]["npv"]["value"]


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": {"method": "temperature", "temperature": 1.0, "priors": [0.5]}},
        {"calibration": {"method": "temperature", "temperature": 1.0, "priors": [2, 3]}},
        {"calibration": {"method": "temperature", "temperature": 1.0, "priors": "many"}},
        {"calibration": 3},
        {"conformal": {"coverage": 0.9, "thresholds": [0.1, 0.1]}},
        {"operating_point": {"prevalence": "high"}},
        {"operating_point": {"prevalence": 0.5, "val": {}}},
    ],
)
def test_a_strangers_numbers_are_checked(changes):
    facts, test = facts_of("binary"), table_of("binary", 7)
    fitted = fit_decision(table_of("binary", 5), facts, DecisionOptions("argmax"), "argmax") | changes
    scores = score_prior_shift if isinstance(changes.get("calibration"), dict) else score_decision
    with pytest.raises(InputError, match=r"metrics\.json: "):
        scores(test, facts, fitted)


def test_the_threshold_of_calibrated_probabilities_decides_the_same():
    facts, test = facts_of("binary"), table_of("binary", 11)
    point = fit_decision(table_of("binary", 12), facts, DecisionOptions("argmax"), 0.3)["operating_point"]
    fitted = fit_decision(table_of("binary", 12), facts, DecisionOptions("argmax"), 0.3)
    rule = DecisionRule.of_metrics({**fitted, "decision": {"threshold": 0.3}}, facts)
    probabilities = test[["prob/c0", "prob/c1"]].to_numpy()
    above = rule.calibrate(probabilities)[:, 1] > point["calibrated_threshold"]
    assert [("c0", "c1")[int(one)] for one in above] == rule.decide(probabilities)


def test_a_run_of_an_older_version_has_none_of_it():
    facts, test = facts_of("binary"), table_of("binary", 7)
    old = {"decision": {"rule": "argmax", "threshold": "argmax"}}
    assert score_decision(test, facts, old) == {} == score_prior_shift(test, facts, old)
    rule = DecisionRule.of_metrics(old, facts)
    probabilities = test[["prob/c0", "prob/c1"]].to_numpy()
    assert rule.calibrate(probabilities) is probabilities
    assert rule.prediction_sets(probabilities) is None


def test_other_data_come_with_the_shares_that_they_seem_to_have():
    facts = facts_of("binary")
    fitted = fit_decision(table_of("binary", 8, patients=500, per=1), facts, DecisionOptions("argmax"), "argmax")
    pool = table_of("binary", 9, patients=6000, per=1)
    sick, healthy = (pool[pool["target"] == target] for target in (1, 0))
    rare = pd.concat([sick[:100], healthy[:1900]], ignore_index=True)
    shift = score_prior_shift(rare, facts, fitted)["prior_shift"]
    low, high = shift["priors"]["c1"]["ci95"]
    assert low < 0.07 < 0.1 > high > 0.03
    without = score_decision(rare, facts, fitted)["calibration"]["test"]
    assert shift["test"]["brier"]["value"] < without["brier"]["value"]


@pytest.mark.parametrize(
    ("options", "task", "message"),
    [
        (DecisionOptions("best"), "binary", "threshold rule best"),
        (DecisionOptions("cost@20"), "multiclass", "needs two classes"),
        (DecisionOptions("argmax", prevalence=1.5), "binary", "evaluation.prevalence=1.5"),
        (DecisionOptions("argmax", prevalence=0.1), "multiclass", "is of two classes"),
        (DecisionOptions("argmax", abstain=1.0), "binary", "evaluation.abstain=1.0: give a share"),
        (DecisionOptions("argmax", abstain=0.1), "multilabel", "is for one class per sample"),
        (DecisionOptions("argmax", coverage=1.0), "binary", "evaluation.conformal.coverage=1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_training(options, task, message):
    with pytest.raises(InputError, match=message):
        options.check(task)


def test_an_exchanged_label_is_noted():
    table = table_of("binary", 10, patients=200)
    exchanged = table.assign(target=1 - table["target"])
    kind = {"task": "binary", "classes": ("c0", "c1")}
    assert "note" not in classification_metrics(table, **kind)["auroc"]
    assert "exchanged" in classification_metrics(exchanged, **kind)["auroc"]["note"]


def test_a_level_that_validation_cannot_promise_is_noted():
    facts = facts_of("binary")
    table = table_of("binary", 8, patients=15)
    fitted = fit_decision(table, facts, DecisionOptions("specificity@0.95"), 0.3)
    assert "too few to expect a specificity of 0.95" in fitted["operating_point"]["note"]
    many = table_of("binary", 8, patients=500)
    assert "note" not in fit_decision(many, facts, DecisionOptions("specificity@0.95"), 0.3)["operating_point"]
