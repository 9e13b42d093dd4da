"""The plan of `vesalius gain`: a generator, and classifiers with and without its images, trained on one split."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.config.build import build
from vesalius.config.checks import check_config
from vesalius.config.compose import Plain, load_config
from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.metrics.names import CLASSIFICATION_METRICS
from vesalius.runs.run_folder import CONFIG, SPLIT, RunFolder
from vesalius.studies.synthetic.checks import check_fair, check_labels

#: Arms that others are compared with: real images as they are, and with classical augmentation.
REAL, AUGMENTED = "real", "augmented"
#: Folders next to those of the arms.
GAN, SYNTHETIC = "gan", "synthetic"
# The generator's split file is of its fold already.
_NO_FOLDS = ("data.folds=null", "data.fold=null")


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        title: for people.
        path: its run folder.
        overrides: as for `vesalius train`.
    """

    title: str
    path: Path
    overrides: list[str]

    @property
    def done(self) -> bool:
        """Whether it is finished."""
        return (self.path / CONFIG).is_file() and RunFolder(self.path).state.get("state") == "done"


@dataclass(frozen=True)
class Plan:
    """All trainings of a study.

    Attributes:
        gan: the generator's training.
        synthetic: the folder of its images.
        ratios: of the arms that learn from these images, by name: a number, or `only`.
        arms: trainings of each arm, in the order of the seeds.
        seed: of the images.
        least: smallest number of images to generate.
    """

    gan: Training
    synthetic: Path
    ratios: dict[str, float | str]
    arms: dict[str, list[Training]]
    seed: int
    least: int

    @property
    def trainings(self) -> list[Training]:
        """Trainings of all arms, seed by seed: what is stopped early has whole seeds."""
        return [training for of_seed in zip(*self.arms.values(), strict=True) for training in of_seed]


def plan_study(config: Mapping[str, Any], folder: Path) -> Plan:
    """Compose and check the configs of all trainings, before any time is spent.

    Args:
        config: frozen, of `vesalius gain`.
        folder: of the study.

    Raises:
        InputError: with every problem of every training.
    """
    folder = folder.resolve()
    problems = list(_problems(config))
    if problems:
        raise InputError(problems)
    root = [] if config["root"] is None else [override("data.source.root", config["root"])]
    shared = [*config["both"], *root]
    gan = Training("generator", folder / GAN, [*shared, *config["gan"], *_identity(config, GAN, config["seed"])])
    split = str(folder / GAN / SPLIT)
    classifier = [*shared, *config["cnn"], override("data.split_file", split), *_NO_FOLDS]
    lists = {name: overrides for name, overrides in config["arms"].items() if overrides is not None}
    composed = _composed({GAN: gan.overrides, **{arm: [*classifier, *own] for arm, own in lists.items()}})
    generator = composed.pop(GAN)
    learning = {name: lists[name] for name in composed if _sets_ratio(lists[name])}
    check_fair(generator, composed, list(learning), split)
    check_labels(build(generator["data"]["source"], "data.source"), config["metric"])
    images = [override("data.synthetic", folder / SYNTHETIC)]
    arms = {
        name: [
            Training(
                f"{name}, seed {seed}",
                folder / name / str(seed),
                [*classifier, *own, *(images if name in learning else []), *_identity(config, name, seed)],
            )
            for seed in config["seeds"]
        ]
        for name, own in lists.items()
    }
    ratios = {name: composed[name]["data"]["synthetic_ratio"] for name in learning}
    return Plan(gan, folder / SYNTHETIC, ratios, arms, config["seed"], config["n"])


def _composed(trainings: Mapping[str, list[str]]) -> dict[str, Plain]:
    """The checked config of each training; a problem of several trainings is reported once."""
    composed: dict[str, Plain] = {}
    faulty: dict[str, list[str]] = {}
    for name, overrides in trainings.items():
        try:
            composed[name] = load_config("train", overrides)
            check_config(composed[name])
        except InputError as error:
            for problem in error.problems:
                faulty.setdefault(problem, []).append(name if name == GAN else f"arms.{name}")
    if faulty:
        raise InputError([_describe(problem, names, len(trainings)) for problem, names in faulty.items()])
    return composed


def _describe(problem: str, names: Sequence[str], everyone: int) -> str:
    """A problem of `vesalius train` in terms of this verb."""
    where = "both" if len(names) == everyone else ", ".join(names)
    if len(names) == everyone - 1 and GAN not in names:
        where = "cnn"
    key, unfilled, _ = problem.partition(" has no value: ")
    if unfilled and key == "data.source.root":
        return "root has no value: name the folder of the data, root=FOLDER."
    return f"{where}: {key} has no value: put '{key}=VALUE' into it." if unfilled else f"{where}: {problem}"


def override(key: str, value: object) -> str:
    """`key='value'`, quoted so that the value may contain anything."""
    return f"{key}='{str(value).replace(chr(39), chr(92) + chr(39))}'"


def _identity(config: Mapping[str, Any], name: str, seed: int) -> list[str]:
    return [override("name", f"{config['name']}_{name}"), f"seed={seed}"]


def _sets_ratio(overrides: Sequence[str]) -> bool:
    return any(one.lstrip("+").startswith("data.synthetic_ratio=") for one in overrides)


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Problems that show before anything is composed."""
    arms = {name: overrides for name, overrides in config["arms"].items() if overrides is not None}
    for name, overrides in arms.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in (GAN, SYNTHETIC):
            yield f"arms.{name}: an arm is a folder: name it with letters, digits, - and _, and not gan or synthetic."
        if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
            yield f"arms.{name}: must be a list of overrides, such as [data.sampling=balanced], or null to remove it."
            return
    if REAL not in arms:
        yield f"arms.{REAL}: all arms are compared with this one: give it a list, which may be empty."
    if not any(map(_sets_ratio, arms.values())):
        yield "arms: none sets data.synthetic_ratio, so no images are needed: set it in one, or use vesalius compare."
    seeds = config["seeds"]
    if not seeds or len(set(seeds)) < len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        yield f"seeds={seeds}: must be whole numbers from 0, without repetition."
    if config["n"] < 0:
        yield f"n={config['n']}: must be 0 or more."
    family = config["metric"].partition("/")[0]
    if family not in CLASSIFICATION_METRICS:
        yield f"metric={config['metric']}: there is no such metric.{did_you_mean(family, CLASSIFICATION_METRICS)}"
