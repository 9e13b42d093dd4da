"""Folders as they are downloaded: they run without an option, and the way to honest numbers is one command longer."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.commands.audit import audit
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SMALL = ["model.net.widths=[4,8]", "model.net.blocks=1", "data.image_size=16", "trainer=cpu", "trainer.max_epochs=1"]
SMALL += ["logger=none", "evaluation.baselines=false"]


@pytest.fixture(scope="module", params=[("Training", "Testing"), ("train", "valid", "test"), ("TRAIN", "val", "Test")])
def downloaded(request, tmp_path_factory):
    """Four classes in split folders, as sets on Kaggle come; two test images are training images, too."""
    root, random = tmp_path_factory.mktemp("downloaded"), np.random.default_rng(0)
    first, *others, last = request.param
    for split, count in ((first, 12), *((name, 6) for name in others), (last, 6)):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 100, (20, 20)) + 50 * label
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"Te-{number}.jpg")
    for name in CLASSES[:2]:
        shutil.copy(root / first / name / "Te-3.jpg", root / last / name / "Te-copy.jpg")
    (root / first / "glioma" / "Thumbs.db").write_bytes(b"x")
    (root / last / "glioma" / "photo.heic").write_bytes(b"x")
    return root, first, last


def test_the_four_classes_are_those_and_an_audit_names_the_copies(downloaded, tmp_path, capsys):
    root, first, last = downloaded
    overrides = ["data=image_folder", f"data.source.root={root}"]
    folder = RunFolder.create(tmp_path / "audited", load_config("audit", overrides), overrides)
    audit(folder.path)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith("Data: multiclass, ")
    assert [line.split()[0] for line in lines[3:7]] == list(CLASSES)
    assert lines[7] == "Passed over: .heic (1)."
    assert f"{first}/glioma/Te-3.jpg and {last}/glioma/Te-copy.jpg" in " ".join(printed.split())
    found = json.loads((folder.path / "audit.json").read_text())["findings"]
    (copies,) = [finding for finding in found if finding["check"] == "exact_duplicates"]
    assert [pair[:2] for pair in copies["pairs"]] == [
        [f"{first}/{name}/Te-3.jpg", f"{last}/{name}/Te-copy.jpg"] for name in CLASSES[:2]
    ]


@pytest.mark.parametrize("downloaded", [("Training", "Testing")], indirect=True)
def test_it_trains_by_its_folder_and_one_option_gives_numbers_without_the_copies(downloaded, run_training, capsys):
    root, *_ = downloaded
    folder = run_training([*SMALL, "data=image_folder", f"data.source.root={root}", "evaluation.drop_duplicates=true"])
    assert capsys.readouterr().out.startswith("Data: multiclass, ")
    metrics = folder.metrics
    assert set(CLASSES) == {name.removeprefix("recall/") for name in metrics["test"] if name.startswith("recall/")}
    assert "Training" not in json.dumps(metrics["test"])
    assert metrics["evidence"]["without_duplicates"]


def test_what_was_understood_is_printed_before_anything_is_refused(run_training, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "few" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "few" / name / "1.png")
    with pytest.raises(InputError, match="all 2 samples are of 2 patients"):
        run_training([*SMALL, "data=image_folder", f"data.source.root={tmp_path / 'few'}"])
    assert capsys.readouterr().out.startswith("Data: binary, 2 images")
