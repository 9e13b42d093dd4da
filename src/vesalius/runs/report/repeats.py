"""Arms of a report: runs that differ in nothing but seed and fold, judged together.

Folds whose test samples are different ones are put together, so that each patient is judged once, by a model that has
not seen it. Seeds that were judged on the same patients are repeats (`vesalius.evaluation.repeated`). Where each seed
has a split of its own, patients overlap between repeats in no tidy way; the interval then takes the mean margin of the
single repeats, as if all shared their patients, and adds that of a t interval over the repeats, less the variance that
their patients explain: rather too wide than too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.evaluation.intervals import t_quantile
from vesalius.evaluation.repeated import repeated_difference, repeated_metric
from vesalius.runs.report.collect import ReportRun

Metric = dict[str, Any]
_ANSWERS = ("prob/", "pred/")
#: Metrics of these tasks can be computed anew from predictions tables.
_FROM_TABLES = ("binary", "multiclass", "multilabel", "regression", "reconstruction")
_NORMAL = 1.96  # half the width of a 95 % interval, in standard errors
_OWN_SPLITS = "each repeat has its own test patients"


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


def arms_of(runs: Sequence[ReportRun], keys: Mapping[str, Sequence[str]]) -> list[Arm]:
    """Group runs by what varies, in the order in which the arms appear.

    Args:
        runs: of one report.
        keys: `collect.varying` of these runs.
    """
    by_values: dict[tuple[str, ...], list[ReportRun]] = {}
    for at, run in enumerate(runs):
        by_values.setdefault(tuple(values[at] for values in keys.values()), []).append(run)
    return [
        Arm(_name(dict(zip(keys, values, strict=True))), dict(zip(keys, values, strict=True)), members)
        for values, members in by_values.items()
    ]


def _name(values: Mapping[str, str]) -> str:
    """`gru` where one word tells it all, else `model=gru lr=0.1`, without what was not set."""
    if len(values) == 1 and (word := next(iter(values.values())))[:1].isalpha():
        return word
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items() if value != "–") or "as it is"


def validation_mean(arm: Arm) -> float | None:
    """Mean of the monitored metric of the best checkpoints; None before a run is finished."""
    values = [run.best[0] for run in arm.finished if run.best is not None]
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
    judged = _judge(runs, metric, task)
    floors = [entry["no_skill"] for entry in entries]
    told: Metric = judged if judged is not None else combined(entries)
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
    return combined([repeated_metric([table], **kind) for table in repeats])


def arm_difference(first: Arm, second: Arm, metric: str, task: str) -> Metric | None:
    """First minus second over the repeats that both have; None where they have none, or cannot be paired.

    Raises:
        InputError: for predictions tables that are not what the run wrote.
    """
    if task not in _FROM_TABLES:
        return None
    ours, theirs = _by_repeat(first.finished), _by_repeat(second.finished)
    shared = [key for key in ours if key in theirs]
    if not shared:
        return None
    tables = [list(_pooled([arm[key] for key in shared]).values()) for arm in (ours, theirs)]
    kind: dict[str, Any] = {"metric": metric, "task": task, "classes": _classes([*tables[0], *tables[1]])}
    if len(tables[0]) != len(tables[1]) or not all(map(_same_samples, zip(*tables, strict=True))):
        return None
    if _same_samples(tables[0]):
        return repeated_difference(*tables, **kind)
    return combined([repeated_difference([a], [b], **kind) for a, b in zip(*tables, strict=True)], bounded=False)


def combined(entries: Sequence[Metric], *, bounded: bool = True) -> Metric:
    """The mean of entries of `metrics.json` that cannot be judged together, with an interval that is wide enough.

    Args:
        entries: one a repeat.
        bounded: take intervals on the logit scale where all numbers lie between 0 and 1; not for differences.
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
    mean = float(numbers[:, 0].mean())
    logit = bounded and bool(((numbers > 0) & (numbers < 1)).all())
    scaled, middle = (np.log(numbers / (1 - numbers)), np.log(mean / (1 - mean))) if logit else (numbers, mean)
    of_repeats = _of_repeats(scaled)
    low = middle - np.hypot(middle - scaled[:, 1].mean(), of_repeats)
    high = middle + np.hypot(scaled[:, 2].mean() - middle, of_repeats)
    low, high = (1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))) if logit else (low, high)
    if bounded and ((numbers >= 0) & (numbers <= 1)).all():
        low, high = max(0.0, low), min(1.0, high)
    method = f"mean margin and t interval, {len(told)} repeats; {_OWN_SPLITS}"
    return outline | {"value": mean, "ci95": [float(low), float(high)], "method": method}


def _of_repeats(scaled: NDArray[np.float64]) -> float:
    """Half of a t interval over the repeats, (T, 3) values with their ends, beyond what their patients explain."""
    count = len(scaled)
    if count < 2:
        return 0.0
    of_patients = float(np.mean(((scaled[:, 2] - scaled[:, 1]) / (2 * _NORMAL)) ** 2))
    between = max(0.0, float(scaled[:, 0].var(ddof=1)) - of_patients)
    return float(t_quantile(count - 1) * np.sqrt(between / count))


def _by_repeat(runs: Sequence[ReportRun]) -> dict[tuple[Any, ...], ReportRun]:
    """Runs by what pairs them: seed, seed of the data, fold, and a count of those that are equal even so."""
    told: dict[tuple[Any, ...], ReportRun] = {}
    for run in runs:
        key = (run.seed, (run.config.get("data") or {}).get("seed"), run.fold)
        told[(*key, sum(known[:-1] == key for known in told))] = run
    return told


def _pooled(runs: Sequence[ReportRun]) -> dict[Any, pd.DataFrame]:
    """One predictions table a repeat: folds of a seed together where they share no sample."""
    by_seed: dict[Any, list[ReportRun]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    pooled: dict[Any, pd.DataFrame] = {}
    for seed, members in by_seed.items():
        tables = [test_table(run) for run in members]
        whole = pd.concat(tables, ignore_index=True)
        if len(members) > 1 and not whole["sample_id"].duplicated().any():
            pooled[seed] = whole
        else:
            pooled |= {(seed, at): table for at, table in enumerate(tables)}
    return pooled


def test_table(run: ReportRun) -> pd.DataFrame:
    """Predictions of the test split, ids as they were written.

    Raises:
        InputError: where the table is gone or is not one.
    """
    assert run.folder is not None
    path = run.folder.predictions / "test.csv"
    try:
        return pd.read_csv(path, dtype={"sample_id": str, "group_id": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"predictions/test.csv of {run.name} cannot be read: {error}") from error


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
