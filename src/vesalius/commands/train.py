"""`python -m vesalius.commands.train DIR`: train and evaluate the run whose frozen config is in DIR.

Single runs, sweep jobs, resumed runs and every DDP rank enter here and nowhere else.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from vesalius.config.allowed import is_allowed, targets_of
from vesalius.config.checks import check_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.targets import locate
from vesalius.data.datamodules.summary import print_data
from vesalius.evaluation.base import results_of
from vesalius.evaluation.data_overlap import check_data_overlap
from vesalius.evaluation.decision import DecisionOptions
from vesalius.evaluation.feature_extractors import load_extractor
from vesalius.evaluation.final import finish
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.temporal_ablation import check_ablation
from vesalius.launch.rank_failure import named_rank
from vesalius.launch.worker import enter, leave, log_to, rank
from vesalius.runs.hashes import write_hashes
from vesalius.runs.provenance.cost import Cost
from vesalius.runs.provenance.energy import EnergyMeter, visible_gpus
from vesalius.runs.redaction import private_paths
from vesalius.runs.run_folder import RunFolder
from vesalius.sweeps.slurm import check_slurm
from vesalius.terminal import command_console
from vesalius.training.checkpoints import load_checkpoint, restore_model
from vesalius.training.frozen_features import keep_features, load_features
from vesalius.training.session import Session
from vesalius.training.tracking.base import outputs_of

# What is first needed to evaluate a finished training.
_LATER = (
    "PIL.JpegImagePlugin",
    "fsspec.implementations.chained",
    "matplotlib.backends.backend_agg",
    "omegaconf",
    "pandas.io.formats.csvs",
    "safetensors.numpy",
    "sklearn.covariance",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.preprocessing",
    "vesalius.evaluation.monitoring.out_of_distribution",
    "vesalius.evaluation.monitoring.shift",
    "vesalius.evaluation.supervised",
    "vesalius.figures.classification",
    "vesalius.figures.decision",
    "vesalius.figures.regression",
    "vesalius.figures.series",
    "vesalius.metrics.shift.sentinel",
)


def train(path: Path) -> None:
    """Do all of one run; a run that was stopped is continued, and a folder whose config is refused goes."""
    folder = RunFolder(path)
    first = not folder.state
    try:
        folder.check_training(folder.config)
        check_config(folder.config)
        check_slurm(folder.config)
        if rank() == 0:
            gpus = [] if folder.config["trainer"].get("accelerator") == "cpu" else visible_gpus()
            with folder.attempt(EnergyMeter(gpus=gpus)) as cost, named_rank(folder.path / "logs"):
                _train(folder, cost)
        else:
            _train(folder, Cost())
    except InputError:
        if first and rank() == 0 and not folder.checkpoints.exists() and not folder.alive:
            folder.discard()
        raise


def _train(folder: RunFolder, cost: Cost) -> None:
    config = folder.config
    log_to(folder.path / "logs" / f"rank{rank()}.log", private_paths(config))
    session = Session(folder)
    DecisionOptions.of_config(config["evaluation"]).check(session.data.source.task)
    check_ablation(config["evaluation"], session.data.source)
    if rank() == 0:
        session.data.on_split = print_data(session.data.source)
    with cost.measure("data"):
        session.prepare_data()
        _check_other_runs(session)
        session.check()
    extractor = config["evaluation"]["extractor"]
    with cost.measure("training"):
        session.build_model(None if extractor is None else partial(_load_features, extractor, session.data.facts))
        session.fit()
    if rank() == 0 and not session.dry_run:
        with cost.measure("evaluation"):
            _evaluate(session)
        write_hashes(folder.path)
    if rank() == 0 and (folder.path / "profile").is_dir():
        command_console().print(f"Profile: {folder.path / 'profile'}", soft_wrap=True, highlight=False)


def _check_other_runs(session: Session) -> None:
    """Refuse other runs' weights that have learned from this run's validation or test images."""
    config = session.config
    named = {"init_from": config["init_from"], "evaluation.extractor": config["evaluation"]["extractor"]}
    for key, run in named.items():
        check_data_overlap(key, run, session.data.table, config["data"]["source"], session.fingerprint)


def _load_features(named: str, facts: Facts) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """The features of `evaluation.extractor`, as a model takes them."""
    extractor = load_extractor(named, facts, torch.device("cpu"))
    return extractor.embed, extractor.dim


def _evaluate(session: Session) -> None:
    """Evaluate the best checkpoint: validation first, then the test split, once."""
    folder, config, data = session.folder, session.config, session.data
    checkpoint = load_checkpoint(folder.best)
    model, device = restore_model(checkpoint), inference_device(config["trainer"])
    load_features(model.to(device), data)
    final = finish(
        results_of(model, data, data.facts, config, device, folder.path),
        folder,
        ("val", "test"),
        monitor={**config["monitor"], "best": checkpoint["monitored"], "epoch": checkpoint["epoch"]},
        baselines=config["evaluation"]["baselines"],
        without_duplicates=config["evaluation"]["drop_duplicates"],
        start=session.load_start,
        weights=checkpoint["provenance"].get("weights") or [],
    )
    keep_features(model, data)
    command_console().print(f"Run folder: {folder.path}", soft_wrap=True, highlight=False)
    outputs = outputs_of(data, final.predictions)
    for tracker in session.trackers:
        tracker.finish(final.metrics, final.figures, outputs)


def import_later(path: Path) -> None:
    """Import what a run imports only when it gets there: a sweep does so once, and its jobs are forks of that process.

    Args:
        path: of a run folder; its config is not checked yet, and only modules of Vesalius are imported by its names.
    """
    config = RunFolder(path).config
    names = [*_LATER, *(["wandb"] if (config["logger"] or {}).get("wandb") else [])]
    for name in names:
        import_module(name)
    for _, target in targets_of(config):
        if target.startswith("vesalius.") and is_allowed(target):
            with suppress(InputError):  # a job refuses its config itself
                locate(target)


if __name__ == "__main__":
    leave(enter(train, sys.argv[1:]))
