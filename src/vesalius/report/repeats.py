"""Arms of a report: runs that differ in nothing but seed and fold, judged together.

Folds whose test samples are different ones are put together, so that each patient is judged once, by a model that has
not seen it. Seeds that were judged on the same patients are repeats (`metrics.comparison.repeated`). Where each seed
has a split of its own, patients overlap between repeats in no tidy way; the interval then takes the mean margin of the
single repeats, as if all shared their patients, and adds that of a t interval over the repeats, less the variance that
their patients explain: rather too wide than too narrow.

Each run decides as its own metrics do: by argmax, or by the threshold that was tuned on its validation patients.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.comparison.repeated import repeated_difference, repeated_metric
from vesalius.metrics.intervals.clustered import t_quantile
from vesalius.metrics.intervals.scales import Scale, scale_of
from vesalius.report.collect import ReportRun
from vesalius.report.experiments import experiments_of, varying
from vesalius.report.reading import why

Metric = dict[str, Any]
_ANSWERS = ("prob/", "pred/")
#: Metrics of these tasks can be computed anew from predictions tables.
_FROM_TABLES = ("binary", "multiclass", "multilabel", "regression", "reconstruction")
_NORMAL = 1.96  # half the width of a 95 % interval, in standard errors
_OWN_SPLITS = "; each repeat has its own test patients"

Repeat = tuple[Any, ...]


@dataclass(frozen=True)
class Arm:
    """Runs that are repeats of one experiment.

    Attributes:
        name: the values that set it apart.
        values: the same by key.
        runs: finished or not.
    """

    name: str
    values: Mapping[str, str]
    runs: list[ReportRun]

    @property
    def finished(self) -> list[ReportRun]:
        """Those with results."""
        return [run for run in self.runs if run.results is not None]


def arms_of(runs: Sequence[ReportRun]) -> list[Arm]:
    """Group runs by experiment, in the order in which these appear.

    Args:
        runs: of one report.
    """
    members: dict[int, list[int]] = {}
    for at, number in enumerate(experiments_of(runs)):
        members.setdefault(number, []).append(at)
    keys = varying(runs)
    of_arm = [{key: values[places[0]] for key, values in keys.items()} for places in members.values()]
    return [
        Arm(_name(values), values, [runs[at] for at in places])
        for values, places in zip(of_arm, members.values(), strict=True)
    ]


def _name(values: Mapping[str, str]) -> str:
    """`gru` where one word tells it all, else `model=gru lr=0.1`, without what was not set."""
    if not values:
        return "all runs"
    if len(values) == 1 and (word := next(iter(values.values())))[:1].isalpha():
        return word
    short = [key.rpartition(".")[2] for key in values]
    told = {key: last if short.count(last) == 1 else key for key, last in zip(values, short, strict=True)}
    return " ".join(f"{told[key]}={value}" for key, value in values.items() if value != "–") or "as it is"


def validation_mean(arm: Arm, repeats: Collection[Repeat]) -> float | None:
    """Mean of the monitored metric of the best checkpoints of these repeats; None where none is finished."""
    values = [run.best[0] for key, run in by_repeat(arm.finished).items() if key in repeats and run.best is not None]
    return float(np.mean(values)) if values else None


def arm_metric(arm: Arm, metric: str, task: str) -> Metric | None:
    """The metric of an arm's finished runs together; None where no run has it.

    Raises:
        InputError: for predictions tables that are not what the run wrote.
    """
    runs = [run for run in arm.finished if metric in (run.results or {})["test"]]
    if not runs:
        return None
    entries = [(run.results or {})["test"][metric] for run in runs]
    if len(runs) == 1:
        return dict(entries[0])
    floors = [entry["no_skill"] for entry in entries]
    told = _judge(runs, metric, task) or combined(entries, scale_of(metric, task))
    if told.get("no_skill") is None and None not in floors:
        told["no_skill"] = float(np.mean(floors))
    return told


def _judge(runs: Sequence[ReportRun], metric: str, task: str) -> Metric | None:
    """From the predictions tables; None where these do not tell the metric."""
    if task not in _FROM_TABLES:
        return None
    repeats = list(_pooled(runs).values())
    kind: dict[str, Any] = {"metric": metric, "task": task, "classes": _classes(repeats)}
    if _same_samples(repeats):
        return repeated_metric(repeats, **kind)
    return combined([repeated_metric([table], **kind) for table in repeats], scale_of(metric, task), _OWN_SPLITS)


def arm_difference(first: Arm, second: Arm, metric: str, task: str) -> Metric:
    """First minus second over the repeats that both have; a reason in place of the value where they have no pairs.

    Raises:
        InputError: for predictions tables that are not what the run wrote.
    """
    if task not in _FROM_TABLES:
        return _unpaired(f"runs of the task {task} keep no table of answers that could be paired")
    ours, theirs = by_repeat(first.finished), by_repeat(second.finished)
    shared = [key for key in ours if key in theirs]
    if not shared:
        return _unpaired("they have no seed and fold in common")
    tables = [list(_pooled([arm[key] for key in shared]).values()) for arm in (ours, theirs)]
    kind: dict[str, Any] = {"metric": metric, "task": task, "classes": _classes([*tables[0], *tables[1]])}
    if len(tables[0]) != len(tables[1]) or not all(map(_same_samples, zip(*tables, strict=True))):
        return _unpaired("they were not tested on the same patients")
    if _same_samples(tables[0]):
        return repeated_difference(*tables, **kind)
    differences = [repeated_difference([a], [b], **kind) for a, b in zip(*tables, strict=True)]
    return combined(differences, Scale("plain"), _OWN_SPLITS)


def _unpaired(reason: str) -> Metric:
    nothing: Metric = {"value": None, "ci95": None, "n": 0, "groups": 0, "method": "none"}
    return nothing | {"no_skill": 0.0, "reason": reason}


def combined(entries: Sequence[Metric], scale: Scale, patients: str = "") -> Metric:
    """The mean of entries of `metrics.json` that cannot be judged together, with an interval that is wide enough.

    Args:
        entries: one a repeat.
        scale: on which intervals of the metric are symmetric; plain where a number lies at a bound of it.
        patients: what is known of the repeats' test patients, for `method`.
    """
    told = [entry for entry in entries if entry["value"] is not None and entry["ci95"] is not None]
    outline: Metric = {"value": None, "ci95": None, "n": max(entry["n"] for entry in entries), "method": "none"}
    outline |= {"groups": max(entry["groups"] for entry in entries), "no_skill": None}
    floors = [entry["no_skill"] for entry in entries]
    if None not in floors:
        outline["no_skill"] = float(np.mean(floors))
    if len(told) < len(entries):
        reasons = {str(entry.get("reason", "not computed")) for entry in entries if entry["value"] is None}
        return outline | {"reason": "; ".join(sorted(reasons))}
    numbers = np.array([[entry["value"], *entry["ci95"]] for entry in told], dtype=np.float64)
    mean = numbers[:, 0].mean()
    if not np.isfinite(scale.there(numbers)).all():
        scale = Scale("plain", scale.low, scale.high)
    scaled, middle = scale.there(numbers), scale.there(mean)
    of_repeats = _of_repeats(scaled)
    low = middle - np.hypot(middle - scaled[:, 1].mean(), of_repeats)
    high = middle + np.hypot(scaled[:, 2].mean() - middle, of_repeats)
    ends = scale.back(np.array([low, high])).tolist()
    method = f"mean margin and t interval, {len(told)} repeats{patients}"
    return outline | {"value": float(mean), "ci95": ends, "method": method}


def _of_repeats(scaled: NDArray[np.float64]) -> float:
    """Half of a t interval over the repeats, (T, 3) values with their ends, beyond what their patients explain."""
    count = len(scaled)
    if count < 2:
        return 0.0
    of_patients = float(np.mean(((scaled[:, 2] - scaled[:, 1]) / (2 * _NORMAL)) ** 2))
    between = max(0.0, float(scaled[:, 0].var(ddof=1)) - of_patients)
    return float(t_quantile(count - 1) * np.sqrt(between / count))


def by_repeat(runs: Sequence[ReportRun]) -> dict[Repeat, ReportRun]:
    """Runs by what pairs them: seed, seed of the data, fold, and a count of those that are equal even so."""
    told: dict[Repeat, ReportRun] = {}
    for run in runs:
        key = (run.seed, run.data_seed, run.fold)
        told[(*key, sum(known[:-1] == key for known in told))] = run
    return told


def _pooled(runs: Sequence[ReportRun]) -> dict[Repeat, pd.DataFrame]:
    """One predictions table a repeat: folds of a seed and a seed of the data together where they share no sample."""
    by_seed: dict[Repeat, list[ReportRun]] = {}
    for run in runs:
        by_seed.setdefault((run.seed, run.data_seed), []).append(run)
    pooled: dict[Repeat, pd.DataFrame] = {}
    for seeds, members in by_seed.items():
        tables = [test_table(run) for run in members]
        whole = pd.concat(tables, ignore_index=True)
        if len(members) > 1 and not whole["sample_id"].duplicated().any():
            pooled[seeds] = whole
        else:
            pooled |= {(*seeds, at): table for at, table in enumerate(tables)}
    return pooled


def test_table(run: ReportRun) -> pd.DataFrame:
    """Predictions of the test split, ids as they were written; with a column `threshold` where the run has one.

    Raises:
        InputError: where the table is gone or is not one.
    """
    assert run.folder is not None
    path = run.folder.predictions / "test.csv"
    try:
        table = pd.read_csv(path, dtype={"sample_id": str, "group_id": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"predictions/test.csv of {run.name} cannot be read: {why(error)}") from error
    if not {"sample_id", "group_id"} <= set(table.columns):
        raise InputError(f"predictions/test.csv of {run.name} names no samples and patients.")
    return table if run.decision == "argmax" else table.assign(threshold=run.decision)


def class_names(table: pd.DataFrame) -> list[str]:
    """Names of the classes or quantities that a predictions table answers for."""
    return [column.partition("/")[2] for column in table.columns if column.startswith(_ANSWERS)]


def _classes(tables: Sequence[pd.DataFrame]) -> list[str]:
    names = [class_names(table) for table in tables]
    if any(one != names[0] for one in names):
        raise InputError("runs answer for different classes, and cannot be judged together.")
    return names[0]


def _same_samples(tables: Sequence[pd.DataFrame]) -> bool:
    asked = [
        table[[name for name in table.columns if name in ("sample_id", "group_id") or name.startswith("target")]]
        .sort_values("sample_id", ignore_index=True)
        .astype(str)
        for table in tables
    ]
    return all(one.equals(asked[0]) for one in asked)
