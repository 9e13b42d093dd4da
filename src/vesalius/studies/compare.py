"""Arms of runs next to each other: one metric of each, its difference from a reference, and a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.diagnose import did_you_mean, format_list
from vesalius.config.errors import InputError
from vesalius.metrics.comparison.arms import OUTPUTS, arm_difference, arm_metric, output_names, same_samples
from vesalius.metrics.comparison.verdict import together_note, verdict
from vesalius.metrics.names import COUNTING, RECONSTRUCTION_METRICS
from vesalius.runs.arms import Arm, other_differences
from vesalius.runs.outcome import Outcome, saved_baselines
from vesalius.runs.run import Run

SCHEMA = 1
#: Below this, two predictions of one baseline are the same: sums in another order differ by less.
_SAME = 1e-6


@dataclass(frozen=True)
class _Compared:
    """Outcomes of an arm, or of a baseline of its runs, in the order of their seeds and folds.

    Attributes:
        outcomes: one per run.
        baseline: name of the baseline; None for the runs' own models.
        of: the only arm with this baseline; None for an arm of runs, and for a baseline that all arms share.
    """

    outcomes: list[Outcome]
    baseline: str | None = None
    of: str | None = None


def compare(
    arms: Sequence[Arm],
    *,
    metric: str,
    by: str | None,
    baselines: Sequence[str] = (),
    reference: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare arms of runs on the same test samples.

    Args:
        arms: with finished runs of the same seeds and folds in the same order (`vesalius.runs.arms.arms_by`); at least
            two, or one and a baseline.
        metric: one of the runs' test metrics.
        by: the key that tells the arms apart; None for one arm.
        baselines: cheap models of the runs, to compare as further arms. One with the same predictions in all arms is a
            single arm and is compared with the reference; else there is one for each arm, `<baseline> of <arm>`, which
            is compared with that arm.
        reference: the arm to compare with; None: the first. A baseline that differs between arms: each arm is compared
            with its own.
        seed: of the bootstrap.

    Returns:
        Content of `compare.json`: `schema`, `task`, `metric`, `by`, `reference`, `seeds`, `folds`, `differ` (other keys
        in which runs of one seed differ), `notes` (sentences) and `arms`: for each its `runs`, the entry of the metric
        under its name, and, where it is compared with another, `against`, the entry `<metric>_difference` (the arm
        minus that one) and `verdict`. The intervals of all differences hold together in 95 % of studies.

    Raises:
        InputError: for runs of different tasks, classes or test samples, and for an unknown metric, baseline or arm.
    """
    runs = [run for arm in arms for run in arm.runs]
    task = _task(runs, metric)
    compared = {arm.name: _Compared([Outcome(run) for run in arm.runs]) for arm in arms}
    outcomes = [outcome for arm in compared.values() for outcome in arm.outcomes]
    _check_classes(outcomes)
    _check_samples(outcomes)
    compared |= _baseline_arms(compared, baselines, metric)
    first = arms[0].name if reference is None else reference
    pairs = _pair(compared, first)
    entries: dict[str, dict[str, Any]] = {}
    for name, arm in compared.items():
        value = arm_metric(arm.outcomes, metric, task, seed=seed)
        entries[name] = {"runs": [outcome.run.name for outcome in arm.outcomes], metric: value}
        if (against := pairs.get(name)) is not None:
            difference = arm_difference(
                arm.outcomes, compared[against].outcomes, metric, task, seed=seed, differences=len(pairs)
            )
            sentence = verdict(difference, name, against, metric)
            entries[name] |= {"against": against, f"{metric}_difference": difference, "verdict": sentence}
    of_one_seed = zip(*(arm.runs for arm in arms), strict=True)
    differ = sorted({key for same_seed in of_one_seed for key in other_differences(same_seed, by)})
    content = {"schema": SCHEMA, "task": task, "metric": metric, "by": by, "reference": first}
    content |= {"seeds": [*dict.fromkeys(run.seed for run in arms[0].runs)]}
    content |= {"folds": [*dict.fromkeys(run.fold for run in arms[0].runs if run.fold is not None)], "differ": differ}
    return content | {"notes": list(_notes(differ, outcomes, metric, len(pairs))), "arms": entries}


def _pair(compared: Mapping[str, _Compared], reference: str) -> dict[str, str]:
    """The arm that each is compared with, by name; none for the reference."""
    if reference in compared:
        return {name: arm.of or reference for name, arm in compared.items() if name != reference}
    own = {arm.of: name for name, arm in compared.items() if arm.baseline == reference}
    if not own:
        raise InputError(f"reference={reference}: there is no such arm.{did_you_mean(reference, compared)}")
    found = {name: own.get(arm.of or name) for name, arm in compared.items() if name not in own.values()}
    return {name: against for name, against in found.items() if against is not None}


def _notes(differ: Sequence[str], outcomes: Sequence[Outcome], metric: str, differences: int) -> Iterator[str]:
    """What a reader must know of the numbers."""
    runs = [outcome.run for outcome in outcomes]
    if not all(same_samples([outcome.table for outcome in of_fold]) for of_fold in _by_fold(outcomes)):
        yield "Each seed has test patients of its own: intervals are rather too wide than too narrow."
    if differ:
        yield f"Runs of one seed differ also in {format_list(differ)}."
    own = [run.name for run in runs if run.decision != "argmax"]
    if own and metric.partition("/")[0] in COUNTING:
        yield f"Classes are decided by argmax, but in these runs by their own threshold: {format_list(own)}."
    yield from together_note(differences)


def _task(runs: Sequence[Run], metric: str) -> str:
    """The task that all runs share, whose metric this is."""
    by_task: dict[str, list[str]] = {}
    for run in runs:
        by_task.setdefault(str((run.results or {})["task"]), []).append(run.name)
    if len(by_task) > 1:
        tasks = "; ".join(f"{task}: {format_list(names)}" for task, names in by_task.items())
        raise InputError(f"runs: they have different tasks ({tasks}); compare runs of one task.")
    for run in runs:
        if metric not in run.test:
            known = did_you_mean(metric, run.test) or f" Known: {', '.join(run.test)}."
            raise InputError(f"metric={metric}: run {run.name} has no such test metric.{known}")
    return next(iter(by_task))


def _check_classes(outcomes: Sequence[Outcome]) -> None:
    """Refuse runs that predict different classes or continuous targets, and name two of them."""
    first, *others = outcomes
    classes = output_names(first.table)
    for other in others:
        if (own := output_names(other.table)) != classes:
            raise InputError(
                f"runs: {first.run.name} and {other.run.name} predict different classes ({', '.join(classes)}; "
                f"{', '.join(own)}); compare runs on the same classes."
            )


def _check_samples(outcomes: Sequence[Outcome]) -> None:
    """Refuse runs of one seed and fold that were not tested on the same samples, and name two of them."""
    firsts: dict[tuple[int | None, int | None], Outcome] = {}
    for other in outcomes:
        first = firsts.setdefault((other.run.seed, other.run.fold), other)
        if not same_samples([first.table, other.table]):
            raise InputError(
                f"runs: {first.run.name} and {other.run.name} were not tested on the same samples, patients and "
                "targets. Train all runs of one seed on one split, with data.split_file=DIR/split.csv."
            )


def _by_fold(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    found: dict[int | None, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.run.fold, []).append(outcome)
    return list(found.values())


def _baseline_arms(arms: Mapping[str, _Compared], baselines: Sequence[str], metric: str) -> dict[str, _Compared]:
    """One arm per baseline, or one per baseline and arm where its predictions differ between arms."""
    found: dict[str, _Compared] = {}
    for baseline in baselines:
        own = {
            name: _Compared([Outcome(outcome.run, baseline) for outcome in arm.outcomes], baseline, name)
            for name, arm in arms.items()
            if all(baseline in saved_baselines(outcome.run) for outcome in arm.outcomes)
        }
        if not own:
            raise InputError(_no_baseline(baseline, [outcome.run for arm in arms.values() for outcome in arm.outcomes]))
        for outcome in (outcome for arm in own.values() for outcome in arm.outcomes):
            if metric not in outcome.metrics:
                raise InputError(f"baselines: {baseline} of {outcome.run.name} has no {metric} in its metrics.json.")
        one, *others = own.values()
        if all(_same_predictions(one, other) for other in others):
            found[baseline if baseline not in arms else f"baseline {baseline}"] = _Compared(one.outcomes, baseline)
        else:
            found |= {f"{baseline} of {name}": arm for name, arm in own.items()}
    return found


def _no_baseline(baseline: str, runs: Sequence[Run]) -> str:
    known = {name for run in runs for name in saved_baselines(run)}
    lacking = [run.name for run in runs if baseline not in saved_baselines(run)]
    cure = "train again with evaluation.baselines=true, or set baselines=[]."
    if baseline in known:
        few = f"{len(lacking)} of {len(runs)} runs lack it, such as {lacking[0]}"
        return f"baselines: every arm has runs without {baseline} ({few}): {cure}"
    if known:
        return f"baselines: {len(lacking)} of {len(runs)} runs have no {baseline}.{did_you_mean(baseline, known)}"
    return f"baselines: no run has kept predictions of its baselines, as {lacking[0]} shows: {cure}"


def _same_predictions(one: _Compared, other: _Compared) -> bool:
    """Whether two arms predict the same for every sample and seed."""
    pairs = [(_predictions(a.table), _predictions(b.table)) for a, b in zip(one.outcomes, other.outcomes, strict=True)]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=_SAME, atol=_SAME) for a, b in pairs)


def _predictions(table: pd.DataFrame) -> NDArray[np.float64]:
    """All numbers of a predictions table, and any threshold that decides, rows in the order of their samples."""
    decided = (*RECONSTRUCTION_METRICS, "threshold")
    columns = [name for name in table.columns if name.startswith(OUTPUTS) or name in decided]
    return table.sort_values("sample_id")[columns].to_numpy(np.float64)
