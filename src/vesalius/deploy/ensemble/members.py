"""The members of an ensemble: finished runs that take the same inputs and give the same outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.contract import InputContract
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.models.family import output_kind
from vesalius.runs.outcome import read_table
from vesalius.runs.run import Run
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

#: The facts that all members share; others, such as the mean of the training images, follow from the split.
SHARED_FACTS = ("task", "classes", "channels", "image_size", "value_max")


@dataclass(frozen=True)
class Member:
    """A finished run, as part of an ensemble.

    Attributes:
        run: the run.
        facts: of its data.
        contract: what its inputs must be.
        rule: its calibration.
    """

    run: Run
    facts: Facts
    contract: InputContract
    rule: DecisionRule

    @property
    def folder(self) -> RunFolder:
        """Where it lies."""
        assert self.run.folder is not None
        return self.run.folder

    def table(self, split: str) -> pd.DataFrame:
        """Its predictions of a split, with calibrated probabilities; rows in the order of the samples' ids.

        Raises:
            InputError: where the run has no such table, or one without a number for each class or continuous target.
        """
        table = read_table(self.run, f"{split}.csv").sort_values("sample_id", ignore_index=True)
        columns = output_columns(self.facts)
        if missing := [name for name in columns if name not in table]:
            raise InputError(f"predictions/{split}.csv of {self.run.name} has no column {', '.join(missing)}.")
        try:
            values = table[columns].to_numpy(dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"predictions/{split}.csv of {self.run.name} has text where numbers are.") from None
        return table.assign(**dict(zip(columns, calibrated(values, self.rule).T, strict=True)))


def calibrated(values: Any, rule: DecisionRule) -> Any:
    """Calibrated probabilities (N, K) of those that a net gives; continuous targets as they are."""
    return values if rule.task == "regression" else rule.calibrate(values)


def output_columns(facts: Facts) -> list[str]:
    """The columns of a predictions table that a model fills."""
    prefix = "pred" if facts.task == "regression" else "prob"
    return [f"{prefix}/{name}" for name in facts.classes]


def read_members(runs: Sequence[Run]) -> list[Member]:
    """The runs as members of one ensemble.

    Args:
        runs: finished.

    Raises:
        InputError: for fewer than two runs, for models that predict no targets, and for runs whose inputs or outputs
            differ, with every difference.
    """
    if len(runs) < 2:
        raise InputError(f"runs: an ensemble takes at least 2 finished runs, and there is {len(runs)}: name more.")
    members = [_member(run) for run in runs]
    first = members[0]
    problems = [f"runs: {first.run.name} and {other.run.name} differ in {'; '.join(found)}." for other in members[1:]
                if (found := _differences(first, other))]  # fmt: skip
    if problems:
        raise InputError([*problems, "An ensemble needs members that take the same images and predict the same."])
    return members


def _member(run: Run) -> Member:
    assert run.folder is not None
    checkpoint = load_checkpoint(run.folder.best)
    kind = output_kind(restore_model(checkpoint))
    if kind != "targets":
        raise InputError(
            f"runs: {run.name} predicts neither classes nor continuous targets: name runs of model=cnn or model=lstm."
        )
    facts = Facts.from_dict(checkpoint["facts"])
    contract = InputContract.of_run(run.folder.config["data"], facts, checkpoint["provenance"].get("acquisition"))
    return Member(run, facts, contract, DecisionRule.of_metrics(run.folder.metrics, facts))


def _differences(first: Member, other: Member) -> list[str]:
    """In what two members differ, of what they must share."""
    pairs: dict[str, tuple[Any, Any]] = {
        name.replace("_", " "): (getattr(first.facts, name), getattr(other.facts, name)) for name in SHARED_FACTS
    }
    own, others = vars(first.contract), vars(other.contract)
    pairs |= {
        name.replace("_", " "): (own[name], others[name]) for name in own if name not in (*SHARED_FACTS, "acquisition")
    }
    return [f"{name} ({_short(one)}, {_short(two)})" for name, (one, two) in pairs.items() if one != two]


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return "x".join(map(str, value)) if all(isinstance(one, int) for one in value) else ", ".join(map(str, value))
    return str(value)
