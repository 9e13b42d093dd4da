"""The parts of `metrics.json` on decisions: fitted on validation, and what they come to on test patients."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts, Task
from vesalius.evaluation.base import Metrics
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import check_rule
from vesalius.metrics.decision.conformal import ConformalSets, fit_sets, score_sets
from vesalius.metrics.decision.scaling import Calibration, fit_calibration
from vesalius.metrics.names import CALIBRATION
from vesalius.metrics.predictions import Decision, Predictions, read_predictions


@dataclass(frozen=True)
class DecisionOptions:
    """The part of `evaluation` in a config that is about decisions; the defaults are those of runs before they existed.

    Attributes:
        rule: `evaluation.decision`.
        prevalence: of class 1 where the model will be used; None: that of validation.
        coverage: of prediction sets.
        by_class: whether each class is to be covered so.
    """

    rule: str
    prevalence: float | None = None
    coverage: float = 0.9
    by_class: bool = False

    @classmethod
    def of_config(cls, evaluation: Mapping[str, Any]) -> "DecisionOptions":
        """Those of the part `evaluation` of a frozen config."""
        return cls(evaluation["decision"], evaluation.get("prevalence"), **(evaluation.get("conformal") or {}))

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
        if problems:
            raise InputError(problems)


def fit_decision(val: pd.DataFrame, facts: Facts, options: DecisionOptions) -> Metrics:
    """What validation chooses besides the threshold.

    Args:
        val: predictions of the validation split, as the net gives them.
        facts: of the data.
        options: of the config.

    Returns:
        `calibration` and `conformal`, as in `metrics.json`, without their parts `test`.
    """
    p = read_predictions(val, task=facts.task, classes=facts.classes, name="validation predictions")
    calibration = fit_calibration(p)
    calibrated = calibration.apply(p.probabilities)
    sets = fit_sets(p.truth, calibrated, p.groups, options.coverage, by_class=options.by_class)
    priors = {"priors": p.truth.mean(axis=0).tolist()}
    return {"calibration": calibration.to_dict() | priors, "conformal": sets.to_dict()}


def score_decision(test: pd.DataFrame, facts: Facts, fitted: Mapping[str, Any]) -> Metrics:
    """The parts that validation has fitted, with what they come to on the test split.

    Args:
        test: predictions of the test split, as the net gives them.
        facts: of the data that the model was trained on.
        fitted: `decision` and the parts of `fit_decision`; parts that a run does not have are left out.
    """
    calibration = Calibration.of_metrics(fitted, facts.num_classes)
    sets = ConformalSets.of_metrics(fitted, facts.num_classes)
    if calibration is None or sets is None:
        return {}
    decision: Decision = (fitted.get("decision") or {}).get("threshold", "argmax")
    kind: dict[str, Any] = {"task": facts.task, "classes": facts.classes}
    p = calibrated_predictions(read_predictions(test, **kind, decision=decision), calibration)
    after = test.assign(**{f"prob/{name}": p.probabilities[:, k] for k, name in enumerate(facts.classes)})
    return {
        "calibration": {
            **fitted["calibration"],
            "test": classification_metrics(after, **kind, names=CALIBRATION),
        },
        "conformal": {**fitted["conformal"], "test": score_sets(sets, p)},
    }


def calibrated_predictions(p: Predictions, calibration: Calibration) -> Predictions:
    """The same samples and decisions, with calibrated probabilities."""
    return replace(p, probabilities=calibration.apply(p.probabilities))
