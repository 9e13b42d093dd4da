"""The single-frame arm of the ablation of time: the same network, trained alike, without any series."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import DeviceStatsMonitor, LearningRateMonitor

from vesalius.config.build import build, build_named
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.series_ablations import dropped_frames, one_frame
from vesalius.evaluation.base import Results, Start
from vesalius.evaluation.inference import predict
from vesalius.evaluation.scoring import restrict_to_classes, score_table
from vesalius.models.family import FamilyModule
from vesalius.runs.run_folder import SPLIT
from vesalius.training.frozen_features import KeepFeatures

#: Places in a series, as parts of its length, from which validation chooses one.
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def predict_single_frame(results: Results, start: Start) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Train the run's network on one random frame of each series at a time, and predict from one fixed frame.

    Args:
        results: of the run; nothing is left in its folder.
        start: gives a newly built model the weights that the run started from.

    Returns:
        The predictions tables of validation and of the test split, and which frame was used, as a sentence without its
        full stop.
    """
    facts, config, folder, device = results.facts, results.config, results.folder, results.device
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    frames = _frame_data(results.data, config, folder)
    model: FamilyModule = build(config["model"], "model", facts=frames.facts)
    start(model)
    train_on_frames(model, frames, config, folder / ".single_frame")
    classes = config["evaluation"]["evidence_classes"]
    tables, scores = {}, {}
    for place in PLACES:
        tables[place] = predict(model, frames, "val", facts, device, partial(one_frame, part=place))
        scores[place], name = score_validation(tables[place], facts, classes)
    best = max(scores, key=lambda place: scores[place])
    test = predict(model, frames, "test", facts, device, partial(one_frame, part=best))
    percent = f"{best:.0%}".replace("%", " %")
    return tables[best], test, f"evaluated on the frame at {percent} of each series, chosen by {name} on validation"


def _frame_data(data: ImageDataModule, config: Mapping[str, Any], folder: Path) -> ImageDataModule:
    """The run's data and split, as one random frame of each series."""
    # A step of one series shows a network several frames, as BatchNorm needs; a step of one frame would not.
    options = {"frames": 1, "frame_sampling": "random", "batch_size": max(2, data.batch_size)}
    frames: ImageDataModule = build({**config["data"], **options}, "data")
    if (folder / SPLIT).is_file():
        frames.reuse_split(folder / SPLIT)
    frames.setup()
    frames.eval_transform = partial(dropped_frames, part=1.0, seed=config["seed"])  # which leaves one frame, at random
    return frames


def train_on_frames(model: FamilyModule, frames: ImageDataModule, config: Mapping[str, Any], work: Path) -> None:
    """Train as the run was, but on one device, and load the best weights.

    Args:
        model: with the weights to start from.
        frames: single frames.
        config: of the run.
        work: a folder for checkpoints, deleted at the end.
    """
    options = {**config["trainer"], "devices": 1, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {name: value for name, value in (("num_nodes", 1), ("strategy", "auto")) if name in options}
    callbacks = [  # checkpoints among them go where the trainer's root is
        callback
        for callback in build_named(config["callbacks"], "callbacks").values()
        if not isinstance(callback, LearningRateMonitor | DeviceStatsMonitor)  # which refuse to work without a logger
    ]
    try:
        callbacks.append(KeepFeatures())
        trainer: pl.Trainer = build(options, "trainer", callbacks=callbacks, logger=[], default_root_dir=str(work))
        trainer.fit(model, datamodule=frames)
        state = torch.load(work / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)
        model.load_state_dict(state["state_dict"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def score_validation(val: pd.DataFrame, facts: Facts, classes: Sequence[str] | None) -> tuple[float, str]:
    """How good validation predictions are, higher is better, and by which metric.

    AUROC; accuracy where AUROC is undefined, as with a class of only one patient; for continuous targets the negative
    mean absolute error.
    """
    if facts.task == "regression":
        errors = [(val[f"pred/{name}"] - val[f"target/{name}"]).abs().mean() for name in facts.classes]
        return -float(np.mean(errors)), "mae"
    if classes:
        narrowed, fewer = restrict_to_classes(val, facts, classes)
        val, facts = (narrowed, fewer) if len(narrowed) else (val, facts)
    metrics = score_table(val, facts)
    name = "auroc" if metrics["auroc"]["value"] is not None else "accuracy"
    value = metrics[name]["value"]
    assert value is not None  # an accuracy always has one
    return value, name
