"""The predictions table of a split: the only thing that final numbers are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.groups import number_groups

Decision = Literal["argmax"] | float

#: Softmax outputs that went through half precision and a text file still sum to 1 within this.
SUM_TOLERANCE = 5e-3


@dataclass(frozen=True)
class Predictions:
    """A checked predictions table of classes as arrays, N samples and K classes.

    Attributes:
        task: as in `vesalius.config.facts.Facts`.
        classes: the K class names.
        truth: (N, K) whether a sample has a class.
        probabilities: (N, K) in 0..1.
        decided: (N, K) whether a class is predicted for a sample.
        groups: (N,) number of the sample's patient, 0..G-1 (`number_groups`).
    """

    task: Task
    classes: tuple[str, ...]
    truth: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    decided: NDArray[np.bool_]
    groups: NDArray[np.int64]

    @property
    def single_label(self) -> bool:
        """Whether each sample has exactly one class."""
        return self.task != "multilabel"

    @property
    def group_count(self) -> int:
        """Number of patients."""
        return int(self.groups.max()) + 1


def target_columns(task: Task, classes: Sequence[str]) -> list[str]:
    """Names of the columns that hold the true classes."""
    return [f"target/{name}" for name in classes] if task == "multilabel" else ["target"]


def check_predictions(table: pd.DataFrame, *, task: Task, classes: Sequence[str], name: str = "predictions") -> None:
    """Refuse a table of class probabilities whose metrics would be meaningless.

    Args:
        table: a predictions table.
        task: how classes relate to a sample.
        classes: class names, in the order of the model's outputs.
        name: of the table in messages, such as the path of its file.

    Raises:
        InputError: every problem found, with the column and the number of rows.
    """
    columns = [*target_columns(task, classes), *(f"prob/{label}" for label in classes)]
    problems = sample_problems(table, columns, name, f"task {task} with classes {', '.join(classes)} needs it")
    if task == "binary" and len(classes) != 2:
        problems.insert(0, f"{name}: a binary task has 2 classes, not {len(classes)}; use task multiclass.")
    problems += _truth_problems(table, task, classes, name) + _probability_problems(table, task, classes, name)
    if problems:
        raise InputError(problems)


def sample_problems(table: pd.DataFrame, columns: Sequence[str], name: str, need: str) -> list[str]:
    """Problems with the samples and patients of any predictions table.

    Args:
        table: a predictions table.
        columns: that it must have besides `sample_id` and `group_id`.
        name: of the table in messages.
        need: ending of the message about a missing column: what needs it, or where it comes from.

    Raises:
        InputError: for missing columns or a table without rows, of which nothing else can be checked.
    """
    missing = [column for column in ("sample_id", "group_id", *columns) if column not in table.columns]
    if missing:
        raise InputError(f"{name}: no column {', '.join(missing)}; {need}.")
    if table.empty:
        raise InputError(f"{name}: the table has no rows; give a split that has samples.")
    problems = []
    if table["sample_id"].duplicated().any():
        first = table.loc[table["sample_id"].duplicated(), "sample_id"].iloc[0]
        problems.append(f"{name}: sample_id {first!r} appears twice; each sample counts once.")
    for column in ("sample_id", "group_id"):
        if table[column].isna().any():
            problems.append(f"{name}: {int(table[column].isna().sum())} rows have no {column}; fill it in.")
    return problems


def number_problems(table: pd.DataFrame, columns: Sequence[str], name: str, cure: str) -> list[str]:
    """Problems with columns that must hold finite numbers; `cure`: ending of the messages."""
    return [
        f"{name}: {bad} rows have no finite number in {column}; {cure}."
        for column in columns
        if (bad := int((~np.isfinite(pd.to_numeric(table[column], errors="coerce"))).sum()))
    ]


def _truth_problems(table: pd.DataFrame, task: Task, classes: Sequence[str], name: str) -> list[str]:
    allowed = range(2) if task == "multilabel" else range(len(classes))
    return [
        f"{name}: {int(bad.sum())} rows have a value in {column} that is not in {allowed.start}..{allowed.stop - 1};"
        " give the index of a class (0 or 1 for multilabel)."
        for column in target_columns(task, classes)
        if (bad := ~table[column].isin(allowed)).any()
    ]


def _probability_problems(table: pd.DataFrame, task: Task, classes: Sequence[str], name: str) -> list[str]:
    problems = []
    columns = [f"prob/{label}" for label in classes]
    for column in columns:
        try:
            values = table[column].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"{name}: column {column} holds text; it must hold numbers between 0 and 1.")
            continue
        if not np.isfinite(values).all():
            problems.append(
                f"{name}: {int((~np.isfinite(values)).sum())} values of {column} are NaN or infinite;"
                " the model has diverged or its input is broken: lower the learning rate or inspect the images."
            )
        elif values.min() < 0 or values.max() > 1:
            problems.append(f"{name}: {column} has values outside 0..1; give probabilities, not logits.")
    if not problems and task != "multilabel":
        off = np.abs(table[columns].to_numpy(dtype=np.float64).sum(axis=1) - 1) > SUM_TOLERANCE
        if off.any():
            problems.append(
                f"{name}: the probabilities of {int(off.sum())} rows do not sum to 1; apply softmax to the logits."
            )
    return problems


def read_predictions(
    table: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    decision: Decision | NDArray[np.float64] = "argmax",
    name: str = "predictions",
) -> Predictions:
    """Check a table of class probabilities and turn it into arrays.

    Args:
        table: a predictions table, rows in any order.
        task: how classes relate to a sample.
        classes: class names, in the order of the model's outputs.
        decision: `argmax` (for multilabel: above 0.5), or the probability above which class 1 of a binary task (or
            each label of a multilabel task) is predicted; (N,) of them where one table holds samples of several
            models, NaN for argmax.
        name: of the table in messages.

    Raises:
        InputError: see `check_predictions`; also for a threshold in a task that has none.
    """
    check_predictions(table, task=task, classes=classes, name=name)
    thresholds = np.broadcast_to(np.nan if isinstance(decision, str) else decision, len(table))
    if not np.isnan(thresholds).all() and task not in ("binary", "multilabel"):
        given = decision if isinstance(decision, float | int) else "column threshold"
        raise InputError(f"decision={given}: a {task} task is decided by argmax; set decision=argmax.")
    probabilities = table[[f"prob/{label}" for label in classes]].to_numpy(dtype=np.float64)
    truth = table[target_columns(task, classes)].to_numpy(dtype=np.int64)
    if task != "multilabel":
        truth = truth == np.arange(len(classes))
    return Predictions(
        task=task,
        classes=tuple(classes),
        truth=truth.astype(np.bool_),
        probabilities=probabilities,
        decided=decide(probabilities, task, thresholds),
        groups=number_groups(table["group_id"]),
    )


def decide(probabilities: NDArray[np.float64], task: Task, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which classes are predicted.

    Args:
        probabilities: (N, K) in 0..1.
        task: as in `Facts`.
        thresholds: (N,) above which class 1 of a binary task, or each label of a multilabel one, is predicted; NaN for
            argmax (for multilabel: 0.5).

    Returns:
        (N, K).
    """
    if task == "multilabel":
        return np.asarray(probabilities > np.nan_to_num(thresholds, nan=0.5)[:, None])
    chosen = probabilities.argmax(axis=1)
    if task == "binary":
        chosen = np.where(np.isnan(thresholds), chosen, probabilities[:, 1] > thresholds)
    return np.asarray(chosen[:, None] == np.arange(probabilities.shape[1]))
