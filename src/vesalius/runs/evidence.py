"""Whether a model of image series uses their time: its test numbers with information taken away.

Arms of `evidence` in `metrics.json`:

* `model`: as it is.
* `time_shuffled`: frames in random order, at the same times.
* `single_frame`: the same network trained on one random frame of each series at a time, and judged on the frame that
  does best on validation.
* `first_frames/<k>`: only the first k frames: what is known early.
* `frames_dropped/<per cent>`: a random part of the frames left out.

`auroc_difference` is the model minus the arm on the same patients, with a paired interval.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from vesalius.config.build import build
from vesalius.config.facts import Facts
from vesalius.data.datamodule import Batch, ImageDataModule
from vesalius.data.series_views import dropped_frames, first_frames, one_frame, shuffled_frames
from vesalius.evaluation.comparison import paired_difference
from vesalius.runs.checkpoints import Checkpoint
from vesalius.runs.inference import predict
from vesalius.runs.results import Metrics, judge_table

SHOWN = ("auroc", "accuracy", "balanced_accuracy", "mae", "rmse", "r2")
COMPARED = ("time_shuffled", "single_frame")
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_FIRST_FRAMES = 6
_DROPPED = (25, 50, 75)

View = Callable[[Batch], Batch]


def temporal_evidence(
    model: pl.LightningModule,
    data: ImageDataModule,
    facts: Facts,
    config: Mapping[str, Any],
    folder: Path,
    device: torch.device,
) -> Metrics:
    """Judge a finished model with information taken away, and the same network without any series.

    Args:
        model: the finished model.
        data: the datamodule of its run.
        facts: of that data.
        config: of the run; `evaluation.evidence_classes` narrows the judgement to samples of some classes.
        folder: of the run; training of the single-frame arm leaves nothing in it.
        device: where to predict.
    """
    tables = {
        arm: predict(model, data, "test", facts, device, view) for arm, view in _views(facts, config["seed"]).items()
    }
    tables["single_frame"] = _single_frame(data, facts, config, folder, device)
    chosen = config["evaluation"]["evidence_classes"]
    if chosen:
        narrowed = {arm: narrow(table, facts, chosen) for arm, table in tables.items()}
        tables, facts = {arm: table for arm, (table, _) in narrowed.items()}, narrowed["model"][1]
    evidence = {arm: _shown(judge_table(table, facts)) for arm, table in tables.items()}
    if facts.task != "regression":
        for arm in COMPARED:
            evidence[arm]["auroc_difference"] = paired_difference(
                tables["model"], tables[arm], metric="auroc", task=facts.task, classes=facts.classes
            )
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


def _shown(metrics: Metrics) -> Metrics:
    return {name: entry for name, entry in metrics.items() if name in SHOWN}


def _single_frame(
    data: ImageDataModule, facts: Facts, config: Mapping[str, Any], folder: Path, device: torch.device
) -> pd.DataFrame:
    """Test predictions of the same network, trained alike on single frames, at the frame best on validation."""
    work = folder / ".single_frame"
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    single: ImageDataModule = build({**config["data"], "frames": 1, "frame_sampling": "random"}, "data")
    single.setup()
    single.view = partial(dropped_frames, part=1.0, seed=config["seed"])  # which leaves one frame, at random
    model: pl.LightningModule = build(config["model"], "model", facts=single.facts)
    monitor = config["monitor"]
    best = Checkpoint(filename="best", monitor=monitor["name"], mode=monitor["mode"])
    options = {**config["trainer"], "enable_progress_bar": False, "enable_model_summary": False}
    trainer: pl.Trainer = build(options, "trainer", callbacks=[best], logger=[], default_root_dir=str(work))
    try:
        trainer.fit(model, datamodule=single)
        state = torch.load(work / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)
        model.load_state_dict(state["state_dict"])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    name, sign = ("mae", -1) if facts.task == "regression" else ("auroc", 1)
    scores = {}
    for place in _PLACES:
        val = predict(model, single, "val", facts, device, partial(one_frame, part=place))
        value = judge_table(val, facts)[name]["value"]
        scores[place] = sign * value if value is not None else -np.inf
    chosen = max(scores, key=lambda place: scores[place])
    return predict(model, single, "test", facts, device, partial(one_frame, part=chosen))
