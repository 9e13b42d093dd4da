"""Whether a model of image series uses their time: its test metrics with information taken away.

Arms of `evidence` in `metrics.json`:

* `model`: as it is.
* `time_shuffled`: frames in random order, at the same times.
* `single_frame`: the same network, started from the same weights and trained alike, on one random frame of each series
  at a time. It is evaluated at the place in a series that does best on validation, and each of its entries has a `note`
  with that place: `evaluated on the frame at 25 % of each series, chosen by auroc on validation`.
* `first_frames/<k>`: only the first k frames: what is known early.
* `frames_dropped/<per cent>`: a random part of the frames left out.

`auroc_difference`, or `mae_difference` of continuous targets, is the model minus the arm on the same patients, with a
paired interval: a model that uses time is above 0 by its AUROC, and below 0 by its error.

Each arm picks its own decision threshold on validation by the rule of the run, so that `model` is the run's own test.
With `evaluation.evidence_classes` the arms count only samples of these classes, as if there were no others.

The run is finished by then: an arm that fails is left out with a warning.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import pandas as pd
import torch

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.datasets import Batch
from vesalius.data.datamodules.series_ablations import dropped_frames, first_frames, shuffled_frames
from vesalius.data.sources.base import Source
from vesalius.evaluation.base import Entries, Results, Start
from vesalius.evaluation.inference import predict
from vesalius.evaluation.scoring import choose_decision, picks_threshold, restrict_to_classes, score_table
from vesalius.evaluation.single_frame import predict_single_frame
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.metrics.entry import missing_entry
from vesalius.metrics.predictions import Decision

logger = logging.getLogger("vesalius")

SHOWN = ("auroc", "accuracy", "balanced_accuracy", "mae", "rmse", "r2")
COMPARED = ("time_shuffled", "single_frame")
#: How many arms `first_frames/<k>` there are, with k up to the longest series.
FIRST_FRAMES = 6
#: Percentages of the arms `frames_dropped/<per cent>`.
DROPPED = (25, 50, 75)
_CLASS_METRICS = ("auroc", "accuracy", "balanced_accuracy")

View = Callable[[Batch], Batch]
T = TypeVar("T")


def check_ablation(evaluation: Mapping[str, Any], source: Source) -> None:
    """Refuse `evaluation.evidence_classes` that samples cannot be restricted to, before anything is trained.

    Raises:
        InputError: for a task whose samples do not have exactly one class, and for names that are unknown, repeated, or
            fewer than two.
    """
    chosen = evaluation.get("evidence_classes")
    if chosen is None or not evaluation.get("evidence", True):
        return
    key = f"evaluation.evidence_classes=[{', '.join(map(str, chosen))}]"
    if source.task in ("multilabel", "regression"):
        raise InputError(
            f"{key}: the task is {source.task}, and only samples of exactly one class can be selected by class; set "
            "evaluation.evidence_classes=null."
        )
    problems = [
        f"{key}: there is no class {name!r}.{did_you_mean(str(name), source.classes)}"
        for name in dict.fromkeys(chosen)
        if name not in source.classes
    ]
    twice = [str(name) for name in dict.fromkeys(chosen) if list(chosen).count(name) > 1]
    if twice:
        problems.append(f"{key}: {', '.join(twice)} is named more than once; name each class once.")
    if len(set(chosen)) < 2:
        problems.append(f"{key}: name two classes or more, or set evaluation.evidence_classes=null for all.")
    if problems:
        raise InputError(problems)


def ablate_time(results: Results, start: Start) -> dict[str, Entries]:
    """Evaluate a finished model with information taken away, and the same network on single frames.

    Args:
        results: of the model on the data of its run.
        start: gives a newly built model the weights that the run started from.

    Returns:
        The metrics of each arm that did not fail.
    """
    model, data, facts, device = results.model, results.data, results.facts, results.device
    classes, rule = (results.config["evaluation"][key] for key in ("evidence_classes", "decision"))

    def predict_view(view: View | None) -> tuple[pd.DataFrame, pd.DataFrame, str | None]:
        test = predict(model, data, "test", facts, device, view)
        picks = picks_threshold(facts, rule)
        return predict(model, data, "val", facts, device, view) if picks else test[:0], test, None

    tables: dict[str, tuple[pd.DataFrame, pd.DataFrame, str | None]] = {}
    for arm, view in _views(facts, results.config["seed"]).items():
        predicted = _try(arm, partial(predict_view, view))
        if predicted is not None:
            tables[arm] = predicted
    if _several_processes():
        logger.warning(
            "No ablation single_frame: it is trained by one process, and this run has several; train on one device, or "
            "set evaluation.evidence=false."
        )
    else:
        single = _try("single_frame", partial(predict_single_frame, results, start))
        if single is not None:
            tables["single_frame"] = single
    arms: dict[str, Entries] = {}
    for arm, (val, table, note) in tables.items():
        whole = tables["model"][1] if arm in COMPARED and "model" in tables else None
        entries = _try(arm, partial(score_arm, table, facts, classes=classes, rule=rule, val=val, model=whole))
        if entries is not None:
            for entry in entries.values():
                if note is not None:
                    entry["note"] = note
            arms[arm] = entries
    return arms


def _views(facts: Facts, seed: int) -> dict[str, View | None]:
    """What is done to a batch, by arm."""
    longest = facts.sequence_length or 1
    counts = sorted({max(1, round(longest * step / FIRST_FRAMES)) for step in range(1, FIRST_FRAMES + 1)})
    views: dict[str, View | None] = {"model": None, "time_shuffled": partial(shuffled_frames, seed=seed)}
    views |= {f"first_frames/{count}": partial(first_frames, count=count) for count in counts}
    return views | {f"frames_dropped/{cut}": partial(dropped_frames, part=cut / 100, seed=seed) for cut in DROPPED}


def _try(arm: str, compute: Callable[[], T]) -> T | None:
    """The result of `compute`; None and a warning where it fails: hours of training must not end in an error here."""
    try:
        return compute()
    except Exception as error:
        lines = str(error).splitlines() or [""]
        logger.warning("No ablation %s: %s: %s", arm, type(error).__name__, lines[0])
        logger.debug("ablation %s failed", arm, exc_info=True)
        return None


def score_arm(
    table: pd.DataFrame,
    facts: Facts,
    *,
    rule: str = "argmax",
    val: pd.DataFrame | None = None,
    classes: Sequence[str] | None = None,
    model: pd.DataFrame | None = None,
) -> Entries:
    """The main metrics of an arm.

    Args:
        table: the arm's test predictions.
        facts: of the data.
        rule: `evaluation.decision`.
        val: the arm's validation predictions, for a rule that picks a threshold on them.
        classes: of the samples that count; None for all.
        model: the model's test predictions, to add how much better it is; None for the arm only.
    """
    if classes:
        whole = facts
        table, facts = restrict_to_classes(table, whole, classes)
        val = None if val is None else restrict_to_classes(val, whole, classes)[0]
        if table.empty:
            return _missing(f"no test sample of class {', '.join(classes)}", compared=model is not None)
        model = None if model is None else restrict_to_classes(model, whole, classes)[0]
    decision: Decision = "argmax" if val is None else choose_decision(val, facts, rule)
    metrics = {name: entry for name, entry in score_table(table, facts, decision).items() if name in SHOWN}
    if model is None:
        return metrics
    metric = "mae" if facts.task == "regression" else "auroc"
    difference = paired_difference(model, table, metric=metric, task=facts.task, classes=facts.classes)
    return metrics | {f"{metric}_difference": difference}


def _missing(reason: str, *, compared: bool) -> Entries:
    return {name: missing_entry(reason) for name in (*_CLASS_METRICS, *(["auroc_difference"] if compared else []))}


def _several_processes() -> bool:
    """Whether this is one of several: the others do not come here, and would be waited for."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size() > 1
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 or int(os.environ.get("RANK", "0")) > 0
