"""From a predictions table to metrics: of a run, of an arm, of part of the test samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vesalius.config.facts import Facts
from vesalius.evaluation.base import SCHEMA, Entries, Metrics
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import choose_threshold
from vesalius.metrics.predictions import Decision
from vesalius.metrics.regression import regression_metrics
from vesalius.metrics.subgroups import subgroup_metrics


def score_splits(
    predictions: Mapping[str, pd.DataFrame], facts: Facts, rule: str, threshold: Decision | None = None
) -> Metrics:
    """Metrics of each predicted split; the decision threshold comes from validation only.

    Args:
        predictions: the predictions table of `val` and `test`, or of `test` with a threshold chosen before.
        facts: of the data that the model was trained on.
        rule: `evaluation.decision`.
        threshold: chosen before; None to choose it.
    """
    metrics: Metrics = {"schema": SCHEMA, "task": facts.task}
    if facts.task != "regression":
        if threshold is None:
            threshold = choose_decision(predictions["val"], facts, rule)
        metrics["decision"] = {"rule": rule, "threshold": threshold}
    metrics |= {split: score_table(table, facts, threshold) for split, table in predictions.items()}
    subgroups = score_subgroups(predictions["test"], facts, threshold) if "test" in predictions else {}
    return metrics | ({"subgroups": subgroups} if subgroups else {})


def score_subgroups(table: pd.DataFrame, facts: Facts, threshold: Decision | None) -> dict[str, dict[str, Entries]]:
    """Metrics of the test samples by column and value of `data.source.subgroups`; empty without any."""
    return subgroup_metrics(table, facts.task, facts.classes, lambda part: score_table(part, facts, threshold))


def picks_threshold(facts: Facts, rule: str) -> bool:
    """Whether `evaluation.decision` needs validation predictions of everything that decides classes."""
    return facts.task == "binary" and rule != "argmax"


def choose_decision(val: pd.DataFrame, facts: Facts, rule: str) -> Decision:
    """How one model, baseline or ablation decides classes: each by its own threshold, or those would not compare.

    Args:
        val: its validation predictions; not read where the rule picks no threshold.
        facts: of the data.
        rule: `evaluation.decision`.
    """
    return choose_threshold(val, rule) if picks_threshold(facts, rule) else "argmax"


def decide(table: pd.DataFrame, val_rows: int, facts: Facts, rule: str) -> pd.DataFrame:
    """Test predictions; where the rule picks a threshold, it stands in their column `threshold`.

    Args:
        table: predictions of validation and, below them, of the test split.
        val_rows: how many rows are of validation; may be 0 where the rule picks no threshold.
        facts: of the data.
        rule: `evaluation.decision`.
    """
    decision = choose_decision(table[:val_rows], facts, rule)
    test = table[val_rows:].reset_index(drop=True)
    return test if decision == "argmax" else test.assign(threshold=decision)


def score_table(table: pd.DataFrame, facts: Facts, decision: Decision | None = None) -> Entries:
    """Every metric of a predictions table; without a decision by its column `threshold`, or by argmax without that."""
    if facts.task == "regression":
        assert facts.target_mean is not None
        return regression_metrics(table, names=facts.classes, no_skill=facts.target_mean)
    if decision is None:
        decision = float(table["threshold"].iloc[0]) if "threshold" in table else "argmax"
    return classification_metrics(table, task=facts.task, classes=facts.classes, decision=decision)


def restrict_to_classes(table: pd.DataFrame, facts: Facts, classes: Sequence[str]) -> tuple[pd.DataFrame, Facts]:
    """Predictions of samples of some classes, as if there were no others.

    Args:
        table: predictions of samples with one class each.
        facts: of the data.
        classes: the classes to keep.

    Returns:
        The table of these samples, whose probabilities of these classes sum to 1, and its facts.
    """
    positions = [facts.classes.index(name) for name in classes]
    kept = table[table["target"].isin(positions)].reset_index(drop=True)
    columns = [f"prob/{name}" for name in classes]
    given = kept[columns].to_numpy()
    total = given.sum(axis=1, keepdims=True)
    # All probabilities may be 0: then no class is more probable than another.
    probabilities = np.where(total > 0, given / np.where(total > 0, total, 1), 1 / len(classes))
    restricted = kept[["sample_id", "group_id"]].assign(target=kept["target"].map(positions.index))
    restricted[columns] = probabilities
    task = "binary" if len(classes) == 2 else facts.task
    return restricted, Facts.from_dict({**facts.to_dict(), "task": task, "classes": list(classes)})
