"""A run is continued and evaluated with its own patients; messages about refused input name nobody."""

import json
import shutil

import pandas as pd
import pytest

from dicom_maker import write_cohort

SMALL = ["trainer=cpu", "trainer.max_epochs=1", "logger=none", "data.batch_size=8", "evaluation.baselines=false"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture
def study(tmp_path):
    return write_cohort(tmp_path / "SMITH JOHN" / "study", patients=20, slices=1).parent


@pytest.fixture
def finished(vesalius, tmp_path, study):
    data = ["data=dicom", f"data.source.root={study / 'files'}", f"data.source.labels={study / 'labels.csv'}"]
    done = vesalius("train", *data, "data.source.target=finding", "data.image_size=28", *SMALL)
    assert done.returncode == 0, done.stderr
    return next(tmp_path.glob("runs/*/*/metrics.json")).parent


def test_other_pseudonyms_or_more_patients_are_refused_instead_of_split_again(vesalius, finished, study, monkeypatch):
    before = (finished / "split.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setenv("VESALIUS_IDENTITIES", str(finished.parent / "other.sqlite"))
        done = vesalius("evaluate", f"run={finished}")
        assert done.returncode == 2
        assert "VESALIUS_IDENTITIES" in done.stderr
    more = write_cohort(study.parent / "more", patients=24, slices=1, seed=1).parent
    shutil.rmtree(study / "files")
    shutil.move(more / "files", study / "files")
    shutil.copy(more / "labels.csv", study / "labels.csv")
    (finished / "state.json").write_text('{"state": "interrupted", "attempt": 1}')
    done = vesalius("train", f"resume={finished}")
    assert done.returncode == 2
    assert "start a new run" in done.stderr
    assert (finished / "split.csv").read_text() == before


def test_a_refused_resume_names_no_patient_in_its_folder(vesalius, finished, study):
    labels = pd.read_csv(study / "labels.csv", dtype=str)
    gone = labels["PatientID"].iloc[0]
    labels.iloc[1:].to_csv(study / "labels.csv", index=False)
    (finished / "state.json").write_text('{"state": "interrupted", "attempt": 1}')
    done = vesalius("train", f"resume={finished}")
    assert done.returncode == 2
    assert gone in done.stderr  # the console says whom the table lacks
    assert json.loads((finished / "state.json").read_text())["reason"] == "InputError: the input was refused"
    shutil.move(study, study.parent / "moved")
    done = vesalius("train", f"resume={finished}")
    assert done.returncode == 2
    for path in [finished / "state.json", *finished.glob("logs/*")]:
        assert "JOHN" not in path.read_text()


def test_a_subset_given_back_as_a_file_is_the_very_subset(vesalius, tmp_path):
    data = ["data=lesions", "data.source.patients=64", "data.source.slices=1", "data.train_fraction=0.5"]
    assert vesalius("train", *data, *SMALL, "hydra.run.dir=first").returncode == 0
    done = vesalius("train", *data, *SMALL, "data.split_file=first/split.csv", "hydra.run.dir=second")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "second/split.csv").read_text() == (tmp_path / "first/split.csv").read_text()


def test_a_gate_runs_the_checks_that_it_names(vesalius, tmp_path):
    data = ["data=lesions", "data.source.patients=32", "data.source.slices=1"]
    done = vesalius("train", *data, *SMALL, "audit.fail_on=[identifying_tags]")
    assert done.returncode == 1
    assert "identifying_tags could not run" in done.stderr
    assert not list(tmp_path.glob("runs/*/*/checkpoints"))


def test_a_number_where_a_list_belongs_is_named(vesalius):
    done = vesalius("train", "data.fractions=0.8", *SMALL)
    assert done.returncode == 2
    assert "data.fractions=0.8: expected a list" in done.stderr
