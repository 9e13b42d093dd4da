"""A run on DICOM files full of planted names, birth dates, numbers and paths writes none of them anywhere."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dicom_maker import write_cohort
from identity_scan import find_identities

PATIENTS = 12
# What `write_cohort` plants, beside what is planted here on every file.
NAMES = [f"Planted^Person{patient:03d}" for patient in range(PATIENTS)]
BIRTH_DATES = [f"19{50 + patient:02d}0417" for patient in range(PATIENTS)]
NUMBERS = [f"HOSP-{4711 + patient}" for patient in range(PATIENTS)]
FOLDERS = [f"Doe_Jane_{patient:03d}" for patient in range(PATIENTS)]
TAGS = {
    "ReferringPhysicianName": "Quill^Referring",
    "OperatorsName": "Nightingale^Operator",
    "InstitutionName": "Saint Planted Hospital",
    "AccessionNumber": "ACC-0815-99",
    "OtherPatientNames": "Maiden^Former",
    "PatientAddress": "7 Lantern Lane",
    "PatientComments": "neighbour of the mayor",
    "StationName": "SCANNER-XYZZY",
    "StudyDescription": "Knee of the mayor",
    "IssuerOfPatientID": "Planted Issuer",
}
pytestmark = pytest.mark.xdist_group("no_identity")  # its run is made once

PLANTED = [*NAMES, *BIRTH_DATES, *NUMBERS, *FOLDERS, *TAGS.values(), "Planted", "Planted description"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Archive of Doctor Plantagenet" / "cohort"
    write_cohort(root, patients=PATIENTS, slices=2, size=32, **TAGS)
    return root


def uids(root: Path) -> list[str]:
    from pydicom import dcmread

    files = [dcmread(path, stop_before_pixels=True) for path in (root / "files").rglob("IM*")]
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    return sorted({str(file[key].value) for file in files for key in keys})


@pytest.fixture(scope="module")
def written(cohort, tmp_path_factory, warm_vesalius_in):
    """A folder with a run of two epochs, its evaluation, its cache and the private file of identities."""
    folder = tmp_path_factory.mktemp("written")
    own = {"VESALIUS_CACHE": "cache", "VESALIUS_IDENTITIES": "private/identities.sqlite"}
    source = [f"data.source.root='{cohort / 'files'}'", f"data.source.labels='{cohort / 'labels.csv'}'"]
    source += ["data=dicom", "data.source.target=finding", "data.image_size=16", "data.fractions=[0.5,0.25,0.25]"]
    small = ["model=cnn", "trainer=cpu", "trainer.max_epochs=2", "logger=wandb"]
    message = ""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in own.items():
            patch.setenv(key, str(folder / value))
        for command in (["train", *source, *small, "hydra.run.dir=run"], ["evaluate", "run=run"]):
            done = warm_vesalius_in(folder, *command, figures=True)
            assert done.returncode == 0, done.stderr
            message += done.stdout + done.stderr
    (folder / "said.txt").write_text(message)
    return folder


def leaks_of(folder: Path, planted: list[str]) -> list[tuple[str, str]]:
    return sorted({(str(leak.file), leak.what) for leak in find_identities(folder, planted)})


def test_names_dates_numbers_and_paths_stay_where_they_were(written, cohort):
    assert list(written.glob("run/wandb/offline-run-*/run-*.wandb"))
    assert list(written.glob("cache/**/meta.json"))
    assert "Equal to the run's own test metrics" in (written / "said.txt").read_text()
    private = "private/identities.sqlite"
    # the way back lies in the private file alone
    assert {file for file, _ in leaks_of(written, [*PLANTED, *uids(cohort)])} == {private}
    assert {what for _, what in leaks_of(written, NUMBERS)} == set(NUMBERS)
    # the search does find each of these strings in the data
    assert {what for _, what in leaks_of(cohort, PLANTED)} == set(PLANTED)


def test_paths_of_the_data_are_only_in_the_files_that_a_resumed_run_needs(written, cohort):
    leaks = leaks_of(written / "run", ["Plantagenet", str(cohort)])
    assert {Path(file).name for file, _ in leaks} == {"config.yaml", "overrides.yaml"}
    assert leaks_of(written / "cache", ["Plantagenet", str(cohort)]) == []
    config = torch.load(written / "run" / "checkpoints" / "best.ckpt", weights_only=True)["config"]
    assert config["data"]["source"]["root"] == ".../files"


def test_each_kind_of_leak_is_found(written, tmp_path):
    run, cache = (Path(shutil.copytree(written / name, tmp_path / name, symlinks=True)) for name in ("run", "cache"))
    planted = [*NAMES, *NUMBERS]
    assert leaks_of(tmp_path, planted) == []
    leak_into(run, cache)
    found = {file if "wandb" not in file else "wandb" for file, _ in leaks_of(run, planted)}
    assert found == {"predictions/test.csv", "checkpoints/best.ckpt", "logs/rank0.log", "wandb", "figures/roc.png"}
    assert {Path(file).name for file, _ in leaks_of(cache, planted)} == {"meta.json"}


def leak_into(run: Path, cache: Path) -> None:
    """One leak of each kind, as a careless line of code would make it."""
    with (run / "predictions" / "test.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["Person003 Planted", "HOSP-4714", 0])
    best = run / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(best, weights_only=True), "note": "HOSP-4715"}, best)
    with (run / "logs" / "rank0.log").open("a") as file:
        file.write("reading planted_person001.dcm\n")
    (log,) = run.glob("wandb/offline-run-*/run-*.wandb")
    log.write_bytes(log.read_bytes() + b"HOSP-4716")
    info = PngInfo()
    info.add_text("Title", "Planted^Person002", zip=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(run / "figures" / "roc.png", pnginfo=info)
    (meta,) = cache.rglob("meta.json")
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "first": "PERSON004, PLANTED"}))
