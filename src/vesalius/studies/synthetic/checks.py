"""Whether what `vesalius gain` is to train could be compared: one split, equal steps, images that have a class."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytorch_lightning.callbacks import EarlyStopping, Timer

from vesalius.config.compose import Plain
from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.targets import locate
from vesalius.data.sources.base import Source
from vesalius.data.synthetic import check_ratio
from vesalius.metrics.classification.metrics import metric_names
from vesalius.models.family import output_kind

# Of the data: arms that differ in one learn by unequal numbers of steps, or from unequal numbers of images.
_STEPS = ("steps_per_epoch", "batch_size")
# What decides which images there are to learn from, which the generator and all arms must share.
_SHARED = ("source", "fractions", "train_fraction")


def check_fair(gan: Plain, arms: Mapping[str, Plain], learning: Sequence[str], split: str) -> None:
    """Refuse trainings whose results would say nothing of the images.

    Args:
        gan: the generator's config.
        arms: those of the classifiers.
        learning: arms that learn from the generator's images.
        split: the generator's split file, which all arms must have.

    Raises:
        InputError: with every problem.
    """
    problems = [
        *_gan_problems(gan, arms),
        *_step_problems(arms),
        *_data_problems({"gan": gan, **arms}, split),
        *_twice(arms, learning),
        *(problem for name in learning for problem in _ratio_problems(name, arms[name])),
    ]
    if problems:
        raise InputError(problems)


def check_labels(source: Source, metric: str) -> None:
    """Refuse data whose samples have not one class each, and a metric that classifiers of them do not have.

    Raises:
        InputError: before hours are spent on what could not be judged.
    """
    if source.task in ("multilabel", "regression", "unlabelled"):
        raise InputError(
            f"data: the samples are {source.task}, and a generator can be told of one class each: take data whose "
            "samples have exactly one."
        )
    known = metric_names(source.classes)
    if metric not in known:
        raise InputError(
            f"metric={metric}: there is no such metric of these data, whose classes are {', '.join(source.classes)}."
            f"{did_you_mean(metric, known)}"
        )


def _gan_problems(gan: Plain, arms: Mapping[str, Plain]) -> Iterator[str]:
    model = locate(gan["model"]["_target_"])
    if output_kind(model) != "samples":
        yield f"gan: {model.__name__} makes no images: choose model=gan, or an experiment with one."
    elif gan["model"].get("conditional") is False:
        yield "gan: its images would have no class, and the arms learn classes: set model.conditional=true."
    for key in _SHARED:
        others = [name for name, config in arms.items() if config["data"].get(key) != gan["data"].get(key)]
        if others:
            yield (
                f"gan: its data.{key} differs from that of {', '.join(others)}, and images of other data are of no use "
                "to them: say in both=[...] what the data are."
            )


def _step_problems(arms: Mapping[str, Plain]) -> Iterator[str]:
    learned = {name: _by_which_it_learns(config) for name, config in arms.items()}
    first, *_ = learned
    if any(told["data.steps_per_epoch"] is None for told in learned.values()):
        yield (
            "cnn: data.steps_per_epoch is not set, so that an arm with more images would learn by more steps: set it, "
            "such as 'cnn=[\"data.steps_per_epoch=20\"]'."
        )
    for name, told in learned.items():
        pairs = {key: (told.get(key), learned[first].get(key)) for key in told | learned[first]}
        unequal = [f"{key} ({own}, {other} in {first})" for key, (own, other) in pairs.items() if own != other]
        if unequal:
            yield f"arms.{name}: all must learn by equal steps, and it differs in {', '.join(unequal)}: set it in cnn."
    for name, config in arms.items():
        if stops := list(_stops(config)):
            yield (
                f"arms.{name}: {', '.join(stops)} would end arms after unequal numbers of steps: leave it out; the "
                "checkpoint is picked on validation all the same."
            )


def _by_which_it_learns(config: Plain) -> dict[str, Any]:
    trainer = {f"trainer.{key}": value for key, value in config["trainer"].items()}
    return {f"data.{key}": config["data"].get(key) for key in _STEPS} | trainer


def _stops(config: Plain) -> Iterator[str]:
    """What ends a training when it sees fit."""
    if config["trainer"].get("max_time") is not None:
        yield "trainer.max_time"
    for name, callback in config["callbacks"].items():
        if callback is not None and issubclass(locate(callback["_target_"]), EarlyStopping | Timer):
            yield f"callbacks.{name}"


def _data_problems(trainings: Mapping[str, Plain], split: str) -> Iterator[str]:
    """What an arm may not say of its data, since it is said for all."""
    shuffled = [name for name, config in trainings.items() if config["data"].get("shuffle_labels")]
    if shuffled:
        yield (
            f"data.shuffle_labels=true ({', '.join(shuffled)}): each training would deal the labels anew, by its own "
            "seed, and not as the images have them: leave it out."
        )
    given = {"split_file": split, "fold": None, "folds": None, "synthetic": None}
    for name, config in trainings.items():
        own = [f"data.{key}" for key, value in given.items() if config["data"].get(key) != value]
        if own and name != "gan":
            yield (
                f"arms.{name}: leave {', '.join(own)} out: all arms have the generator's split, and the images are "
                "those that are made here."
            )


def _twice(arms: Mapping[str, Plain], learning: Sequence[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, config in arms.items():
        same = seen.setdefault(json.dumps([{**config, "name": None}, name in learning], sort_keys=True), name)
        if same != name:
            yield f"arms.{name}: it is the same as arms.{same}: change one, or take it out with arms.{name}=null."


def _ratio_problems(name: str, config: Plain) -> Iterator[str]:
    try:
        check_ratio(config["data"]["synthetic_ratio"])
    except InputError as error:
        yield from (f"arms.{name}: {problem}" for problem in error.problems)
