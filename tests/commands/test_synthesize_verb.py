"""`vesalius synthesize`: a generator's images as a folder, from a run as `vesalius train` leaves it."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vesalius.commands.synthesize import synthesize
from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.data.splits.file import split_hash, write_split
from vesalius.runs.run_folder import RunFolder, write_json
from vesalius.studies.synthetic.export import file_names, split_by_share, to_integers
from vesalius.training.checkpoints import load_checkpoint, restore_model

LESIONS = ["data.source.patients=32", "data.source.slices=2", "data.source.image_size=28"]
SMALL = ["trainer=cpu", "logger=none", "data/augment=none"]
NETS = ["model.generator.width=4", "model.critic.width=4"]
EXTRACTOR = {"name": "random", "layer": "all", "hash": "seed 0", "dim": 9}
CLASSES = ["healthy", "nodule", "cyst", "spiculated"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def run_of(folder, cache_dir, *overrides):
    """A finished run of a model that learned nothing."""
    overrides = [*SMALL, *LESIONS, f"data.cache_dir={cache_dir}", *overrides]
    config = load_config("train", overrides)
    run = RunFolder.create(folder, config, overrides)
    data = build(config["data"], "data")
    data.setup()
    torch.manual_seed(0)
    model = build(config["model"], "model", facts=data.facts)
    run.checkpoints.mkdir()
    contents = {"config": config, "facts": data.facts.to_dict(), "state_dict": model.state_dict()}
    torch.save({**contents, "provenance": {}, "epoch": 0}, run.best)
    write_split(data.split, run.path / "split.csv")
    entry = {"value": 1.5, "ci95": [1.0, 2.0], "n": 8, "groups": 4, "method": "none", "no_skill": None}
    told = {"schema": 1, "task": "synthesis", "test": {"frechet_distance": entry}, "extractor": EXTRACTOR}
    copied = {
        "value": 0.6,
        "ci95": [0.5, 0.7],
        "p_value": 0.2,
        "flagged": False,
        "no_skill": 0.5,
        "n": 8,
        "synthetic": 8,
        "train": 40,
    }
    judged = {"two_sample": {**entry, "synthetic": 8, "no_skill": 0.5}, "memorisation": {**copied, "groups": 4}}
    write_json(run.path / "metrics.json", told | judged)
    return run


@pytest.fixture(scope="module")
def gan(tmp_path_factory, cache_dir):
    return run_of(tmp_path_factory.mktemp("runs") / "gan", cache_dir, "model=gan", *NETS, "data.train_fraction=0.5")


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory, cache_dir):
    folder = tmp_path_factory.mktemp("runs") / "unconditional"
    return run_of(folder, cache_dir, "model=gan", *NETS, "model.conditional=false")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, cache_dir):
    return run_of(tmp_path_factory.mktemp("runs") / "cnn", cache_dir, "model=cnn", "model.net.widths=[4]")


@pytest.fixture
def made(tmp_path):
    """Synthesize in this process and return the folder and its manifest."""

    def work(run, *overrides, name="made"):
        given = [f"run={run.path}", *overrides]
        folder = RunFolder.create(tmp_path / name, load_config("synthesize", given), given)
        synthesize(folder.path)
        return folder.path, json.loads((folder.path / "manifest.json").read_text())

    return work


def pixels(folder):
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in folder.rglob("*.png")}


def test_a_user_gets_a_folder_with_its_manifest_and_what_to_type_next(vesalius, gan):
    done = vesalius("synthesize", f"run={gan.path}", "n=40", "seed=3")
    assert done.returncode == 0, done.stderr
    (folder,) = gan.path.glob("synthetic/*")
    assert f"data.synthetic={folder}" in done.stdout
    assert f"data.source.root={folder / 'images'}" in done.stdout
    assert "frechet_distance" in done.stdout
    manifest = json.loads((folder / "manifest.json").read_text())
    assert str(gan.path) not in json.dumps(manifest)
    counts = load_checkpoint(gan.best)["facts"]["class_counts"]
    assert manifest["counts"] == dict(zip(CLASSES, split_by_share(40, counts), strict=True))
    split = pd.read_csv(gan.path / "split.csv")
    assert "unused" in set(split["split"])
    expected = {"kind": "vesalius synthetic images", "schema": 1, "seed": 3, "n": 40, "classes": CLASSES}
    expected |= {"split": split_hash(split), "extractor": EXTRACTOR, "scores": gan.metrics["test"]}
    for key in ("two_sample", "memorisation"):
        expected |= {key: gan.metrics[key]}
    lines = ("synthetic or real, by a linear", "synthetic images nearer to training images than real ones")
    for words in ("Images are compared by 9 features: random, all", *lines):
        assert words in " ".join(done.stdout.split())
    expected |= {"image": {"channels": 1, "height": 28, "width": 28, "value_max": 255.0}}
    expected |= {"run": "/".join(gan.path.parts[-2:])}
    assert expected.items() <= manifest.items()
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    assert set(table["file"]) == set(pixels(folder))
    assert [file.split("/")[1] for file in table["file"]] == table["label"].tolist()
    assert [file[-10:] for file in table["file"]] == [f"{number:06d}.png" for number in range(40)]


def test_the_files_are_the_images_that_the_model_draws(made, gan):
    folder, _ = made(gan, "n=5", "label=cyst", "seed=7")
    model = restore_model(load_checkpoint(gan.best))
    images = model.sample(torch.full((5,), CLASSES.index("cyst")), torch.Generator().manual_seed(7))
    files = pixels(folder)
    assert sorted(files) == [f"images/cyst/{number:06d}.png" for number in range(5)]
    for (_, file), image in zip(sorted(files.items()), images, strict=True):
        assert file.dtype == np.uint8
        assert np.abs(file / 255 - image[0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_equal_seeds_give_equal_images_and_others_others(made, gan):
    first, again, other = (pixels(made(gan, "n=3", f"seed={s}", name=str(n))[0]) for n, s in enumerate((1, 1, 2)))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_a_labelled_folder_is_a_source_and_mixes_with_the_real_images(made, gan, cache_dir):
    folder, _ = made(gan, "n=30")
    data = load_config("train", ["data=image_folder", f"data.source.root={folder / 'images'}", "data.image_size=null"])
    source = build(data["data"]["source"], "data.source")
    assert sorted(source.classes) == sorted(CLASSES)
    assert len(source.samples()) == 30
    own = [f"data.split_file={gan.path / 'split.csv'}", f"data.synthetic={folder}", "data.synthetic_ratio=0.5"]
    mixed = build(load_config("train", [*SMALL, *LESIONS, f"data.cache_dir={cache_dir}", *own])["data"], "data")
    mixed.setup()
    real = load_checkpoint(gan.best)["facts"]["train_size"]
    assert len(mixed.rows("train")) == real + round(0.5 * real)


def test_without_classes_images_have_no_label(made, unconditional):
    folder, manifest = made(unconditional, "n=4")
    assert sorted(pixels(folder)) == [f"images/{number:06d}.png" for number in range(4)]
    assert pd.read_csv(folder / "manifest.csv", keep_default_na=False)["label"].tolist() == [""] * 4
    assert (manifest["classes"], manifest["counts"]) == ([], {})


def test_mistakes_are_refused_with_the_cure_and_leave_nothing(made, gan, unconditional, classifier, tmp_path):
    with pytest.raises(InputError, match=r"n=0: must be 1 or more[\s\S]*Did you mean 'nodule'"):
        made(gan, "n=0", "label=nodul")
    with pytest.raises(InputError, match="is not conditional on the class: leave label out"):
        made(unconditional, "n=1", "label=cyst")
    with pytest.raises(InputError, match=r"CNNClassifier, generates no images: name a run of a generator"):
        made(classifier, "n=1")
    assert not (tmp_path / "made").exists()


def test_a_misspelt_run_or_a_missing_number_is_named(vesalius, gan):
    done = vesalius("synthesize", "run=nowhere", "n=1")
    assert done.returncode == 2
    assert "nowhere is not a run folder" in done.stderr
    done = vesalius("synthesize", f"run={gan.path}")
    assert done.returncode == 2
    assert "n has no value" in done.stderr


@pytest.mark.parametrize(("n", "shares"), [(10, [1, 1, 1]), (7, [5, 0, 3]), (1, [1, 2, 4]), (1000, [3, 999, 1])])
def test_images_are_dealt_as_evenly_as_whole_numbers_can(n, shares):
    counts = split_by_share(n, shares)
    assert sum(counts) == n
    assert np.abs(np.array(counts) - n * np.array(shares) / sum(shares)).max() < 1


def test_classes_of_any_name_have_folders_of_their_own():
    found = file_names(5, {"a/b": 1, "a:b": 1, "..": 1, "ok": 1, "OK": 1})
    folders = [file.split("/")[1] for file, _ in found]
    assert all(file.count("/") == 2 for file, _ in found)
    assert len({folder.lower() for folder in folders}) == 5
    assert ".." not in folders
    assert [label for _, label in found] == ["a/b", "a:b", "..", "ok", "OK"]


@pytest.mark.parametrize(
    ("channels", "value_max", "kind", "shape"),
    [
        (1, 255, np.uint8, (2, 4, 4)),
        (3, 255, np.uint8, (2, 4, 4, 3)),
        (1, 65535, np.uint16, (2, 4, 4)),
        (1, 1.0, np.uint16, (2, 4, 4)),
        (3, 65535, np.uint8, (2, 4, 4, 3)),
    ],
)
def test_white_is_the_largest_value_that_a_file_has(channels, value_max, kind, shape):
    files = to_integers(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, channels, 4, 4), value_max)
    assert (files.dtype, files.shape) == (kind, shape)
    assert (files[0] == 0).all()
    assert (files[1] == np.iinfo(kind).max).all()


def test_images_of_other_channels_fit_no_png():
    with pytest.raises(InputError, match=r"have 2 channels, and a PNG has 1 or 3"):
        to_integers(torch.zeros(1, 2, 4, 4), 255)
