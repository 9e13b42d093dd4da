"""From a finished classifier's probabilities to its decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts, Task
from vesalius.metrics.decision.confidence import confidence
from vesalius.metrics.decision.conformal import ConformalSets
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.predictions import Decision, decide


@dataclass(frozen=True)
class DecisionRule:
    """What validation chose, applied to any probabilities.

    Attributes:
        task: as in `Facts`.
        classes: the K class names.
        threshold: probability of class 1 of a binary task (or of each label) above which it is predicted; NaN: argmax.
        calibration: of the net's probabilities; None of a run that has none.
        sets: prediction sets; None of a run that has none.
        least_confidence: below which a sample is left to a person; None of a run that decides all.
    """

    task: Task
    classes: tuple[str, ...]
    threshold: float
    calibration: Calibration | None = None
    sets: ConformalSets | None = None
    least_confidence: float | None = None

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], facts: Facts) -> "DecisionRule":
        """The rule of a run, from the content of its `metrics.json`.

        Raises:
            InputError: where this is not what a run writes.
        """
        decision = metrics.get("decision") or {}
        if not isinstance(decision, Mapping):
            raise InputError("metrics.json: decision is not what a run writes: evaluate the run again.")
        threshold, cut = decision.get("threshold"), metrics.get("abstain")
        least = cut.get("confidence") if isinstance(cut, Mapping) else None
        if cut is not None and (not isinstance(least, float) or facts.task in ("multilabel", "regression")):
            raise InputError("metrics.json: abstain is not what a run writes: evaluate the run again.")
        return cls(
            facts.task,
            facts.classes,
            threshold if isinstance(threshold, int | float) else np.nan,
            Calibration.of_metrics(metrics, facts.num_classes),
            ConformalSets.of_metrics(metrics, facts.num_classes),
            least,
        )

    def decide(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Names of the predicted classes; of several labels joined by `|`.

        Args:
            probabilities: (N, K), as the net gives them.
        """
        thresholds = np.full(len(probabilities), self.threshold)
        return self._names(decide(probabilities, self.task, thresholds))

    def calibrate(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (N, K) of those that the net gives (N, K), in the same order of samples and classes.

        They are for people to read: decisions are taken on the net's own, which the threshold belongs to.
        """
        return probabilities if self.calibration is None else self.calibration.apply(probabilities)

    def prediction_sets(self, probabilities: NDArray[np.float64]) -> list[str] | None:
        """Names of the classes in each prediction set, joined by `|`; empty where no class is probable enough.

        Args:
            probabilities: (N, K), as the net gives them.

        Returns:
            None where the run has no sets.
        """
        return None if self.sets is None else self._names(self.sets.contains(self.calibrate(probabilities)))

    def abstains(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """(N,) which decisions are left to a person, since they are less sure than the run's cut.

        Args:
            probabilities: (N, K), as the net gives them.

        Returns:
            None where the run decides all.
        """
        if self.least_confidence is None or self.calibration is None:
            return None
        decision: Decision = "argmax" if np.isnan(self.threshold) else self.threshold
        sure = confidence(probabilities, self.task, self.calibration, decision)[:, 0]
        return np.asarray(sure < self.least_confidence)

    def _names(self, held: NDArray[np.bool_]) -> list[str]:
        names = np.array(self.classes)
        return ["|".join(names[row]) for row in held]
