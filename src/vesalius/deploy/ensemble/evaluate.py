"""The numbers of an ensemble: its own, from the mean of its members' predictions, and the members' next to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts, Task
from vesalius.deploy.ensemble.members import Member, calibrated, output_columns
from vesalius.deploy.ensemble.predictions import Pooled, pool
from vesalius.evaluation.base import SCHEMA, Entries, Metrics
from vesalius.evaluation.decision import DecisionOptions, fit_decision, score_decision
from vesalius.evaluation.monitoring.shift import observe_predictions
from vesalius.evaluation.scoring import score_splits
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.entry import MetricEntry, mean_no_skill
from vesalius.metrics.shift.sentinel import reference_of

#: Kinds of statistics that do not depend on what the ensemble predicts.
_OF_IMAGES = ("intensity", "distance")
#: Metrics in which members are compared with the ensemble, by whether the task has classes.
_OF_CLASSES, _OF_TARGETS = ("auroc", "brier", "ece"), ("mae", "rmse", "r2")


def evaluate_ensemble(
    members: Sequence[Member], options: DecisionOptions, *, seed: int = 0
) -> tuple[Metrics, dict[str, pd.DataFrame]]:
    """Evaluate the mean of the members, from their predictions tables.

    Threshold, calibration and prediction sets are the ensemble's own, fitted on validation: on the mean over all
    members where they share their validation patients, else on each sample's prediction by the members that did not
    learn from it. Test metrics are the ensemble's only where all members have the same test samples.

    Args:
        members: that agree with each other (`read_members`).
        options: how decisions are taken.
        seed: of the bootstrap.

    Returns:
        The content of `metrics.json`: as of a run, with `ensemble` (metrics of its calibrated probabilities), `members`
        (by name: the same of theirs, and `<metric>_difference`, the ensemble's minus theirs), `members_mean` (the same
        of their mean), and `out_of_fold` where members have different patients in a split. And the tables to write by
        name.
    """
    facts, names = members[0].facts, member_names(members)
    val, test = pool(members, "val"), pool(members, "test")
    computed = _Metrics.of(members, seed)
    tables = {"val": val.own} | ({"test": test.own} if test.whole else {})
    metrics = score_mean(tables, facts, options)
    metrics.setdefault("test", {})
    held_out = val if test.whole else test
    if not held_out.whole:
        tables["out_of_fold"] = held_out.table
        metrics["out_of_fold"] = computed.entries([held_out.table])
    metrics |= _reference(members, val, facts, metrics)
    if not val.whole:  # of single members, and not the ensemble's
        del metrics["val"], tables["val"]
    if test.whole:
        metrics |= _compare(test, names, DecisionRule.of_metrics(metrics, facts), computed)
    else:
        own = {name: (member.run.results or {}).get("test") or {} for name, member in zip(names, members, strict=True)}
        metrics["members"] = {name: {key: of[key] for key in compared(facts) if key in of} for name, of in own.items()}
    return {"schema": SCHEMA, **metrics}, tables


def score_mean(predictions: Mapping[str, pd.DataFrame], facts: Facts, options: DecisionOptions) -> Metrics:
    """Metrics and decisions of the mean of the members.

    Args:
        predictions: its tables of `val`, and of `test` where it has one.
        facts: of the members' data.
        options: how decisions are taken.
    """
    metrics = score_splits(predictions, facts, options.rule)
    if facts.task == "regression":
        return metrics
    fitted = fit_decision(predictions["val"], facts, options, metrics["decision"]["threshold"])
    fitted |= {"decision": metrics["decision"]}
    if "test" not in predictions:
        return metrics | fitted
    return metrics | score_decision(predictions["test"], facts, fitted, prevalence=options.prevalence)


def decision_options(configs: Sequence[Mapping[str, Any]], rule: str | None, task: Task) -> DecisionOptions:
    """How decisions are taken: as the members' runs do.

    Args:
        configs: of the members.
        rule: in place of theirs; None: theirs.
        task: of all.

    Raises:
        InputError: where members decide by several rules, and for a rule that the task does not allow.
    """
    options = [DecisionOptions.of_config(config["evaluation"]) for config in configs]
    rules = list(dict.fromkeys(one.rule for one in options))
    if rule is None and len(rules) > 1:
        raise InputError(f"decision: the members decide by {' and by '.join(rules)}: choose one with decision=.")
    chosen = replace(options[0], rule=rule or rules[0])
    chosen.check(task)
    return chosen


def member_names(members: Sequence[Member]) -> list[str]:
    """A name for each member, no two alike."""
    names = [member.run.name for member in members]
    return [f"{name} ({at})" if names.count(name) > 1 else name for at, name in enumerate(names)]


def compared(facts: Facts) -> tuple[str, ...]:
    """The metrics in which members are compared with the ensemble."""
    return _OF_TARGETS if facts.task == "regression" else _OF_CLASSES


@dataclass(frozen=True)
class _Metrics:
    """Metrics of tables, the no-skill values of continuous targets filled in, which tables do not hold."""

    facts: Facts
    seed: int
    no_skill: Mapping[str, float | None]

    @classmethod
    def of(cls, members: Sequence[Member], seed: int) -> "_Metrics":
        facts, own = members[0].facts, [(member.run.results or {}).get("test") or {} for member in members]
        shared = [metric for metric in compared(facts) if all(metric in test for test in own)]
        return cls(facts, seed, {metric: mean_no_skill(test[metric] for test in own) for metric in shared})

    def entry(self, tables: Sequence[pd.DataFrame], metric: str) -> MetricEntry:
        facts = self.facts
        found = repeated_metric(tables, metric=metric, task=facts.task, classes=facts.classes, seed=self.seed)
        return found if found["no_skill"] is not None else {**found, "no_skill": self.no_skill.get(metric)}

    def entries(self, tables: Sequence[pd.DataFrame]) -> Entries:
        return {metric: self.entry(tables, metric) for metric in compared(self.facts)}

    def differences(self, own: pd.DataFrame, tables: Sequence[pd.DataFrame], count: int) -> Entries:
        kind: dict[str, Any] = {"task": self.facts.task, "classes": self.facts.classes, "seed": self.seed}
        return {
            f"{metric}_difference": repeated_difference(
                [own] * len(tables), tables, metric=metric, differences=count, **kind
            )
            for metric in compared(self.facts)
        }


def _reference(
    members: Sequence[Member], val: Pooled, facts: Facts, metrics: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Statistics of validation: of the images those that the first member kept, of predictions the ensemble's own.

    Where members have different validation patients the ensemble predicts none of them, and only images are kept.
    """
    kept = (members[0].run.results or {}).get("reference")
    if kept is None:
        return {}
    of_images = {name: values for name, values in kept["quantiles"].items() if name.split("/")[0] in _OF_IMAGES}
    if not val.whole:
        return {"reference": {"n": kept["n"], "patients": kept["patients"], "quantiles": of_images}}
    own = reference_of(observe_predictions(val.own, facts, metrics), facts.classes)
    return {"reference": {**own, "quantiles": {**own["quantiles"], **of_images}}}


def _compare(test: Pooled, names: Sequence[str], rule: DecisionRule, computed: _Metrics) -> dict[str, Any]:
    """The members next to the ensemble, all with calibrated probabilities, paired by patient."""
    columns = output_columns(computed.facts)
    values = calibrated(test.own[columns].to_numpy(float), rule)
    own = test.own.assign(**dict(zip(columns, values.T, strict=True)))
    of_members = {
        name: computed.entries([table]) | computed.differences(own, [table], len(names))
        for name, table in zip(names, test.members, strict=True)
    }
    mean = computed.entries(test.members) | computed.differences(own, test.members, 1)
    return {"ensemble": computed.entries([own]), "members_mean": mean, "members": of_members}
