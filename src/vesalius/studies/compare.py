"""Arms of runs judged side by side: one metric of each, its difference from a reference, and what that comes to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.metrics.comparison.repeated import repeated_difference, repeated_metric, verdict
from vesalius.metrics.reconstruction import RECONSTRUCTION_METRICS
from vesalius.metrics.statistics import COUNTING
from vesalius.studies.arms import Run, differing

SCHEMA = 1
#: Below this, two predictions of one baseline are the same: sums in another order differ by less.
_SAME = 1e-6

_ANSWERS = ("prob/", "pred/")


@dataclass(frozen=True)
class Arm:
    """What is compared: a method, judged once a seed.

    Attributes:
        runs: in the order of their seeds.
        tables: their predictions tables of the test split.
        against: the arm that it is compared with; None for the reference itself.
    """

    runs: Sequence[Run]
    tables: list[pd.DataFrame]
    against: str | None = None


def compare(
    arms: Mapping[str, Sequence[Run]],
    *,
    metric: str,
    by: str,
    baselines: Sequence[str] = (),
    reference: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge arms of runs on the same test samples.

    Args:
        arms: at least two, with runs of the same seeds in the same order (`vesalius.studies.arms.arms_by`).
        metric: one of the runs' test metrics.
        by: the key that tells the arms apart.
        baselines: cheap models of the runs, to compare as further arms. One that answers alike in all arms is a single
            arm and is compared with the reference; else there is one for each arm, `<baseline> of <arm>`, which is
            compared with that arm.
        reference: the arm to compare with; None: the first.
        seed: of the bootstrap.

    Returns:
        What `compare.json` holds: `schema`, `task`, `metric`, `by`, `reference`, `seeds`, `differ` (other keys in
        which runs of one seed differ), `notes` (sentences) and `arms`: of each its `runs`, the entry of the metric
        under its name, and, but for the reference, `against`, the entry `<metric>_difference` (the arm minus that one)
        and `verdict`.

    Raises:
        InputError: for runs of different tasks, classes or test samples, and for an unknown metric, baseline or arm.
    """
    everyone = [run for members in arms.values() for run in members]
    task = _task(everyone, metric)
    judged = {name: Arm(members, _tables(members, "test")) for name, members in arms.items()}
    kind: dict[str, Any] = {"metric": metric, "task": task, "classes": _classes(judged), "seed": seed}
    _check_samples(judged.values())
    judged |= _baseline_arms(arms, baselines)
    first = next(iter(arms)) if reference is None else reference
    if first not in judged:
        raise InputError(f"reference={first}: there is no such arm.{did_you_mean(first, judged)}")
    told = {name: _told(arm, kind) for name, arm in judged.items()}
    for name, arm in judged.items():
        against = arm.against or first
        if name != first:
            difference = repeated_difference(arm.tables, judged[against].tables, **kind)
            sentence = verdict(difference, name, against, metric)
            told[name] |= {"against": against, f"{metric}_difference": difference, "verdict": sentence}
    differ = sorted({key for runs in zip(*arms.values(), strict=True) for key in differing(runs, by)})
    outline = {"schema": SCHEMA, "task": task, "metric": metric, "by": by, "reference": first}
    outline |= {"seeds": [run.seed for run in next(iter(arms.values()))], "differ": differ}
    return outline | {"notes": list(_notes(differ, everyone, metric)), "arms": told}


def _told(arm: Arm, kind: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm reaches by itself."""
    entry = repeated_metric(arm.tables, **kind)
    if entry["no_skill"] is None:  # it takes the training sets, of which the runs may have had different parts
        floors = [run.results["test"][kind["metric"]]["no_skill"] for run in arm.runs]
        entry["no_skill"] = None if None in floors else float(np.mean(floors))
    return {"runs": [run.name for run in arm.runs], kind["metric"]: entry}


def _notes(differ: Sequence[str], runs: Sequence[Run], metric: str) -> Iterator[str]:
    """What a reader must know of the numbers."""
    if differ:
        yield f"Runs of one seed differ also in {format_list(differ)}."
    own = [run.name for run in runs if run.results.get("decision", {}).get("threshold", "argmax") != "argmax"]
    if own and metric.partition("/")[0] in COUNTING:
        yield f"Classes are decided by argmax here; these runs have a threshold of their own: {format_list(own)}."


def _task(runs: Sequence[Run], metric: str) -> str:
    """The task that all runs share, whose metric this is."""
    by_task: dict[str, list[str]] = {}
    for run in runs:
        by_task.setdefault(str(run.results["task"]), []).append(run.name)
    if len(by_task) > 1:
        said = "; ".join(f"{task}: {format_list(names)}" for task, names in by_task.items())
        raise InputError(f"runs: they have different tasks ({said}); compare runs of one task.")
    for run in runs:
        if metric not in run.results["test"]:
            known = did_you_mean(metric, run.results["test"]) or f" Known: {', '.join(run.results['test'])}."
            raise InputError(f"metric={metric}: run {run.name} has no such test metric.{known}")
    return next(iter(by_task))


def _tables(runs: Sequence[Run], name: str) -> list[pd.DataFrame]:
    """A predictions table of each run, its ids as they were written: a patient may be called `007` or `NA`."""
    paths = [run.folder.predictions / f"{name}.csv" for run in runs]
    as_written = {"sample_id": str, "group_id": str}
    return [pd.read_csv(path, dtype=as_written, keep_default_na=False) for path in paths]


def _classes(arms: Mapping[str, Arm]) -> list[str]:
    """Names of the classes or quantities that all runs answer for."""
    (first, classes), *others = [
        (run.name, [column.partition("/")[2] for column in table.columns if column.startswith(_ANSWERS)])
        for arm in arms.values()
        for run, table in zip(arm.runs, arm.tables, strict=True)
    ]
    for name, its in others:
        if its != classes:
            raise InputError(
                f"runs: {first} and {name} answer for different classes ({', '.join(classes)}; {', '.join(its)}); "
                "compare runs on the same classes."
            )
    return classes


def _check_samples(arms: Iterable[Arm]) -> None:
    """Refuse runs that were not judged on the same samples of the same patients, and name two of them."""
    known: tuple[str, pd.DataFrame] | None = None
    for run, table in (each for arm in arms for each in zip(arm.runs, arm.tables, strict=True)):
        keys = [key for key in table.columns if key in ("sample_id", "group_id") or key.startswith("target")]
        asked = table[keys].sort_values("sample_id", ignore_index=True)
        if known is None:
            known = run.name, asked
        elif not asked.equals(known[1]):
            raise InputError(
                f"runs: {known[0]} and {run.name} were not tested on the same samples, patients and targets. A split "
                "follows the seed: train all runs on one with data.split_file=DIR/split.csv."
            )


def _baseline_arms(arms: Mapping[str, Sequence[Run]], baselines: Sequence[str]) -> dict[str, Arm]:
    """An arm for each baseline, or one for each arm where its answers differ between them."""
    made: dict[str, Arm] = {}
    for baseline in baselines:
        own = {
            name: Arm(runs, _tables(runs, f"baselines/{baseline}"), name)
            for name, runs in arms.items()
            if all(baseline in _saved(run) for run in runs)
        }
        if not own:
            raise InputError(_no_baseline(baseline, [run for runs in arms.values() for run in runs]))
        one, *others = own.values()
        if all(_alike(one, other) for other in others):
            made[baseline if baseline not in arms else f"baseline {baseline}"] = Arm(one.runs, one.tables)
        else:
            made |= {f"{baseline} of {name}": arm for name, arm in own.items()}
    return made


def _saved(run: Run) -> list[str]:
    """Baselines whose predictions the run kept."""
    return [path.stem for path in (run.folder.predictions / "baselines").glob("*.csv")]


def _no_baseline(baseline: str, runs: Sequence[Run]) -> str:
    known = {name for run in runs for name in _saved(run)}
    lacking = [run.name for run in runs if baseline not in _saved(run)]
    if known:
        return f"baselines: {len(lacking)} of {len(runs)} runs have no {baseline}.{did_you_mean(baseline, known)}"
    return (
        f"baselines: no run has kept predictions of its baselines, as {lacking[0]} shows: train again with "
        "evaluation.baselines=true, or set baselines=[]."
    )


def _alike(one: Arm, other: Arm) -> bool:
    """Whether two arms answer the same for every sample and seed."""
    return all(
        np.allclose(_answers(a), _answers(b), rtol=_SAME, atol=_SAME)
        for a, b in zip(one.tables, other.tables, strict=True)
    )


def _answers(table: pd.DataFrame) -> Any:
    columns = [name for name in table.columns if name.startswith(_ANSWERS) or name in RECONSTRUCTION_METRICS]
    return table.sort_values("sample_id")[columns].to_numpy(np.float64)
