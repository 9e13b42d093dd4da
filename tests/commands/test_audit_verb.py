"""`vesalius audit` as a user starts it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.data.audit.findings import CHECKS


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    """An image folder with a patient in two splits, an image in two splits and a file that is no image."""
    root, random = tmp_path_factory.mktemp("flawed"), np.random.default_rng(0)
    for split, patients in (("train", 12), ("val", 4), ("test", 4)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(patients):
                pixels = random.integers(0, 255, (32, 32)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{split}{name}{number}_0.png")
    shutil.copy(root / "train/cat/traincat0_0.png", root / "test/dog/testdog9_0.png")
    Image.fromarray(pixels[::-1]).save(root / "test/cat/traincat3_1.png")
    (root / "train/dog/traindog5_1.png").write_bytes(b"no image")
    return root


def audit_folder(tmp_path):
    (path,) = tmp_path.glob("runs/audit_image_folder/*/audit.json")
    return path.parent


def test_an_audit_tells_all_at_once_and_ends_well(vesalius, tmp_path, flawed):
    done = vesalius("audit", "data=image_folder", f"data.source.root={flawed}", r"data.source.group_pattern='(.*)_'")
    assert done.returncode == 0, done.stderr
    told = json.loads((audit_folder(tmp_path) / "audit.json").read_text())
    counts = {finding["check"]: finding["count"] for finding in told["findings"]}
    expected = {"groups_across_splits": 1, "exact_duplicates": 1, "conflicting_labels": 1, "unreadable": 1}
    assert {name: counts.get(name) for name in expected} == expected
    assert {*told["checked"], *told["not_checked"]} == set(CHECKS)
    assert set(told["not_checked"]) == {"identifying_tags", "text_in_pixels", "masked_text"}
    said = " ".join(done.stdout.split())
    for name in expected:
        assert name in said
    assert "Not covered: turned, mirrored" in said
    page = (audit_folder(tmp_path) / "audit.html").read_text()
    assert "test/dog/testdog9_0.png" in page
    assert str(flawed) not in page


def test_a_gate_ends_with_1_and_keeps_what_was_found(vesalius, tmp_path, flawed):
    done = vesalius("audit", "data=image_folder", f"data.source.root={flawed}", "audit.fail_on=[exact_duplicates]")
    assert done.returncode == 1
    assert "audit.fail_on: exact_duplicates found something" in done.stderr
    assert "Traceback" not in done.stderr
    assert (audit_folder(tmp_path) / "audit.html").is_file()


def test_a_misspelt_check_is_refused_and_leaves_nothing(vesalius, tmp_path):
    done = vesalius("audit", "data.source.patients=16", "audit.fail_on=[near_duplicate]")
    assert done.returncode == 2
    assert "Did you mean 'near_duplicates'?" in done.stderr
    assert not list(tmp_path.glob("runs/*/*"))


def test_help_names_every_check(vesalius):
    said = vesalius("audit", "--help").stdout
    assert [name for name in CHECKS if name not in said] == []


TRAIN = ["data=image_folder", "data.on_bad_file=skip", "model=cnn", "trainer=cpu", "trainer.max_epochs=1"]
TRAIN += ["data.image_size=28", "logger=none", "evaluation.baselines=false"]


def test_a_training_run_is_gated_before_it_trains(vesalius, tmp_path, flawed):
    done = vesalius("train", *TRAIN, f"data.source.root={flawed}", "audit.fail_on=[exact_duplicates]")
    assert done.returncode == 1
    assert "exact_duplicates found something" in done.stderr
    (told,) = tmp_path.glob("runs/*/*/audit.json")
    assert "exact_duplicates" in {finding["check"] for finding in json.loads(told.read_text())["findings"]}
    assert not (told.parent / "checkpoints").exists()


def test_a_run_is_also_evaluated_without_the_test_images_it_was_trained_on(vesalius, tmp_path, flawed):
    done = vesalius("train", *TRAIN, f"data.source.root={flawed}", "evaluation.drop_duplicates=true")
    assert done.returncode == 0, done.stderr
    assert "exact_duplicates" in done.stderr
    (path,) = tmp_path.glob("runs/*/*/metrics.json")
    metrics = json.loads(path.read_text())
    kept = metrics["evidence"]["without_duplicates"]["accuracy"]["n"]
    assert (metrics["test"]["accuracy"]["n"], kept) == (10, 9)
