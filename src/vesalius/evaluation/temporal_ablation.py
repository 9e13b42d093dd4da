"""Whether a model of image series uses their time: its test numbers with information taken away.

Arms of `evidence` in `metrics.json`:

* `model`: as it is.
* `time_shuffled`: frames in random order, at the same times.
* `single_frame`: the same network, begun from the same weights and trained alike, on one random frame of each series at
  a time. It is judged on the place in a series that does best on validation, and each of its entries has a `note` that
  says which: `judged on the frame at 25 % of each series, by auroc on validation`.
* `first_frames/<k>`: only the first k frames: what is known early.
* `frames_dropped/<per cent>`: a random part of the frames left out.

`auroc_difference`, or `mae_difference` of quantities, is the model minus the arm on the same patients, with a paired
interval: a model that uses time is above 0 by its AUROC, and below 0 by its error.

With `evaluation.evidence_classes` the arms count the samples of these classes alone, as if there were no others, and
answer with the most probable of them. Without, they are decided as the run is, so that `model` is the run's own test.

The run is finished when evidence is looked for: an arm that cannot be made is left out with a warning.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import DeviceStatsMonitor, LearningRateMonitor

from vesalius.config.build import build, build_named
from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import Batch
from vesalius.data.datamodules.series_ablations import dropped_frames, first_frames, one_frame, shuffled_frames
from vesalius.data.sources.base import Source
from vesalius.evaluation.base import Metrics, Start
from vesalius.evaluation.inference import predict
from vesalius.evaluation.scoring import judge_table
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.metrics.entry import missing_entry
from vesalius.metrics.predictions import Decision
from vesalius.runs.run_folder import SPLIT

logger = logging.getLogger("vesalius")

SHOWN = ("auroc", "accuracy", "balanced_accuracy", "mae", "rmse", "r2")
COMPARED = ("time_shuffled", "single_frame")
_CLASS_METRICS = ("auroc", "accuracy", "balanced_accuracy")
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_FIRST_FRAMES = 6
_DROPPED = (25, 50, 75)

View = Callable[[Batch], Batch]
T = TypeVar("T")


def check_evidence(evaluation: Mapping[str, Any], source: Source) -> None:
    """Refuse `evaluation.evidence_classes` that evidence could not be narrowed to, before anything is trained.

    Raises:
        InputError: for a task whose samples have not one class each, and for names that are unknown, twice there, or
            fewer than two.
    """
    chosen = evaluation.get("evidence_classes")
    if chosen is None or not evaluation.get("evidence", True):
        return
    said = f"evaluation.evidence_classes=[{', '.join(map(str, chosen))}]"
    if source.task in ("multilabel", "regression"):
        raise InputError(
            f"{said}: the task is {source.task}, and only samples of one class each can be picked by class; set "
            "evaluation.evidence_classes=null."
        )
    problems = [
        f"{said}: there is no class {name!r}.{did_you_mean(str(name), source.classes)}"
        for name in dict.fromkeys(chosen)
        if name not in source.classes
    ]
    twice = [str(name) for name in dict.fromkeys(chosen) if list(chosen).count(name) > 1]
    if twice:
        problems.append(f"{said}: {', '.join(twice)} is named more than once; name each class once.")
    if len(set(chosen)) < 2:
        problems.append(f"{said}: name two classes or more, or set evaluation.evidence_classes=null for all.")
    if problems:
        raise InputError(problems)


def temporal_evidence(
    model: pl.LightningModule,
    data: ImageDataModule,
    facts: Facts,
    config: Mapping[str, Any],
    folder: Path,
    device: torch.device,
    *,
    start: Start,
    decision: Decision = "argmax",
) -> Metrics:
    """Judge a finished model with information taken away, and the same network without any series.

    Args:
        model: the finished model.
        data: the datamodule of its run.
        facts: of that data.
        config: of the run; `evaluation.evidence_classes` narrows the judgement to samples of some classes.
        folder: of the run; training of the single-frame arm leaves nothing in it.
        device: where to predict.
        start: gives a newly built model the weights that the run began with.
        decision: how the run's test predictions were decided; not used where evidence is narrowed.

    Returns:
        The metrics of each arm that could be made.
    """
    chosen = config["evaluation"]["evidence_classes"]
    tables: dict[str, tuple[pd.DataFrame, str | None]] = {}
    for arm, view in _views(facts, config["seed"]).items():
        table = _made(arm, partial(predict, model, data, "test", facts, device, view))
        if table is not None:
            tables[arm] = table, None
    if _several_processes():
        logger.warning(
            "No evidence single_frame: it is trained by one process, and this run has several; train on one device, or "
            "set evaluation.evidence=false."
        )
    else:
        single = _made("single_frame", lambda: _single_frame(data, facts, config, folder, device, start))
        if single is not None:
            tables["single_frame"] = single
    evidence: Metrics = {}
    for arm, (table, note) in tables.items():
        other = tables["model"][0] if arm in COMPARED and "model" in tables else None
        entries = _made(arm, partial(_judged, table, facts, chosen, decision, other))
        if entries is not None:
            evidence[arm] = {name: entry | ({"note": note} if note else {}) for name, entry in entries.items()}
    return evidence


def narrow(table: pd.DataFrame, facts: Facts, classes: Sequence[str]) -> tuple[pd.DataFrame, Facts]:
    """The predictions of samples of some classes, as if these were all there are."""
    positions = [facts.classes.index(name) for name in classes]
    kept = table[table["target"].isin(positions)].reset_index(drop=True)
    columns = [f"prob/{name}" for name in classes]
    given = kept[columns].to_numpy()
    # Where a model gives none of the classes any chance, it says nothing of which it is.
    total = given.sum(axis=1, keepdims=True)
    chances = np.where(total > 0, given / np.where(total > 0, total, 1), 1 / len(classes))
    narrowed = kept[["sample_id", "group_id"]].assign(target=kept["target"].map(positions.index))
    narrowed[columns] = chances
    task = "binary" if len(classes) == 2 else facts.task
    return narrowed, Facts.from_dict({**facts.to_dict(), "task": task, "classes": list(classes)})


def _views(facts: Facts, seed: int) -> dict[str, View | None]:
    """What is taken away, by arm."""
    longest = facts.sequence_length or 1
    counts = sorted({max(1, round(longest * step / _FIRST_FRAMES)) for step in range(1, _FIRST_FRAMES + 1)})
    views: dict[str, View | None] = {"model": None, "time_shuffled": partial(shuffled_frames, seed=seed)}
    views |= {f"first_frames/{count}": partial(first_frames, count=count) for count in counts}
    return views | {f"frames_dropped/{cut}": partial(dropped_frames, part=cut / 100, seed=seed) for cut in _DROPPED}


def _made(arm: str, make: Callable[[], T]) -> T | None:
    """What `make` gives; nothing, and a warning, where it fails: hours of training must not end in an error here."""
    try:
        return make()
    except Exception as error:
        lines = str(error).splitlines() or [""]
        logger.warning("No evidence %s: %s: %s", arm, type(error).__name__, lines[0])
        logger.debug("evidence %s failed", arm, exc_info=True)
        return None


def _judged(
    table: pd.DataFrame, facts: Facts, chosen: Sequence[str] | None, decision: Decision, other: pd.DataFrame | None
) -> Metrics:
    """The main metrics of an arm, and the difference of the model's table, `other`, from it."""
    if chosen:
        whole = facts
        table, facts = narrow(table, whole, chosen)
        decision = "argmax"
        if table.empty:
            return _absent(f"no test sample of class {', '.join(chosen)}", compared=other is not None)
        other = None if other is None else narrow(other, whole, chosen)[0]
    shown = {name: entry for name, entry in judge_table(table, facts, decision).items() if name in SHOWN}
    if other is None:
        return shown
    metric = "mae" if facts.task == "regression" else "auroc"
    difference = paired_difference(other, table, metric=metric, task=facts.task, classes=facts.classes)
    return shown | {f"{metric}_difference": difference}


def _absent(reason: str, *, compared: bool) -> Metrics:
    return {name: missing_entry(reason) for name in (*_CLASS_METRICS, *(["auroc_difference"] if compared else []))}


def _several_processes() -> bool:
    """Whether this is one of several: the others do not come here, and would be waited for."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size() > 1
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 or int(os.environ.get("RANK", "0")) > 0


def _single_frame(
    data: ImageDataModule,
    facts: Facts,
    config: Mapping[str, Any],
    folder: Path,
    device: torch.device,
    start: Start,
) -> tuple[pd.DataFrame, str]:
    """Test predictions of the same network, trained alike on single frames, and which frames it was given."""
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    single = _single_frame_data(data, config, folder)
    model: pl.LightningModule = build(config["model"], "model", facts=single.facts)
    start(model)
    _train(model, single, config, folder / ".single_frame")
    chosen = config["evaluation"]["evidence_classes"]
    scores = {}
    for place in _PLACES:
        val = predict(model, single, "val", facts, device, partial(one_frame, part=place))
        scores[place], name = _score(val, facts, chosen)
    best = max(scores, key=lambda place: scores[place])
    test = predict(model, single, "test", facts, device, partial(one_frame, part=best))
    return test, f"judged on the frame at {best:.0%} of each series, by {name} on validation".replace("%", " %")


def _single_frame_data(data: ImageDataModule, config: Mapping[str, Any], folder: Path) -> ImageDataModule:
    # A step of one series shows a network several frames, as BatchNorm needs; a step of one frame would not.
    options = {"frames": 1, "frame_sampling": "random", "batch_size": max(2, data.batch_size)}
    single: ImageDataModule = build({**config["data"], **options}, "data")
    if (folder / SPLIT).is_file():
        single.reuse_split(folder / SPLIT)
    single.setup()
    single.eval_transform = partial(dropped_frames, part=1.0, seed=config["seed"])  # which leaves one frame, at random
    return single


def _train(model: pl.LightningModule, single: ImageDataModule, config: Mapping[str, Any], work: Path) -> None:
    """Train as the run was, on one device, and give the model its best weights."""
    options = {**config["trainer"], "devices": 1, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {name: value for name, value in (("num_nodes", 1), ("strategy", "auto")) if name in options}
    callbacks = [  # checkpoints among them go where the trainer's root is
        callback
        for callback in build_named(config["callbacks"], "callbacks").values()
        if not isinstance(callback, LearningRateMonitor | DeviceStatsMonitor)  # which refuse to work without a logger
    ]
    try:
        trainer: pl.Trainer = build(options, "trainer", callbacks=callbacks, logger=[], default_root_dir=str(work))
        trainer.fit(model, datamodule=single)
        state = torch.load(work / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)
        model.load_state_dict(state["state_dict"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _score(val: pd.DataFrame, facts: Facts, chosen: Sequence[str] | None) -> tuple[float, str]:
    """How good validation predictions are, higher is better, and by which metric.

    AUROC; accuracy where there is none, as of a class that one patient has; of quantities the mean absolute error.
    """
    if facts.task == "regression":
        errors = [(val[f"pred/{name}"] - val[f"target/{name}"]).abs().mean() for name in facts.classes]
        return -float(np.mean(errors)), "mae"
    if chosen:
        narrowed, fewer = narrow(val, facts, chosen)
        val, facts = (narrowed, fewer) if len(narrowed) else (val, facts)
    judged = judge_table(val, facts)
    name = "auroc" if judged["auroc"]["value"] is not None else "accuracy"
    return float(judged[name]["value"]), name
