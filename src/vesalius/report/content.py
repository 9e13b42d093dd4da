"""The content of a report: every number on the page and in the tables, computed once."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError
from vesalius.metrics.comparison.arms import Repeat, arm_difference, arm_metric, by_repeat
from vesalius.metrics.comparison.verdict import together_note, verdict
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.metrics.names import RANKING
from vesalius.runs.arms import Arm, arms_of, varying_keys
from vesalius.runs.find import FoundRuns
from vesalius.runs.outcome import Outcome
from vesalius.runs.run import Run

SCHEMA = 1
# In the order of preference, for a monitored metric that is not a test metric.
_MAIN = ("auroc", "mae", "psnr", "frechet_distance")
# Not cheap models: other real images, for comparison with a generator's.
_REFERENCES = ("real", "augmented")
_MOST_ARMS = 12


@dataclass
class Part:
    """Runs of one task, which share a table.

    Attributes:
        task: as in `metrics.json`; empty while no run is finished.
        metric: the test metric that is shown first.
        monitor: the validation metric that picked their checkpoints.
        mode: of the monitor, `min` or `max`.
        runs: at any stage.
        keys: what sets the runs apart: by key, one value per run.
        arms: the same runs grouped; those that can be ranked come first, best on validation first.
        summaries: one entry per arm that can be ranked, in the same order.
        headline: one sentence on the best of them.
        notes: what could not be computed, and why.
    """

    task: str
    metric: str
    monitor: str
    mode: str
    runs: list[Run]
    keys: dict[str, list[str]]
    arms: list[Arm]
    summaries: list[dict[str, Any]] = field(default_factory=list)
    headline: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> Run | None:
        """The finished run of the best arm that is best on validation."""
        if not self.summaries:
            return None
        ranked = [run for run in self.arms[0].finished if run.best is not None]
        return _by_best(ranked, self.mode)[0] if ranked else None


def parts_of(collected: FoundRuns) -> list[Part]:
    """The runs of a report by task; an unfinished run goes to a task with the same monitored metric."""
    by_task: dict[tuple[str, str], list[Run]] = {}
    for run in collected.runs:
        if run.results is not None:
            by_task.setdefault((str(run.results["task"]), run.monitor[0]), []).append(run)
    if not by_task:
        by_task = {("", next((run.monitor[0] for run in collected.runs if run.config), "monitor")): []}
    for run in collected.runs:
        if run.results is None:
            home = next((key for key in by_task if key[1] == run.monitor[0]), next(iter(by_task)))
            by_task[home].append(run)
    order = {id(run): at for at, run in enumerate(collected.runs)}
    parts = []
    for (task, monitor), runs in by_task.items():
        runs.sort(key=lambda run: order[id(run)])
        finished = [run for run in runs if run.results is not None]
        mode = next((run.monitor[1] for run in [*finished, *runs] if run.config), "max")
        part = Part(task, _main_metric(finished, monitor), monitor, mode, runs, varying_keys(runs), arms_of(runs))
        _summarise(part)
        part.headline = _headline(part)
        parts.append(part)
    return parts


def _main_metric(runs: Sequence[Run], monitor: str) -> str:
    if not runs:
        return ""
    test = runs[0].test
    wanted = [monitor.partition("/")[2], *_MAIN, *test]
    return str(next(name for name in wanted if name in test))


def _by_best(runs: Sequence[Run], mode: str) -> list[Run]:
    sign = -1 if mode == "max" else 1
    return sorted(runs, key=lambda run: sign * (run.best or (0.0, 0))[0])


def _summarise(part: Part) -> None:
    """Fill in what each arm reaches, and how it differs from the one that is best on validation."""
    sign = -1 if part.mode == "max" else 1
    repeats = _ranking_repeats(part)
    means = {id(arm): mean for arm in part.arms if (mean := _validation_mean(arm, repeats)) is not None}
    part.arms.sort(key=lambda arm: sign * means.get(id(arm), sign * math.inf))
    best: list[Outcome] = []
    shown = min(len(means), _MOST_ARMS)
    differences, pairs = max(0, shown - 1), shown * (shown - 1) // 2
    for at, arm in enumerate(part.arms[: len(means)]):
        entry: dict[str, Any] = {"arm": arm.name, "values": dict(arm.values), "validation": means[id(arm)]}
        entry |= {"runs": [run.name for run in arm.finished], "of": len(arm.runs)}
        try:
            outcomes = [Outcome(run) for run in arm.finished]
            best = best or outcomes
            entry["test"] = arm_metric(outcomes, part.metric, part.task)
            if at == 0:
                entry["baseline"] = _baseline_of_arm(arm.finished, part)
            if 0 < at <= differences:
                difference = arm_difference(outcomes, best, part.metric, part.task, differences=pairs)
                sentence = verdict(difference, arm.name, part.arms[0].name, part.metric)
                entry |= {"difference": difference, "verdict": sentence}
        except InputError as error:
            part.notes.append(f"{arm.name}: {error}")
            entry.setdefault("test", None)
        part.summaries.append(entry)
        if (test := entry["test"]) is not None and test["value"] is None:
            part.notes.append(f"{arm.name}: no test {part.metric}: {test.get('reason', 'not computed')}.")
    if part.metric.partition("/")[0] in RANKING and any(map(_is_over_folds, part.arms, part.summaries)):
        part.notes.append(
            f"Over folds, {part.metric} is the mean of each fold's own: scores of different models do not compare."
        )
    part.notes += together_note(differences, pairs)
    part.notes += dict.fromkeys(line for run in part.runs for line in (run.results or {}).get("contamination", ()))
    if len(means) > _MOST_ARMS:
        part.notes.append(f"Differences are shown for the {_MOST_ARMS} arms that are best on validation.")


def _is_over_folds(arm: Arm, summary: Mapping[str, Any]) -> bool:
    """Whether the test entry of an arm is over folds that share no sample."""
    entry = summary["test"]
    return entry is not None and entry["n"] > max(own["n"] for run in arm.finished for own in run.test.values())


def _validation_mean(arm: Arm, repeats: Collection[Repeat]) -> float | None:
    """Mean of the monitored metric of the best checkpoints of these repeats; None where none is finished."""
    values = [run.best[0] for key, run in by_repeat(arm.finished).items() if key in repeats and run.best is not None]
    return float(np.mean(values)) if values else None


def _ranking_repeats(part: Part) -> set[Repeat]:
    """The repeats by which arms are ranked: those that all of them have finished, else all, with a note.

    One fold is harder than another: means over different folds cannot be compared.
    """
    done = [repeats for arm in part.arms if (repeats := set(by_repeat(arm.finished)))]
    every, shared = set().union(*done), set.intersection(*done) if done else set()
    if len(shared) == len(every):
        return every
    if not shared:
        part.notes.append("The arms have no seed and fold in common: their order may come from their splits.")
        return every
    part.notes.append(
        f"Arms are ranked by the {len(shared)} of {len(every)} seeds and folds that all of them have finished."
    )
    return shared


def best_baseline(run: Run, metric: str) -> tuple[str, MetricEntry] | None:
    """Name and entry of the run's baseline that is best on the test split."""
    known = {
        name: entries[metric]
        for name, entries in run.baselines.items()
        if name not in _REFERENCES and metric in entries and entries[metric]["value"] is not None
    }
    if not known:
        return None
    lower = mode_of(metric) == "min"
    name = (min if lower else max)(known, key=lambda name: known[name]["value"])
    return name, known[name]


def _baseline_of_arm(runs: Sequence[Run], part: Part) -> dict[str, Any] | None:
    """The cheap baseline that all runs of an arm have and that is best over all of them: `name`, and its entry."""
    if len(runs) == 1:
        own = best_baseline(runs[0], part.metric)
        return None if own is None else {"name": own[0], **own[1]}
    shared = set.intersection(*({*run.baselines} for run in runs)) - {*_REFERENCES}
    known: dict[str, dict[str, Any]] = {}
    for name in sorted(shared):
        entry = arm_metric([Outcome(run, name) for run in runs], part.metric, part.task)
        if entry is not None and entry["value"] is not None:
            known[name] = {"name": name, **entry}
    best = min if mode_of(part.metric) == "min" else max
    return best(known.values(), key=lambda entry: entry["value"]) if known else None


def _headline(part: Part) -> str:
    """One sentence: which arm is best on validation, and what it reaches on the test patients."""
    states = _states(part.runs)
    if not part.summaries:
        if any(run.results is not None for run in part.runs):
            return f"No finished run has a value of {part.monitor}, by which runs are ranked ({states})."
        done = any(run.state == "done" for run in part.runs)
        return f"{'No finished run can be read' if done else 'No run is finished yet'} ({states})."
    best, run = part.summaries[0], part.best
    assert run is not None
    entry = best["test"] or run.test.get(part.metric)
    repeats = len(best["runs"])
    several = len(part.arms) > 1
    own = f"run {run.name}" if run.name.isdigit() else run.name
    name = best["arm"] or own
    if entry is None:
        return f"Best by {part.monitor}: {name}, which has no test {part.metric} ({states})."
    together = _is_over_folds(part.arms[0], best) and part.metric.partition("/")[0] not in RANKING
    taken = "samples of {} runs together" if together else "mean of {} runs"
    of = f" ({taken.format(repeats)})" if repeats > 1 else ""
    if several:
        begin = f"Best by {part.monitor}: {name}, with a test {part.metric}{of} of"
    elif repeats > 1:
        reach = "together reach a" if together else "reach a mean"
        begin = f"{repeats} runs {reach} test {part.metric} of"
    else:
        begin = f"{own[0].upper() + own[1:] if run.name.isdigit() else own} reaches a test {part.metric} of"
    why = f" ({entry.get('reason', 'not computed')})" if entry["value"] is None else ""
    words = [f"{begin} {format_metric(entry)}{why}", f"no skill {format_number(entry.get('no_skill'))}"]
    baseline = best.get("baseline")
    words.append(
        f"best cheap baseline {baseline['name']} {format_metric(baseline)}" if baseline else "no cheap baseline"
    )
    words.append(f"{entry['groups']} test patients, {entry['n']} samples")
    unfinished = "" if all(run.state == "done" for run in part.runs) else f" So far: {states}."
    return f"{'; '.join(words)}.{unfinished}"


def _states(runs: Sequence[Run]) -> str:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.state] = counts.get(run.state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def row_of(run: Run, part: Part) -> dict[str, Any]:
    """A run's row of the leaderboard; numbers as in its `metrics.json`."""
    at = part.runs.index(run)
    baseline = best_baseline(run, part.metric)
    trainer: Mapping[str, Any] = run.config.get("trainer") or {}
    return {
        "run": run.name,
        "state": run.state,
        "reason": run.reason,
        "values": {key: values[at] for key, values in part.keys.items()},
        "seed": run.seed,
        "fold": run.fold,
        "monitor": None if run.best is None else {"value": run.best[0], "epoch": run.best[1]},
        "epochs": len(run.history),
        "max_epochs": trainer.get("max_epochs"),
        "seconds": run.seconds,
        "test": run.test,
        "baseline": None if baseline is None else {"name": baseline[0], **baseline[1]},
        "baselines": {name: entries[part.metric] for name, entries in run.baselines.items() if part.metric in entries},
    }


def content_of(collected: FoundRuns, parts: Sequence[Part]) -> dict[str, Any]:
    """Everything on the page and in `report.csv` and `report.md`, as plain containers for JSON."""
    of_parts = [
        {
            "task": part.task,
            "metric": part.metric,
            "monitor": {"name": part.monitor, "mode": part.mode},
            "headline": part.headline,
            "keys": list(part.keys),
            "rows": [row_of(run, part) for run in part.runs],
            "arms": part.summaries,
            "notes": part.notes,
        }
        for part in parts
    ]
    return {
        "schema": SCHEMA,
        "name": collected.path.resolve().name,
        "states": _states(collected.runs),
        "study": collected.sweep.get("study"),
        "parts": of_parts,
        "notes": collected.notes,
    }
