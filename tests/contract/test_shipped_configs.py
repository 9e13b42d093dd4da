"""Every config in `conf/` composes, passes the checks and runs; a new one without a test fails here."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vesalius.config.checks import check_config
from vesalius.config.compose import conf_dir, load_config

CONF = Path(__file__).parents[2] / "conf"
GROUPS = sorted(
    (str(path.parent.relative_to(CONF)), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF
    and path.parent.name != "study"
    and not path.stem.startswith("base")  # studies: tests/runs/test_gain.py
)
MODELS = [option for group, option in GROUPS if group == "model"]
DATA = [option for group, option in GROUPS if group == "data"]
ENCODERS = {"spatial_resnet": "autoencoder"}  # model/encoder options that another model than lstm is for
SERIES_MODELS = ("lstm", "gru", "rnn", "article_lstm", "attention", "transformer")
EXPERIMENTS = [option for group, option in GROUPS if group == "experiment"]

#: One experiment of each family, quick to train a step of.
FIRST_EXPERIMENTS = {"lesions_cnn", "perfusion_lstm", "lesions_autoencoder", "lesions_gan"}
# What each experiment runs on here. A new experiment must be added, or test_every_experiment_is_covered fails.
EXPERIMENT_DATA = {
    "lesions_cnn": "lesions",
    "lesions_size": "lesions",
    "article_cnn": "image_folder",
    "medmnist_official": "medmnist",
    "medmnist_fast": "medmnist",
    "blood_cells": "image_folder",
    "perfusion_lstm": "perfusion",
    "perfusion_gru": "perfusion",
    "perfusion_peak": "perfusion",
    "perfusion_next_points": "perfusion",
    "article_lstm": "perfusion",
    "haxby_runs": "haxby",
    "adrenal_slices": "adrenal",
    "lesions_autoencoder": "lesions",
    "medmnist_autoencoder": "medmnist",
    "ae_rate_distortion": "lesions",
    "ae_anomaly": "lesions",
    "ae_label_efficiency": "lesions",
    "transfer": "lesions",
    "lesions_padim": "lesions",
    "lesions_vicreg": "lesions",
    "medmnist_vicreg": "medmnist",
    "lesions_gan": "lesions",
    "breast_gan": "medmnist",
    "article_gan": "lesions",
}
# Models for data that are series; all others are for single images.
SERIES_MODEL = {"video": "lstm", "frame_folder": "rnn", "haxby": "lstm", "perfusion": "gru"}
# What an experiment needs to run on the small data.
SMALLER = {
    "blood_cells": ["data.source.index_file_column=file"],
    "haxby_runs": ["data.folds=6", "model.net.encoder.image_size=[5,6]"],
}
SMALL = [
    "trainer=debug",
    "trainer.fast_dev_run=1",
    "logger=none",
    "data.batch_size=2",
    "data.eval_batch_size=2",
    "data.steps_per_epoch=1",
]


def test_the_configs_tested_are_the_configs_shipped():
    assert conf_dir() == CONF


def test_every_experiment_is_covered():
    assert sorted(EXPERIMENT_DATA) == EXPERIMENTS


def test_every_config_says_first_what_it_is_for():
    for path in CONF.rglob("*.yaml"):
        first, second, *_ = path.read_text().splitlines()
        said = second if first == "# @package _global_" else first
        assert said.startswith("# "), path


@pytest.mark.parametrize(
    ("group", "option"),
    [
        pytest.param(*one, marks=pytest.mark.slow if one[0] == "experiment" and one[1] not in FIRST_EXPERIMENTS else [])
        for one in GROUPS
    ],
    ids=lambda value: str(value),
)
def test_each_option_composes_and_passes_the_checks(group, option, data_overrides):
    data = option if group == "data" else EXPERIMENT_DATA.get(option, "lesions")
    verb = "audit" if (group, option) == ("datamodule", "audit") else "train"
    chosen = _chosen(group, option)
    chosen += [] if group in ("data", "experiment") else [f"data={data}"]
    check_config(load_config(verb, [*chosen, *data_overrides[data]]))


def _chosen(group: str, option: str) -> list[str]:
    """An option, complete."""
    if group == "model":
        needed = {
            "torchvision": ["model.net.architecture=resnet18"],
            "vicreg": ["data/augment=standard"],
            "timm": ["model.net.architecture=resnet10t"],
        }
        return [f"model={option}", *needed.get(option, [])]
    if group == "model/encoder":
        needed = {"torchvision": "architecture=resnet18", "flat": "image_size=[32,32]"}
        completed = [f"model.net.encoder.{needed[option]}"] if option in needed else []
        completed += ["data/augment=none"] if option == "imagenet" else []
        return [f"model={ENCODERS.get(option, 'lstm')}", f"model/encoder={option}", *completed]
    if group in ("model/generator", "model/critic"):
        return ["model=gan", f"{group}={option}"]
    if group == "model/decoder":
        return ["model=autoencoder", f"model/decoder={option}"]
    if group == "datamodule":  # a model names its own
        return {
            "sequence": ["model=lstm"],
            "reconstruction": ["model=autoencoder"],
            "two_views": ["model=vicreg"],
            "synthesis": ["model=gan"],
        }.get(option, [])
    if group == "monitor":  # a model names its own
        return {"reconstruction": ["model=autoencoder"], "synthesis": ["model=gan"]}.get(option, [])
    return [f"{group}={option}"]


def _without_download(overrides: list[str]) -> list[str]:
    net = load_config("train", overrides)["model"].get("net", {})
    named = {"model.net": net, "model.net.encoder": net.get("encoder", {})}
    return [*overrides, *(f"{key}.weights=null" for key, node in named.items() if node.get("weights"))]


def _not_of_an_experiment(group: str, options: list[str]) -> list[str]:
    """Those that no experiment trains with; the others are left to `test_each_experiment_trains_a_step`."""
    texts = [(CONF / "experiment" / f"{option}.yaml").read_text() for option in EXPERIMENTS]
    entries = [entry for text in texts for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, dict)]
    trained = {entry.get(f"override /{group}") for entry in entries}
    return [option for option in options if option not in trained]


def _slow_but(quick: set[str], options: list[str]) -> list[Any]:
    """All options: one of each family in `make test`, the others in `make test-all`."""
    return [option if option in quick else pytest.param(option, marks=pytest.mark.slow) for option in options]


@pytest.mark.parametrize("option", _slow_but({"dcgan", "gru"}, _not_of_an_experiment("model", MODELS)))
def test_each_other_model_trains_a_step(option, data_overrides, run_training):
    data = "lesions" if option not in SERIES_MODELS else "perfusion"
    overrides = [*SMALL, *_chosen("model", option), f"data={data}", *data_overrides[data]]
    run_training(_without_download(overrides))


@pytest.mark.parametrize("option", _not_of_an_experiment("data", DATA))
def test_each_other_data_option_trains_a_step(option, data_overrides, run_training):
    run_training([*SMALL, f"data={option}", f"model={SERIES_MODEL.get(option, 'cnn')}", *data_overrides[option]])


@pytest.mark.parametrize("option", _slow_but(FIRST_EXPERIMENTS, EXPERIMENTS))
def test_each_experiment_trains_a_step(option, data_overrides, run_training):
    data = EXPERIMENT_DATA[option]
    overrides = [*SMALL, f"experiment={option}", *data_overrides[data], *SMALLER.get(option, [])]
    run_training(_without_download(overrides))
