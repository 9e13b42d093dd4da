"""`python -m vesalius.commands.train DIR`: train, judge and record the run whose frozen config lies in DIR.

Single runs, sweep jobs, resumed runs and every DDP rank enter here and nowhere else.
"""

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

from vesalius.config.build import build, build_named
from vesalius.config.checks import check_config
from vesalius.config.diagnose import did_you_mean
from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.data.audit.audit import run_audit
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.findings import check_names
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.splits.file import write_split
from vesalius.evaluation.base import draw, judge_unrepeated, results_of, save_figures, write_skipped, write_tables
from vesalius.evaluation.data_overlap import check_unseen
from vesalius.evaluation.feature_extractors import load_extractor
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.evaluation.temporal_ablation import check_evidence
from vesalius.launch.rank_failure import named_rank
from vesalius.launch.worker import enter, log_to, rank
from vesalius.metrics.baselines.principal_components import MAX_TRAIN
from vesalius.metrics.classification.thresholds import check_rule
from vesalius.models.family import FamilyModule
from vesalius.runs.provenance import provenance
from vesalius.runs.redaction import private_paths
from vesalius.runs.run_folder import METRICS, OVERRIDES, PROVENANCE, SPLIT, RunFolder, write_json
from vesalius.sweeps.slurm import check_slurm
from vesalius.terminal import command_console
from vesalius.training.checkpoints import CheckpointMetadata, load_checkpoint, restore_model
from vesalius.training.history import EpochProgress, History
from vesalius.training.rank_consistency import RankConsistency
from vesalius.training.rng_state import RngState
from vesalius.training.sample_grids import SampleGrids
from vesalius.training.stopping import PruneOnRequest, ValidateAtMaxSteps
from vesalius.training.tracking.base import TrackEpochs, answers_of, trackers_of

logger = logging.getLogger("vesalius")


def train(path: Path) -> None:
    """Do all of one run; what is in the folder already is continued."""
    folder = RunFolder(path)
    first = not folder.state
    try:
        check_config(folder.config)
        check_slurm(folder.config)
        if rank() == 0:
            with folder.attempt(), named_rank(folder.path / "logs"):
                _train(folder)
        else:
            _train(folder)
    except InputError:
        if first and rank() == 0 and not folder.checkpoints.exists():
            folder.discard()
        raise


def _train(folder: RunFolder) -> None:
    config = folder.config
    log_to(folder.path / "logs" / f"rank{rank()}.log", private_paths(config))
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    rehearsal = bool(config["trainer"].get("fast_dev_run"))
    loggers = build_named(config["logger"], "logger") if rank() == 0 and not rehearsal else {}
    metadata, ranks = CheckpointMetadata(), RankConsistency()
    trainer: pl.Trainer = build(
        config["trainer"],
        "trainer",
        callbacks=[
            ranks,
            RngState(),
            ValidateAtMaxSteps(),
            History(),
            EpochProgress(),
            SampleGrids(),
            TrackEpochs(),
            metadata,
            *build_named(config["callbacks"], "callbacks").values(),
            PruneOnRequest(),
        ],
        logger=list(loggers.values()),
        default_root_dir=str(folder.path),
    )
    initial = _initial(config)
    data: ImageDataModule = build(config["data"], "data")
    check_rule(config["evaluation"]["decision"], data.source.task)
    check_evidence(config["evaluation"], data.source)
    check_names(config["audit"]["fail_on"], "audit.fail_on")
    if (folder.path / SPLIT).exists():  # a run that is resumed goes on with its own patients
        data.reuse_split(folder.path / SPLIT)
    data.setup()
    fingerprint = data.source.fingerprint()
    named = {"init_from": config["init_from"], "evaluation.extractor": config["evaluation"]["extractor"]}
    for key, run in named.items():
        check_unseen(key, run, data.table, config["data"]["source"], fingerprint)
    if rank() == 0 and not rehearsal:
        real = data.real_store
        _quick_audit(folder, AuditInput(real.table, real, data.source, train_classes=data.train_classes))
    model: FamilyModule = build(config["model"], "model", facts=data.facts)
    if (extractor := config["evaluation"]["extractor"]) is not None:
        model.set_feature_extractor(partial(_features, extractor, data.facts))
    _check_monitor(config["monitor"], model)
    origin = provenance(
        overrides=yaml.safe_load((folder.path / OVERRIDES).read_text()),
        fingerprint=fingerprint,
        seed=config["seed"],
    )
    metadata.fill(config, data.facts, origin)
    last = folder.last if folder.last.exists() else None
    if last is None:
        _start_from(model, data=data, initial=initial)
    if rank() == 0:
        write_json(folder.path / PROVENANCE, origin)
        write_split(data.split, folder.path / SPLIT)
        write_skipped(data, folder.path)
        for tracker in trackers_of(loggers.values()):
            tracker.begin(folder.path, config, config["name"], data.facts.task)
    samples = [origin["data"], data.split[["sample_id", "split"]].to_numpy().tolist()]
    ranks.fill(config, samples, data.batch_size)
    trainer.fit(model, datamodule=data, ckpt_path=None if last is None else str(last))
    if rank() == 0 and not rehearsal:
        _finish(folder, data, loggers)
    if rank() == 0 and (folder.path / "profile").is_dir():
        command_console().print(f"Profile: {folder.path / 'profile'}", soft_wrap=True, highlight=False)


def _quick_audit(folder: RunFolder, data: AuditInput) -> None:
    """Run the quick audit and the checks of `audit.fail_on`, and log the findings before time is spent on training.

    Raises:
        RunFailed: where a check of `audit.fail_on` found something, or could not run.
    """
    audit = run_audit(data, folder.config["audit"]["fail_on"])
    write_json(folder.path / "audit.json", audit.report)
    for finding in audit.findings:
        level = logging.INFO if finding.severity == "note" else logging.WARNING
        logger.log(level, "audit: %s: %s", finding.check, finding.message)
    if audit.failures:
        raise RunFailed([*audit.failures, f"{folder.path / 'audit.json'} has the details."])


def _features(named: str, facts: Facts) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """What `evaluation.extractor` names, as a model family takes it."""
    extractor = load_extractor(named, facts, torch.device("cpu"))
    return extractor.embed, extractor.dim


def _check_monitor(monitor: dict[str, str], model: FamilyModule) -> None:
    """Only with the data at hand is it known which metrics there will be.

    Raises:
        InputError: for a metric of another task, or a mode that would keep the worst checkpoint.
    """
    name, known = monitor["name"], getattr(model, "logged_metrics", None)
    if known is None:  # a user's own module
        return
    if name not in known:
        raise InputError(f"monitor.name={name}: there is no such metric of this task.{did_you_mean(name, known)}")
    mode = mode_of(name)
    if mode is not None and monitor["mode"] != mode:
        better = "lower" if mode == "min" else "higher"
        raise InputError(
            f"monitor.mode={monitor['mode']}: {name} is better the {better} it is: set monitor.mode={mode}."
        )


def _initial(config: dict[str, Any]) -> dict[str, Any] | None:
    """The checkpoint that a run begins with, if it names another run."""
    return None if config["init_from"] is None else load_checkpoint(RunFolder(config["init_from"]).best)


def _start_from(model: FamilyModule, *, data: ImageDataModule, initial: dict[str, Any] | None) -> None:
    """Weights of a fresh run: the net's own pretrained ones, what the data give, those of another run's checkpoint."""
    model.load_pretrained()
    model.initialize(lambda: data.pixels(data.spread_rows("train", MAX_TRAIN)))
    if initial is not None:
        skipped = model.load_initial(initial["state_dict"])
        if skipped:
            command_console(stderr=True).print(f"init_from: these weights stay as they were: {', '.join(skipped)}")


def _finish(folder: RunFolder, data: ImageDataModule, loggers: dict[str, Any]) -> None:
    """Judge the best checkpoint: validation first, then the test split, once."""
    config = folder.config
    checkpoint = load_checkpoint(folder.best)
    model, device = restore_model(checkpoint), inference_device(config["trainer"])
    results = results_of(model, data, data.facts, config, device, folder.path)
    predictions = {split: results.predictions(split) for split in ("val", "test")}
    write_tables(predictions, folder.predictions)
    metrics = results.judge(predictions)
    metrics["monitor"] = {**config["monitor"], "best": checkpoint["monitored"], "epoch": checkpoint["epoch"]}
    if config["evaluation"]["baselines"]:
        metrics["baselines"] = results.baselines(predictions, metrics)
        write_tables(results.baseline_tables, folder.predictions / "baselines")
    metrics["evidence"] = {}
    write_json(folder.path / METRICS, metrics)  # nothing that follows may cost the run its numbers
    if config["evaluation"]["drop_duplicates"]:
        metrics["evidence"] |= judge_unrepeated(results, predictions["test"], metrics)
    metrics |= results.evidence(predictions, metrics, partial(_start_from, data=data, initial=_initial(config)))
    write_tables(predictions, folder.predictions)
    write_json(folder.path / METRICS, metrics)
    figures = draw(results, predictions, metrics)
    save_figures(figures, folder.figures)
    console = command_console()
    print_metrics(metrics, console)
    console.print(f"Run folder: {folder.path}", soft_wrap=True, highlight=False)
    answers = answers_of(data, predictions)
    for tracker in trackers_of(loggers.values()):
        tracker.finish(metrics, figures, answers)


if __name__ == "__main__":
    sys.exit(enter(train, sys.argv[1:]))
