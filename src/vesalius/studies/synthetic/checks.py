"""Checks that the trainings of `vesalius gain` can be compared: one split, equal steps, images that have a class."""

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

# Keys of data; arms that differ in one are trained for unequal numbers of steps, or on unequal numbers of images.
_STEPS = ("steps_per_epoch", "batch_size")
# Keys of data that decide which images there are for training; the generator and all arms must share them.
_SHARED = ("source", "fractions", "train_fraction")


def check_fair(gan: Plain, arms: Mapping[str, Plain], learning: Sequence[str], split: str) -> None:
    """Refuse trainings whose results would not show what the images are worth.

    Args:
        gan: the generator's config.
        arms: those of the classifiers.
        learning: names of the arms that learn from the generator's images.
        split: the generator's split file, which all arms must use.

    Raises:
        InputError: with every problem.
    """
    problems = [
        *_gan_problems(gan, arms),
        *_step_problems(arms),
        *_data_problems({"gan": gan, **arms}, split),
        *_equal_arms(arms, learning),
        *(problem for name in learning for problem in _ratio_problems(name, arms[name])),
    ]
    if problems:
        raise InputError(problems)


def check_labels(source: Source, metric: str) -> None:
    """Refuse data whose samples do not have one class each, and a metric that their classifiers do not have.

    Raises:
        InputError: before hours are spent on runs that could not be compared.
    """
    if source.task in ("multilabel", "regression", "unlabelled"):
        raise InputError(
            f"data: the samples are {source.task}, and a generator can be conditional on one class per sample only: "
            "choose data whose samples have exactly one class."
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
        yield f"gan: {model.__name__} generates no images: choose model=gan, or an experiment with it."
    elif gan["model"].get("conditional") is False:
        yield "gan: its images would have no class, and the arms learn classes: set model.conditional=true."
    for key in _SHARED:
        others = [name for name, config in arms.items() if config["data"].get(key) != gan["data"].get(key)]
        if others:
            yield (
                f"gan: its data.{key} differs from that of {', '.join(others)}, and images of other data are of no use "
                "to them: set the data for all in both=[...]."
            )


def _step_problems(arms: Mapping[str, Plain]) -> Iterator[str]:
    settings = {name: _step_settings(config) for name, config in arms.items()}
    first, *_ = settings
    if any(own["data.steps_per_epoch"] is None for own in settings.values()):
        yield (
            "cnn: data.steps_per_epoch is not set, so that an arm with more images would be trained for more steps: "
            "set it, such as 'cnn=[\"data.steps_per_epoch=20\"]'."
        )
    for name, own in settings.items():
        pairs = {key: (own.get(key), settings[first].get(key)) for key in own | settings[first]}
        unequal = [f"{key} ({a}, {b} in {first})" for key, (a, b) in pairs.items() if a != b]
        if unequal:
            yield (
                f"arms.{name}: all must be trained for equally many steps, and it differs in {', '.join(unequal)}: set "
                "it in cnn."
            )
    for name, config in arms.items():
        if stops := list(_stops(config)):
            yield (
                f"arms.{name}: {', '.join(stops)} would end arms after unequal numbers of steps: leave it out; the "
                "checkpoint is picked on validation all the same."
            )


def _step_settings(config: Plain) -> dict[str, Any]:
    trainer = {f"trainer.{key}": value for key, value in config["trainer"].items()}
    return {f"data.{key}": config["data"].get(key) for key in _STEPS} | trainer


def _stops(config: Plain) -> Iterator[str]:
    """Settings that can end a training early."""
    if config["trainer"].get("max_time") is not None:
        yield "trainer.max_time"
    for name, callback in config["callbacks"].items():
        if callback is not None and issubclass(locate(callback["_target_"]), EarlyStopping | Timer):
            yield f"callbacks.{name}"


def _data_problems(trainings: Mapping[str, Plain], split: str) -> Iterator[str]:
    """Settings of the data that an arm may not change, as all arms share them."""
    shuffled = [name for name, config in trainings.items() if config["data"].get("shuffle_labels")]
    if shuffled:
        yield (
            f"data.shuffle_labels=true ({', '.join(shuffled)}): each training would shuffle the labels by its own "
            "seed, and not as for the images: leave it out."
        )
    given = {"split_file": split, "fold": None, "folds": None, "synthetic": None}
    for name, config in trainings.items():
        own = [f"data.{key}" for key, value in given.items() if config["data"].get(key) != value]
        if own and name != "gan":
            yield (
                f"arms.{name}: leave {', '.join(own)} out: all arms use the generator's split, and the "
                "images that this study generates."
            )


def _equal_arms(arms: Mapping[str, Plain], learning: Sequence[str]) -> Iterator[str]:
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
