"""The parts of `metrics.json` on decisions: fitted on validation, and what they come to on test patients."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts, Task
from vesalius.evaluation.base import Entries, Metrics
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import check_rule, level_note
from vesalius.metrics.decision.abstention import abstention_curve, fit_abstention, score_abstention
from vesalius.metrics.decision.conformal import ConformalSets, fit_sets, score_sets
from vesalius.metrics.decision.net_benefit import decision_curve
from vesalius.metrics.decision.operating_point import predictive_values, rate_differences, rates_of
from vesalius.metrics.decision.prior_shift import estimate_priors, prior_entries, shift_priors
from vesalius.metrics.decision.scaling import Calibration, fit_calibration
from vesalius.metrics.names import CALIBRATION
from vesalius.metrics.predictions import Decision, Predictions, read_predictions
from vesalius.runs.decision_parts import decision_parts

_RATES = ("recall", "specificity")


@dataclass(frozen=True)
class DecisionOptions:
    """The part of `evaluation` in a config that is about decisions; the defaults are those of runs before they existed.

    Attributes:
        rule: `evaluation.decision`.
        prevalence: of class 1 where the model will be used; None: that of validation.
        coverage: of prediction sets.
        by_class: whether each class is to be covered so.
        abstain: share of the samples to leave to a person; None: none.
    """

    rule: str
    prevalence: float | None = None
    coverage: float = 0.9
    by_class: bool = False
    abstain: float | None = None

    @classmethod
    def of_config(cls, evaluation: Mapping[str, Any]) -> "DecisionOptions":
        """Those of the part `evaluation` of a frozen config."""
        sets = evaluation.get("conformal") or {}
        given = {name: sets[name] for name in ("coverage", "by_class") if name in sets}
        return cls(evaluation["decision"], evaluation.get("prevalence"), **given, abstain=evaluation.get("abstain"))

    def check(self, task: Task) -> None:
        """Refuse options before anything is trained for them.

        Raises:
            InputError: with every problem.
        """
        problems = []
        try:
            check_rule(self.rule, task)
        except InputError as error:
            problems += error.problems
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            problems.append(f"evaluation.prevalence={self.prevalence}: give a share between 0 and 1, or null.")
        if self.prevalence is not None and task != "binary":
            problems.append(
                f"evaluation.prevalence={self.prevalence}: is of two classes, but the task is {task}: leave it out."
            )
        if not 0 < self.coverage < 1:
            problems.append(
                f"evaluation.conformal.coverage={self.coverage}: give a share between 0 and 1, such as 0.9."
            )
        if self.abstain is not None and not 0 < self.abstain < 1:
            problems.append(f"evaluation.abstain={self.abstain}: give a share between 0 and 1, such as 0.1, or null.")
        if self.abstain is not None and task in ("multilabel", "regression"):
            problems.append(f"evaluation.abstain={self.abstain}: is for one class per sample, but the task is {task}.")
        if problems:
            raise InputError(problems)


def fit_decision(val: pd.DataFrame, facts: Facts, options: DecisionOptions, threshold: Decision) -> Metrics:
    """What validation chooses besides the threshold.

    Args:
        val: predictions of the validation split, as the net gives them.
        facts: of the data.
        options: of the config.
        threshold: chosen on the same predictions.

    Returns:
        `calibration`, `conformal`, `abstain` where asked for and, of two classes, `operating_point`, as in
        `metrics.json`, without what they come to on the test split.
    """
    p = read_predictions(val, task=facts.task, classes=facts.classes, name="validation predictions")
    calibration = fit_calibration(p)
    calibrated = calibration.apply(p.probabilities)
    sets = fit_sets(p.truth, calibrated, p.groups, options.coverage, by_class=options.by_class)
    priors = p.truth.mean(axis=0).tolist()
    fitted: Metrics = {"calibration": calibration.to_dict() | {"priors": priors}, "conformal": sets.to_dict()}
    if options.abstain is not None:
        cut = fit_abstention(p, calibration, threshold, options.abstain)
        fitted["abstain"] = {"share": options.abstain, "confidence": cut}
    if facts.task == "binary":
        rule, positive = options.rule, facts.classes[1]
        at = 0.5 if threshold == "argmax" else float(threshold)
        fitted["operating_point"] = {
            "rule": rule,
            "class": positive,
            "threshold": at,
            "calibrated_threshold": float(calibration.apply(np.clip([[1 - at, at]], 0, 1))[0, 1]),
            "prevalence": priors[1],
            "val": rates_of(_score(val, facts, threshold, _RATES), positive),
        }
        if note := level_note(p, rule):
            fitted["operating_point"]["note"] = note
    return fitted


def score_decision(
    test: pd.DataFrame, facts: Facts, fitted: Mapping[str, Any], *, prevalence: float | None = None
) -> Metrics:
    """The parts that validation has fitted, with what they come to on the test split.

    Args:
        test: predictions of the test split, as the net gives them.
        facts: of the data that the model was trained on.
        fitted: `decision` and the parts of `fit_decision`; empty for a run that has none.
        prevalence: of class 1 where the model will be used; None: that of validation.

    Returns:
        The parts of `fit_decision` with their `test`, `decision_curve` and `abstention`; empty without fitted ones.
    """
    fitted = _checked(fitted)
    calibration = Calibration.of_metrics(fitted, facts.num_classes)
    sets = ConformalSets.of_metrics(fitted, facts.num_classes)
    if calibration is None or sets is None:
        return {}
    threshold: Decision = (fitted.get("decision") or {}).get("threshold", "argmax")
    raw = read_predictions(test, task=facts.task, classes=facts.classes, decision=threshold)
    p = replace(raw, probabilities=calibration.apply(raw.probabilities))
    scores = _score(with_probabilities(test, p), facts, threshold, CALIBRATION)
    metrics: Metrics = {
        "calibration": {**fitted["calibration"], "test": scores},
        "conformal": {**fitted["conformal"], "test": score_sets(sets, p)},
        "decision_curve": {
            name: decision_curve(p.truth[:, k], p.probabilities[:, k], p.groups)
            for k, name in enumerate(p.classes)
            if facts.task != "binary" or k == 1
        },
        "abstention": abstention_curve(raw, calibration, threshold),
    }
    if cut := fitted.get("abstain"):
        metrics["abstain"] = {**cut, "test": score_abstention(raw, calibration, threshold, cut["confidence"])}
    if point := fitted.get("operating_point"):
        at = prevalence or point["prevalence"]
        rates = rates_of(_score(test, facts, threshold, _RATES), facts.classes[1])
        values = predictive_values(rates, at, n=len(test), groups=p.group_count)
        scored = {"test": rates | values, "difference": rate_differences(rates, point["val"])}
        metrics["operating_point"] = {**point, "prevalence": at, **scored}
    return metrics


def score_prior_shift(test: pd.DataFrame, facts: Facts, fitted: Mapping[str, Any]) -> Metrics:
    """How frequent the classes seem to be in other data than the run's, and what correcting for it comes to.

    Args:
        test: predictions of the other data, as the net gives them.
        facts: of the data that the model was trained on.
        fitted: with the run's `calibration`.

    Returns:
        `prior_shift`: `priors`, the share of each class as it is estimated without labels, and `test`, the calibration
        of the corrected probabilities. Empty for a run without a calibration.
    """
    fitted = _checked(fitted)
    calibration = Calibration.of_metrics(fitted, facts.num_classes)
    if calibration is None:
        return {}
    old = fitted["calibration"].get("priors") or []
    if len(old) != facts.num_classes:
        raise InputError("metrics.json: calibration.priors is not what a run writes: restore the file.")
    p = read_predictions(test, task=facts.task, classes=facts.classes)
    calibrated, kind = calibration.apply(p.probabilities), {"multilabel": not p.single_label}
    new = estimate_priors(calibrated, p.groups, old, **kind).tolist()
    moved = replace(p, probabilities=shift_priors(calibrated, old, new, **kind))
    entries = prior_entries(calibrated, p.groups, old, p.classes, **kind)
    scores = _score(with_probabilities(test, moved), facts, "argmax", CALIBRATION)
    return {"prior_shift": {"priors": entries, "test": scores}}


def _checked(fitted: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a run's metrics, which may be of someone else, in the shape that a run writes.

    Raises:
        InputError: for another shape.
    """
    try:
        return {**fitted, **decision_parts(fitted)}
    except ValueError as error:
        raise InputError(f"metrics.json: {error}: restore the file.") from None


def calibrate_table(table: pd.DataFrame, facts: Facts, calibration: Calibration) -> pd.DataFrame:
    """A predictions table with calibrated probabilities."""
    columns = [f"prob/{name}" for name in facts.classes]
    calibrated = calibration.apply(table[columns].to_numpy(dtype=np.float64))
    return table.assign(**dict(zip(columns, calibrated.T, strict=True)))


def with_probabilities(table: pd.DataFrame, p: Predictions) -> pd.DataFrame:
    """A predictions table with other probabilities."""
    return table.assign(**{f"prob/{name}": p.probabilities[:, k] for k, name in enumerate(p.classes)})


def _score(table: pd.DataFrame, facts: Facts, threshold: Decision, names: Collection[str]) -> Entries:
    return classification_metrics(table, task=facts.task, classes=facts.classes, decision=threshold, names=names)
