"""`vesalius embed`: the features of a finished run's encoder, of its own samples and of others."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from small_runs import train_in
from vesalius.commands.embed import embed
from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.evaluation.embedding import extractor_hash
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

pytestmark = pytest.mark.xdist_group("embed_verb")  # its runs are made once

SMALL = [
    "trainer=cpu",
    "trainer.max_epochs=1",
    "logger=none",
    "evaluation.baselines=false",
    "evaluation.evidence=false",
]
LESIONS = ["data.source.patients=32", "data.source.slices=2", "data.source.image_size=28"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def trained(folder, cache_dir, *overrides):
    """A finished run, trained in this process."""
    return train_in(folder, [*SMALL, f"data.cache_dir={cache_dir}", *overrides])


@pytest.fixture(scope="module")
def images(tmp_path_factory, cache_dir):
    return trained(tmp_path_factory.mktemp("cnn"), cache_dir, *LESIONS, "data.train_fraction=0.5")


@pytest.fixture(scope="module")
def series(tmp_path_factory, cache_dir):
    data = ["data=perfusion", "data.source.patients=32", "data.source.variable_length=true", "data.eval_batch_size=5"]
    return trained(tmp_path_factory.mktemp("gru"), cache_dir, *data, "model=gru")


@pytest.fixture
def embedded(tmp_path, cache_dir):
    """Embed in this process and return the table and its description."""

    def work(run, *overrides, name="features"):
        given = [f"run={run.path}", *overrides, *([f"data.cache_dir={cache_dir}"] if overrides else [])]
        folder = RunFolder.create(tmp_path / name, load_config("embed", given), given)
        embed(folder.path)
        return read(folder.path)

    return work


def read(folder):
    table = pd.read_csv(folder / "features.csv", dtype={"sample_id": str, "group_id": str})
    return table, json.loads((folder / "features.json").read_text())


def write_images(folder, *, size=28, classes=("a", "b"), patients=4):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(patients):
            pixels = random.integers(0, 255, (size, size)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{number}.png")
    return [f"data.source.root={folder}", f"data.image_size={size}", "data.channels=1"]


def assert_eager(run, table):
    """Every row is the restored model's features of that sample by itself."""
    model, data = restore_model(load_checkpoint(run.best)), build(run.config["data"], "data")
    data.setup()
    place = {name: row for row, name in enumerate(data.table["sample_id"].astype(str))}
    values = table[[name for name in table if name.startswith("f")]].to_numpy()
    with torch.inference_mode():
        for name, found in list(zip(table["sample_id"], values, strict=True))[::7]:
            eager = model.embed(data.dataset[torch.tensor([place[name]])])[0]
            np.testing.assert_allclose(found, eager.double().numpy(), atol=1e-6)


def test_the_run_s_own_samples_keep_their_split_unused_ones_too(vesalius, images):
    done = vesalius("embed", f"run={images.path}")
    assert done.returncode == 0, done.stderr
    (folder,) = images.path.glob("embeddings/*")
    assert str(folder / "features.csv") in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml",
        "features.csv",
        "features.json",
        "overrides.yaml",
        "signature",
    ]
    table, about = read(folder)
    assert list(table)[:5] == ["sample_id", "group_id", "split", "target", "f0"]
    columns = ["sample_id", "group_id", "split"]
    split = pd.read_csv(images.path / "split.csv", dtype=str)
    assert set(table["split"]) == {"train", "val", "test", "unused"}
    assert set(table[columns].itertuples(index=False)) == set(split[columns].itertuples(index=False))
    test = pd.read_csv(images.path / "predictions" / "test.csv").set_index("sample_id")["target"]
    assert table.set_index("sample_id")["target"].loc[test.index].equals(test)
    assert_eager(images, table)
    checkpoint = load_checkpoint(images.best)
    assert about == {
        "schema": 1,
        "extractor": extractor_hash(restore_model(checkpoint), images.config["model"]),
        "dim": table.shape[1] - 4,
        "rows": 64,
        "classes": ["healthy", "nodule", "cyst", "spiculated"],
        "run_name": "lesions_cnn",
        "data_fingerprint": checkpoint["provenance"]["data"],
    }


def test_series_have_one_vector_each(embedded, series):
    table, about = embedded(series)
    assert len(table) == 32
    assert about["dim"] == 64
    assert_eager(series, table)


def test_other_data_need_not_have_the_runs_classes(embedded, images, tmp_path, caplog):
    given = write_images(tmp_path / "others", classes=("goitre",))
    table, about = embedded(images, "data=image_folder", *given)
    assert table["target"].tolist() == [0] * 4
    assert about["classes"] == ["goitre"]
    assert set(table["split"]) == {"test"}
    assert "ids of patients" not in caplog.text


def test_the_split_of_a_source_is_kept(embedded, images, tmp_path):
    for split in ("train", "test"):
        write_images(tmp_path / "others" / split)
    given = [f"data.source.root={tmp_path / 'others'}", "data.image_size=28", "data.channels=1"]
    table, _ = embedded(images, "data=image_folder", *given)
    assert table["split"].value_counts().to_dict() == {"train": 8, "test": 8}


@pytest.mark.parametrize("run", ["images", "series"])
def test_samples_without_labels_are_embedded(embedded, request, tmp_path, run):
    write_images(tmp_path / "others", size=32 if run == "series" else 28, patients=6)
    lines = ["file,patient,stack,seconds"]
    lines += [f"{p.parent.name}/{p.name},{p.parent.name},{p.parent.name},{p.stem[1:]}" for p in tmp_path.rglob("*.png")]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    given = [f"data.source.manifest={tmp_path / 'list.csv'}", f"data.source.root={tmp_path / 'others'}"]
    given += ["data.source.path=file", "data.source.group=patient", "data.source.target=null", "data.channels=1"]
    given += (
        ["data.source.series=stack", "data.source.time=seconds", "data.source.unit=time_series"]
        if run == "series"
        else []
    )
    size = 32 if run == "series" else 28
    table, about = embedded(request.getfixturevalue(run), "data=table", *given, f"data.image_size={size}")
    assert list(table)[:4] == ["sample_id", "group_id", "split", "f0"]
    assert (len(table), about["classes"]) == ((2 if run == "series" else 12), [])


def test_known_patients_are_warned_of(embedded, images, caplog):
    embedded(images, "data=lesions", *LESIONS, "data.source.seed=5")
    assert "patients have the ids of patients that the run was trained on" in caplog.text
    assert "what is measured on their features is too good" in caplog.text


def test_data_that_the_model_cannot_take_are_refused_with_the_cure(embedded, images, tmp_path):
    other = ["data.source.patients=16", "data.source.slices=1", "data.source.seed=5"]
    with pytest.raises(InputError, match=r"set data\.image_size=28"):
        embedded(images, "data=lesions", *other, "data.source.image_size=32")
    with pytest.raises(InputError, match=r"choose data\.source\.unit=slice, or a run of model=lstm"):
        embedded(images, "data=perfusion", "data.source.patients=16")
    assert not (tmp_path / "features").exists()


def test_the_runs_own_images_are_not_taken_for_new_ones(embedded, images):
    with pytest.raises(InputError, match="these are the images that the run was trained on"):
        embedded(images, "data=lesions", *LESIONS)


def test_a_mistake_is_named(vesalius, images):
    done = vesalius("embed", f"run={images.path}", "dta=lesions")
    assert done.returncode == 2
    assert "Did you mean 'data'?" in done.stderr
    done = vesalius("embed", "run=nowhere")
    assert done.returncode == 2
    assert "nowhere is not a run folder" in done.stderr
