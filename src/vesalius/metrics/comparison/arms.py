"""One metric of an arm, and of the difference of two: runs that differ in nothing but seed and split, taken together.

Folds whose test samples are different ones are put together, so that each patient counts once, predicted by a model
that was not trained on it; ranking metrics are the mean of the folds' own, as scores of different models do not compare
(`metrics.classification.folds`). Seeds that were tested on the same patients are repeats
(`metrics.comparison.repeats`). Where each seed has a split of its own, patients overlap between repeats in no tidy way;
the interval then takes the mean margin of the single repeats, as if all shared their patients, and adds that of a t
interval over the repeats, less the variance that their patients explain: rather too wide than too narrow.

Each run decides as its own metrics do: by argmax, or by the threshold that was tuned on its validation patients.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.entry import Interval, MetricEntry, mean_no_skill, metric_entry, missing_entry, value_and_ends
from vesalius.metrics.intervals.clustered import t_quantile
from vesalius.metrics.intervals.transforms import Scale, scale_of

#: What pairs a run of one arm with one of another: seed, seed of the split, fold, and a count of runs equal in these.
Repeat = tuple[Any, ...]

#: Columns of predictions tables begin with one of these.
OUTPUTS = ("prob/", "pred/")
# Tasks whose metrics are not computed again from predictions tables: most need the images.
_WITHOUT_TABLES = ("synthesis", "anomaly")
_OWN_SPLITS = "; each repeat has its own test patients"


class Repeated(Protocol):
    """Something that was done once per seed and split."""

    @property
    def repeat(self) -> tuple[int | None, int | None, int | None]:
        """Seed of the training, seed of the split, and the fold that was held out."""


class RunResult(Repeated, Protocol):
    """What one run reached on its test split; see `vesalius.runs.outcome.Outcome`."""

    @property
    def metrics(self) -> Mapping[str, MetricEntry]:
        """Entries of its `metrics.json`."""

    @property
    def table(self) -> pd.DataFrame:
        """Its predictions table, with a column `threshold` where that decides classes."""


AnyRepeated = TypeVar("AnyRepeated", bound=Repeated)


def arm_metric(runs: Sequence[RunResult], metric: str, task: str, *, seed: int = 0) -> MetricEntry | None:
    """A metric of the runs of an arm together.

    Args:
        runs: finished repeats of one another.
        metric: name of a test metric.
        task: as `metrics.json` has it.
        seed: of the bootstrap.

    Returns:
        For one run its own entry; for several, the mean over repeats, of which the folds of one seed are one, with an
        interval over patients and repeats. None where no run has this metric.

    Raises:
        InputError: for predictions tables that are not what the run wrote.
    """
    runs = [run for run in by_repeat(runs).values() if metric in run.metrics]
    if not runs:
        return None
    entries = [run.metrics[metric] for run in runs]
    if len(runs) == 1:
        return MetricEntry(**entries[0])
    if task in _WITHOUT_TABLES:
        result = combine(entries, scale_of(metric, task))
    else:
        result = _recompute(list(_pool_folds(runs).values()), metric, task, seed)
    if result["no_skill"] is None:  # it depends on the training set, which the tables do not hold
        result["no_skill"] = mean_no_skill(entries)
    return result


def arm_difference(
    first: Sequence[RunResult],
    second: Sequence[RunResult],
    metric: str,
    task: str,
    *,
    seed: int = 0,
    differences: int = 1,
) -> MetricEntry:
    """First minus second over the repeats that both have; a reason in place of the value where they have no pairs.

    Args:
        first: finished runs of an arm.
        second: those of another.
        metric: name of a test metric.
        task: as `metrics.json` has it.
        seed: of the bootstrap.
        differences: how many are read together, such as those of several arms from one (`repeated_difference`).

    Raises:
        InputError: for predictions tables that are not what the run wrote.
    """
    if task in _WITHOUT_TABLES:
        return _no_difference(f"metrics of the task {task} are not paired sample by sample")
    ours, theirs = by_repeat(first), by_repeat(second)
    shared = [key for key in ours if key in theirs]
    if not shared:
        return _no_difference("they have no seed and fold in common")
    tables = [list(_pool_folds([arm[key] for key in shared]).values()) for arm in (ours, theirs)]
    kind: dict[str, Any] = {"metric": metric, "task": task, "seed": seed, "differences": differences}
    kind["classes"] = _shared_outputs([*tables[0], *tables[1]])
    if len(tables[0]) != len(tables[1]) or not all(map(same_samples, zip(*tables, strict=True))):
        return _no_difference("they were not tested on the same patients")
    if same_samples(tables[0]):
        return repeated_difference(*tables, **kind)
    pairs = [repeated_difference([a], [b], **kind) for a, b in zip(*tables, strict=True)]
    return combine(pairs, Scale("plain"), _OWN_SPLITS, differences=differences)


def combine(entries: Sequence[MetricEntry], scale: Scale, patients: str = "", *, differences: int = 1) -> MetricEntry:
    """The mean of entries whose predictions cannot be taken together, with an interval that is wide enough.

    Args:
        entries: one per repeat.
        scale: on which intervals of the metric are symmetric; plain where a number lies at a bound of it.
        patients: what is known of the repeats' test patients, for `method`.
        differences: how many are read together, as for the intervals of the entries.
    """
    known = [shown for entry in entries if (shown := value_and_ends(entry)) is not None]
    n, groups = max(entry["n"] for entry in entries), max(entry["groups"] for entry in entries)
    no_skill = mean_no_skill(entries)
    if len(known) < len(entries):
        reasons = {str(entry.get("reason", "not computed")) for entry in entries if entry["value"] is None}
        return missing_entry("; ".join(sorted(reasons)), n=n, groups=groups, no_skill=no_skill)
    numbers = np.array(known, dtype=np.float64)
    mean = numbers[:, 0].mean()
    if not np.isfinite(scale.transform(numbers)).all():
        scale = Scale("plain", scale.low, scale.high)
    scaled, middle = scale.transform(numbers), scale.transform(mean)
    of_repeats = _margin_of_repeats(scaled, differences)
    low = middle - np.hypot(middle - scaled[:, 1].mean(), of_repeats)
    high = middle + np.hypot(scaled[:, 2].mean() - middle, of_repeats)
    low, high = scale.inverse(np.array([low, high]))
    method = f"mean margin and t interval, {len(known)} repeats{patients}"
    entry = metric_entry(mean, Interval(low, high, method), n=n, groups=groups, no_skill=no_skill)
    return MetricEntry(**entry, repeats=len(known))


def by_repeat(runs: Iterable[AnyRepeated]) -> dict[Repeat, AnyRepeated]:
    """Runs by what pairs them, sorted by it."""
    found: dict[Repeat, AnyRepeated] = {}
    for run in runs:
        found[(*run.repeat, sum(known[:-1] == run.repeat for known in found))] = run
    return dict(sorted(found.items(), key=lambda pair: [(type(part).__name__, part) for part in pair[0]]))


def output_names(table: pd.DataFrame) -> list[str]:
    """Names of the classes or continuous targets that a predictions table holds predictions of."""
    return [column.partition("/")[2] for column in table.columns if column.startswith(OUTPUTS)]


def samples_of(table: pd.DataFrame) -> pd.DataFrame:
    """Samples, patients and targets of a predictions table as text, sorted by sample."""
    columns = [name for name in table.columns if name in ("sample_id", "group_id") or name.startswith("target")]
    return table[columns].sort_values("sample_id", ignore_index=True).astype(str)


def same_samples(tables: Sequence[pd.DataFrame]) -> bool:
    """Whether predictions are of the same samples, patients and targets."""
    first, *others = map(samples_of, tables)
    return all(other.equals(first) for other in others)


def _recompute(tables: Sequence[pd.DataFrame], metric: str, task: str, seed: int) -> MetricEntry:
    """A metric of several repeats from their predictions tables."""
    kind: dict[str, Any] = {"metric": metric, "task": task, "classes": _shared_outputs(tables), "seed": seed}
    if same_samples(tables):
        return repeated_metric(tables, **kind)
    return combine([repeated_metric([table], **kind) for table in tables], scale_of(metric, task), _OWN_SPLITS)


def _no_difference(reason: str) -> MetricEntry:
    return missing_entry(reason, no_skill=0.0)


def _margin_of_repeats(scaled: NDArray[np.float64], differences: int) -> float:
    """Half of a t interval over the repeats, (T, 3) values with their ends, beyond the margin of their patients."""
    count = len(scaled)
    if count < 2:
        return 0.0
    of_patients = float(np.mean(((scaled[:, 2] - scaled[:, 1]) / 2) ** 2))
    between = t_quantile(count - 1, differences) ** 2 * float(scaled[:, 0].var(ddof=1))
    return float(np.sqrt(max(0.0, between - of_patients) / count))


def _pool_folds(runs: Sequence[RunResult]) -> dict[Repeat, pd.DataFrame]:
    """One predictions table per repeat: folds of one seed and split seed together where they share no sample.

    Its column `fold` then numbers the models.
    """
    by_seed: dict[Repeat, list[RunResult]] = {}
    for run in runs:
        by_seed.setdefault(run.repeat[:2], []).append(run)
    pooled: dict[Repeat, pd.DataFrame] = {}
    for seeds, members in by_seed.items():
        tables = [run.table for run in members]
        whole = pd.concat([table.assign(fold=at) for at, table in enumerate(tables)], ignore_index=True)
        if len(members) > 1 and not whole["sample_id"].duplicated().any():
            pooled[seeds] = whole
        else:
            pooled |= {(*seeds, at): table for at, table in enumerate(tables)}
    return pooled


def _shared_outputs(tables: Sequence[pd.DataFrame]) -> list[str]:
    first, *others = map(output_names, tables)
    if any(other != first for other in others):
        raise InputError("runs predict different classes, and cannot be compared.")
    return first
