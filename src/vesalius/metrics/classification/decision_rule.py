"""From a finished classifier's probabilities to its decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.config.facts import Facts, Task
from vesalius.metrics.predictions import decide


@dataclass(frozen=True)
class DecisionRule:
    """What validation chose, applied to any probabilities.

    Attributes:
        task: as in `Facts`.
        classes: the K class names.
        threshold: probability of class 1 of a binary task (or of each label) above which it is predicted; NaN: argmax.
    """

    task: Task
    classes: tuple[str, ...]
    threshold: float

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], facts: Facts) -> "DecisionRule":
        """The rule of a run, from the content of its `metrics.json`."""
        threshold = (metrics.get("decision") or {}).get("threshold")
        return cls(facts.task, facts.classes, threshold if isinstance(threshold, int | float) else np.nan)

    def decide(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Names of the predicted classes; of several labels joined by `|`.

        Args:
            probabilities: (N, K), as the net gives them.
        """
        names = np.array(self.classes)
        thresholds = np.full(len(probabilities), self.threshold)
        return ["|".join(names[row]) for row in decide(probabilities, self.task, thresholds)]
