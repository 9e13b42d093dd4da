"""Whether the files that a model is applied to are like those that it was validated on."""

from collections.abc import Sequence

import numpy as np

from vesalius.deploy.backend import Backend, Outputs
from vesalius.deploy.inputs import ModelInput
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.predictions import decide
from vesalius.metrics.shift.sentinel import Shift, compare
from vesalius.metrics.shift.statistics import Observations, image_statistics, output_statistics, stacked

#: Most inputs whose images are summarised; those that follow are not compared.
MOST = 20_000


class ShiftMonitor:
    """Collects statistics of a model's inputs and outputs, batch by batch.

    Args:
        backend: of the model.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._images: list[dict[str, float]] = []
        self._outputs: list[Outputs] = []

    def update(self, inputs: Sequence[ModelInput], outputs: Outputs) -> None:
        """Add a batch.

        Args:
            inputs: that were predicted.
            outputs: of these.
        """
        if len(self._images) < MOST and "reference" in self._backend.metrics:
            self._images += [image_statistics(one.images, self._backend.contract.value_max) for one in inputs]
            self._outputs.append(outputs)

    def result(self) -> Shift | None:
        """The comparison with validation; None where the run has kept no statistics, or nothing was predicted.

        Patients of files are not known: a patient is taken to have as many inputs as a validation patient had.

        Raises:
            InputError: for statistics that are not what a run writes.
        """
        if not self._outputs:
            return None
        facts, metrics, ood = self._backend.facts, self._backend.metrics, self._backend.ood
        values = np.concatenate([batch.values for batch in self._outputs]).astype(np.float64)
        regression = facts.task == "regression"
        rule = DecisionRule.of_metrics(metrics, facts)
        shown = values if regression else rule.calibrate(values)
        observed = Observations({**output_statistics(facts.classes, shown, regression=regression)})
        observed.values |= stacked(self._images)
        if not regression:
            observed.decided = decide(values, facts.task, np.full(len(values), rule.threshold))
        features = [batch.features for batch in self._outputs if batch.features is not None]
        if ood is not None and len(features) == len(self._outputs):
            observed.values["distance"] = np.concatenate([ood.score(part) for part in features])
        return compare(metrics["reference"], observed, single_label=facts.single_label)
