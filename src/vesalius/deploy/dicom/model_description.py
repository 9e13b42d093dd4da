"""What a report states about the model that it comes from."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vesalius import __version__
from vesalius.config.facts import Task
from vesalius.deploy.predictor import Predictor
from vesalius.metrics.classification.decision_rule import DecisionRule


@dataclass(frozen=True)
class ModelDescription:
    """A model as the device that observes.

    Attributes:
        task: as in `Facts`.
        classes: names of the classes, or of the continuous targets.
        sha256: of the model, see `Backend`.
        version: of this package.
        operating_point: how the threshold was chosen on validation: `argmax`, `youden`, `sensitivity@0.95`; empty where
            nothing is decided.
        thresholds: the probability above which each class is decided for that has one: class 1 of a binary task, every
            label of several. Calibrated, as the table's probabilities are.
        rates: sentences on the sensitivity and specificity of a binary task that the threshold has on the run's test
            split.
    """

    task: Task
    classes: tuple[str, ...]
    sha256: str
    version: str
    operating_point: str
    thresholds: Mapping[str, float]
    rates: tuple[str, ...] = ()

    @classmethod
    def of(cls, predictor: Predictor) -> "ModelDescription":
        """The description of a loaded model."""
        facts = predictor.facts
        decision = predictor.metrics.get("decision") or {}
        return cls(
            task=facts.task,
            classes=facts.classes,
            sha256=predictor.backend.sha256,
            version=__version__,
            operating_point=str(decision.get("rule") or ""),
            thresholds=_thresholds(predictor.rule),
            rates=tuple(_rates(predictor.metrics)),
        )

    @property
    def device_uid(self) -> str:
        """The UID of the device: equal for equal models."""
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, self.sha256).int}"

    @property
    def parameters(self) -> list[str]:
        """What the algorithm was set to, as sentences."""
        decided = [] if not self.operating_point else [f"operating point: {self.operating_point}"]
        decided += [f"{name} above a probability of {value:.6g}" for name, value in self.thresholds.items()]
        return [f"model SHA-256: {self.sha256}", *decided, *self.rates, "for research; no medical device"]


def _thresholds(rule: DecisionRule) -> dict[str, float]:
    if np.isnan(rule.threshold):
        return {}
    if rule.task == "binary":
        names, at = rule.classes[1:], np.array([[1 - rule.threshold, rule.threshold]])
    else:
        names, at = rule.classes, np.full((1, len(rule.classes)), rule.threshold)
    calibrated = rule.calibrate(at)[0, -len(names) :]
    return {name: float(value) for name, value in zip(names, calibrated, strict=True)}


def _rates(metrics: Mapping[str, Any]) -> Iterator[str]:
    test = (metrics.get("operating_point") or {}).get("test") or {}
    for name in ("sensitivity", "specificity"):
        entry = test.get(name) or {}
        value, interval = entry.get("value"), entry.get("ci95")
        if value is not None and interval is not None:
            low, high = interval
            yield f"{name} on the test split of its training: {value:.3f}, 95 % interval {low:.3f} to {high:.3f}"
