"""Keys, passwords, the user's name and folders, and patients' names, planted wherever a run meets them, are in no file
that is shared: checkpoints, W&B's files, reports, bundles, DICOM reports."""

import os
from pathlib import Path

import pytest

import leet
from dicom_maker import write_cohort
from identity_scan import find_identities
from small_runs import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("no_secret")]  # its runs are trained once

KEY, PASSWORD, USER = "wandbkey0123456789abcdef0123456789abcdef", "hunter2correcthorse", "plantagenet"
PATIENT = [f"Planted^Person{number:03d}" for number in range(12)]
#: Below the planted home folder, and named after somebody.
PROJECT = "study of doctor quillfeather"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home") / USER


@pytest.fixture(scope="module")
def place(home, warm_vesalius_in):
    """A project in the user's home with a run, all that is written of it to be shared, and a search of one trial."""
    place = home / PROJECT
    write_cohort(place / "data", patients=12, slices=2, size=32)
    planted = {"HOME": str(home), "USER": USER, "LOGNAME": USER, "WANDB_API_KEY": KEY, "WANDB_USERNAME": USER}
    planted |= {"VESALIUS_CACHE": str(home / "cache"), "VESALIUS_IDENTITIES": str(home / "private/identities.sqlite")}
    source = ["data=dicom", "data.source.root=data/files", "data.source.labels=data/labels.csv"]
    source += ["data.source.target=finding", "data.image_size=16", "data.fractions=[0.5,0.25,0.25]"]
    train = ["train", *source, "trainer=cpu", "trainer.max_epochs=1", "logger=wandb", "model.net.widths=[4]"]
    planted["STORAGE"] = f"sqlite:///file:{place}/trials.db?uri=true&password={PASSWORD}"
    search = ["hydra/sweeper=vesalius_optuna", "model.optimizer.lr=interval(1e-4, 1e-2)", "hydra.sweeper.n_trials=1"]
    search += ["hydra.sweeper.storage=${oc.env:STORAGE}"]
    commands = [
        [*train, "hydra.run.dir=run"],
        ["evaluate", "run=run"],
        ["report", "run=run"],
        ["export", "run=run", "output=bundle"],
        ["predict", "bundle=bundle", "input=data/files", "output=predicted.csv", "reports=reports"],
        [
            "train",
            "-m",
            *SMALL[:3],
            "trainer=cpu",
            "trainer.max_epochs=1",
            "logger=wandb",
            *search,
            "hydra.sweep.dir=sweep",
        ],
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in planted.items():
            patch.setenv(name, value)
        for command in commands:
            done = warm_vesalius_in(place, *command, figures=True)
            assert done.returncode == 0, done.stderr
    return place


def leaks(folder: Path, planted: list[str]) -> list[str]:
    return sorted({f"{leak.file} > {leak.where}: {leak.what}" for leak in find_identities(folder, planted)})


def test_nothing_of_a_run_that_is_shared_names_user_or_folder_or_patient(place, home):
    planted = [KEY, PASSWORD, USER, "quillfeather", str(home), *PATIENT]
    found = {leak.partition(" > ")[0] for leak in leaks(place / "run", planted)}
    assert {Path(file).name for file in found} == {"config.yaml"}  # which alone names data
    assert (place / "run/report.html").is_file()
    assert list(place.glob("run/wandb/offline-run-*/run-*.wandb"))


def test_a_search_names_its_folder_where_a_resume_needs_it_and_no_password(place, home):
    assert leaks(place / "sweep", [KEY, PASSWORD, *PATIENT]) == []
    found = {Path(leak.partition(" > ")[0]).name for leak in leaks(place / "sweep", [USER, "quillfeather", str(home)])}
    assert found == {"sweep.json"}


def test_a_bundle_and_its_model_card_name_nobody(place, home):
    assert (place / "bundle/model_card.html").is_file()
    assert leaks(place / "bundle", [KEY, PASSWORD, USER, "quillfeather", str(home), *PATIENT]) == []


def test_reports_name_the_patient_to_whom_they_go_back_and_nobody_else(place, home):
    reports = list((place / "reports").rglob("*.dcm"))
    assert len(reports) == len(PATIENT)
    for report in reports:
        assert len(leaks(report, PATIENT)) == 1
    assert leaks(place / "reports", [KEY, PASSWORD, USER, "quillfeather", str(home)]) == []


def test_each_secret_is_where_it_was_planted(place, home):
    assert leaks(place / "data", PATIENT)
    assert os.path.exists(place / "trials.db")


def test_wandb_reads_the_files_of_artifacts_from_where_the_run_was_started(place):
    (log,) = place.glob("run/wandb/offline-run-*/run-*.wandb")
    artifacts = [record["artifact"] for record in leet.records(log) if record["type"] == "artifact"]
    files = [entry["local_path"] for one in artifacts for entry in one["manifest"]["contents"]]
    assert "run/checkpoints/best.ckpt" in files
    assert all((place / file).is_file() for file in files)
