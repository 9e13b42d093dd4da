"""Check (b) of a frozen config: the signature of every target, then what only the whole config can show.

Runs before data or GPU is touched and reports every problem in one message.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vesalius.config.allowed import check_allowed
from vesalius.config.diagnose import did_you_mean
from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError
from vesalius.config.targets import locate, target_problems

# Callbacks that need what a run of Vesalius does not offer, and what to use in their place.
_UNSUPPORTED = {
    "LearningRateFinder": "sweep model.optimizer.lr instead: `vesalius train -m model.optimizer.lr=1e-4,1e-3,1e-2`",
    "BatchSizeFinder": "set data.batch_size",
}


def check_config(config: Mapping[str, Any]) -> None:
    """Walk a frozen config and check what only Vesalius can know of it.

    Raises:
        InputError: with one sentence for each problem; for code that is not allowed before anything is imported.
    """
    check_allowed(config)
    problems = list(target_problems(config, "")) or list(_cross_problems(config))
    if problems:
        raise InputError(problems)


def _cross_problems(config: Mapping[str, Any]) -> Iterator[str]:
    if "monitor" in config:
        yield from _monitor_problems(config)
    if "callbacks" in config:
        yield from _checkpoint_problems(config)
        yield from _callback_problems(config)
        yield from _validation_problems(config)
    if config.get("trainer", {}).get("overfit_batches"):
        yield (
            "trainer.overfit_batches: batches are cut by Vesalius' own sampler: take few samples with "
            "data.train_fraction, or few batches with trainer.limit_train_batches."
        )
    data = config.get("data") or {}
    if (config.get("model") or {}).get("cache_features") and (data.get("augment") or {}).get("operations"):
        yield (
            "model.cache_features=true: images that are augmented have other features each time: set data/augment=none "
            "(or model.cache_features=false)."
        )
    if data.get("folds") is not None and data.get("fold") is None:
        sweep = f"-m 'data.fold=range({data['folds']})'"
        yield f"data.folds={data['folds']}: choose the fold to hold out, or sweep over all with {sweep}."


def _metrics_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names that the model logs for some task; None for a user's own module that does not declare them."""
    return getattr(locate(config["model"]["_target_"]), "METRICS", None)


def _monitor_problems(config: Mapping[str, Any]) -> Iterator[str]:
    metrics, monitor = _metrics_of(config), config["monitor"]
    if metrics is not None and monitor["name"] not in metrics:
        yield f"monitor.name={monitor['name']}: the model has no such metric.{did_you_mean(monitor['name'], metrics)}"
    yield from _mode_problems("monitor.mode", monitor["mode"], monitor["name"])
    if monitor["mode"] not in ("min", "max"):
        yield f"monitor.mode={monitor['mode']}: expected min or max."


def _mode_problems(key: str, mode: object, metric: str) -> Iterator[str]:
    """A mode that would keep the worst value of a metric."""
    better = mode_of(metric)
    if better is not None and mode in ("min", "max") and mode != better:
        word = "lower" if better == "min" else "higher"
        yield f"{key}={mode}: {metric} is better the {word} it is: set {key}={better}."


def _checkpoint_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Final numbers are those of `best`; a run is resumed from `last`."""
    for name in ("best", "last"):
        entry = config["callbacks"].get(name)
        if entry is None or entry.get("filename") != name:
            yield f"callbacks.{name} is needed, with filename={name}: restore it as in conf/callbacks/default.yaml."
        elif entry.get("save_top_k") == 0:
            yield f"callbacks.{name}.save_top_k=0: the run would keep no {name} checkpoint: set it to 1."


def _callback_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in callbacks that Lightning would only find after an epoch, or never."""
    metrics = _metrics_of(config)
    for name, entry in config["callbacks"].items():
        if entry is None:
            continue
        key, kind = f"callbacks.{name}", str(entry["_target_"]).rpartition(".")[2]
        if kind in _UNSUPPORTED:
            yield f"{key}: {kind} does not work with batches that Vesalius cuts itself: {_UNSUPPORTED[kind]}."
        if kind == "LearningRateMonitor" and not any(config.get("logger", {}).values()):
            yield f"{key}: {kind} writes to a logger, and there is none: choose logger=tensorboard or logger=wandb."
        monitor = entry.get("monitor")
        if not isinstance(monitor, str):
            continue
        if metrics is not None and monitor not in metrics:
            yield f"{key}.monitor={monitor}: the model has no such metric.{did_you_mean(monitor, metrics)}"
        mode = entry.get("mode", "min")  # Lightning's default for every callback with a monitor
        if {"name": monitor, "mode": mode} != config["monitor"]:  # else it follows `monitor`, which has the problem
            yield from _mode_problems(f"{key}.mode", mode, monitor)


def _validation_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Trainings that would end without a validated checkpoint."""
    trainer = config["trainer"]
    epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch")
    if epochs == 0 or trainer.get("max_steps") == 0:
        yield "trainer.max_epochs=0: nothing would be trained: set it to at least 1."
    if not isinstance(epochs, int) or epochs < 1:
        return
    if isinstance(every, int) and every > epochs:
        yield (
            f"trainer.check_val_every_n_epoch={every}: a training of {epochs} epochs is never validated, so it has no "
            f"best checkpoint: set it to {epochs} or less."
        )
    for name in ("best", "last"):
        saved = (config["callbacks"].get(name) or {}).get("every_n_epochs")
        if isinstance(saved, int) and saved > epochs:
            yield (
                f"callbacks.{name}.every_n_epochs={saved}: a training of {epochs} epochs saves no {name} checkpoint: "
                f"set it to {epochs} or less."
            )
