"""An ensemble, computed by torch member by member."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from vesalius.data.formats.acquisition import AcquisitionRange
from vesalius.deploy.backend import Outputs
from vesalius.deploy.ensemble.folder import EnsembleFolder
from vesalius.deploy.ensemble.members import calibrated
from vesalius.deploy.ensemble.module import EnsembleModule
from vesalius.deploy.inputs import ModelInput
from vesalius.deploy.run_backend import RunBackend
from vesalius.metrics.classification.decision_rule import DecisionRule


class EnsembleBackend:
    """The best checkpoints of several runs as one model.

    Args:
        folder: of a finished ensemble.

    Attributes:
        members: each member's own backend.
        ood: of the first member, whose features stand for all.
        sha256: of `ensemble.json`, which holds the hashes of the members' files.

    Raises:
        InputError: for a folder without a finished ensemble, or whose files were changed.
    """

    def __init__(self, folder: str | Path) -> None:
        ensemble = EnsembleFolder(folder)
        self.members = [RunBackend(path) for path in ensemble.members]
        self.facts, contract = self.members[0].facts, self.members[0].contract
        acquired = AcquisitionRange.union(member.contract.acquisition for member in self.members)
        self.contract = dataclasses.replace(contract, acquisition=acquired)
        self.metrics: Mapping[str, Any] = ensemble.metrics
        self.ood = self.members[0].ood
        self.sha256 = ensemble.sha256
        self._rules = [DecisionRule.of_metrics(member.metrics, member.facts) for member in self.members]

    @cached_property
    def module(self) -> pl.LightningModule:
        """One module that averages the members."""
        return EnsembleModule([member.module for member in self.members], self._rules)

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        """The mean of the members' calibrated probabilities, or of their targets; and the first member's features."""
        outputs = [member.compute(inputs) for member in self.members]
        values = [calibrated(output.values, rule) for output, rule in zip(outputs, self._rules, strict=True)]
        return Outputs(np.mean(values, axis=0), outputs[0].features)
