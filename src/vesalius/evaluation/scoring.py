"""From predicted classes or quantities to their metrics, whatever they belong to: a run, an arm, a part of the test."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vesalius.config.facts import Facts
from vesalius.evaluation.base import SCHEMA, Metrics
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import choose_threshold
from vesalius.metrics.predictions import Decision
from vesalius.metrics.regression import regression_metrics


def judge(predictions: Mapping[str, pd.DataFrame], facts: Facts, evaluation: Mapping[str, Any]) -> Metrics:
    """Metrics of each predicted split; the decision threshold comes from validation alone.

    Args:
        predictions: the predictions table of `val` and `test`, or of `test` with a decision already made.
        facts: of the data that the model was trained on.
        evaluation: the config node; `decision` is a rule for validation, or a number that was picked before.
    """
    metrics: Metrics = {"schema": SCHEMA, "task": facts.task}
    if facts.task == "regression":
        return metrics | {split: judge_table(table, facts) for split, table in predictions.items()}
    decision = evaluation["decision"]
    threshold: Decision = decision
    if facts.task == "binary" and isinstance(decision, str) and decision != "argmax":
        threshold = choose_threshold(predictions["val"], decision)
    metrics["decision"] = {"rule": str(decision), "threshold": threshold}
    return metrics | {split: judge_table(table, facts, threshold) for split, table in predictions.items()}


def judge_table(table: pd.DataFrame, facts: Facts, decision: Decision = "argmax") -> Metrics:
    """Every metric of a predictions table."""
    if facts.task == "regression":
        assert facts.target_mean is not None
        return regression_metrics(table, names=facts.classes, no_skill=facts.target_mean)
    return classification_metrics(table, task=facts.task, classes=facts.classes, decision=decision)
