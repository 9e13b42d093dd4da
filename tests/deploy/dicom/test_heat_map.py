"""Heat maps are images of the study that they explain."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread

from brightness_model import BrightnessBackend
from dicom_maker import AXIAL, write_image
from vesalius.config.errors import InputError
from vesalius.deploy.explain import explain
from vesalius.deploy.explain.overlay import overlay
from vesalius.deploy.inputs import InputFile, find_inputs
from vesalius.deploy.predictor import Predictor

pytest.importorskip("highdicom")


@pytest.fixture
def study(tmp_path) -> tuple[Predictor, list[InputFile], pd.DataFrame]:
    """A model, the inputs of two studies and of a file that is refused, and what is predicted for them."""
    for patient in "AB":
        for number in (1, 2):
            pixels = np.zeros((32, 32), np.uint8)
            pixels[8 * number : 8 * number + 8, 4:12] = 255
            where = {"position": (0, 0, number), "orientation": AXIAL}
            write_image(tmp_path / f"{patient}{number}.dcm", pixels, patient=patient, number=number, **where)
    (tmp_path / "C.dcm").write_bytes(b"no image")
    backend = BrightnessBackend()
    backend.sha256 = "ab" * 32  # type: ignore[attr-defined]
    model = Predictor(backend)  # type: ignore[arg-type]
    files, _ = find_inputs(tmp_path, model.contract)
    return model, files, pd.concat(model.rows(files, [file.name for file in files]), ignore_index=True)


def build(study: Any) -> list[Any]:
    from vesalius.deploy.dicom.heat_maps import build_heat_maps

    return build_heat_maps(*study, "occlusion")


def test_each_image_of_a_study_gets_its_map_in_a_series_of_the_study(study) -> None:
    model, files, _ = study
    maps = build(study)
    assert [(one.PatientID, one.InstanceNumber) for one in maps] == [("A", 1), ("A", 2), ("B", 1), ("B", 2)]
    assert len({one.SeriesInstanceUID for one in maps}) == 2
    for one, file in zip(maps, [file for file in files if file.name != "C.dcm"], strict=True):
        source = dcmread(file.part.frames[0][0])
        assert one.StudyInstanceUID == source.StudyInstanceUID
        assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        seen = file.read(model.contract)
        drawn = overlay(seen.images, explain(model.backend, [seen], method="occlusion")[0])[0]
        assert one.pixel_array.shape == (512, 512, 3)
        assert (one.pixel_array[::16, ::16] == np.rint(drawn)).all()
        assert one.DeviceSerialNumber == "ab" * 32


def test_heat_maps_that_come_back_with_their_study_are_no_inputs(study, tmp_path) -> None:
    model, files, _ = study
    for number, one in enumerate(build(study)):
        one.save_as(tmp_path / f"heat map {number}.dcm", enforce_file_format=True)
    again, notes = find_inputs(tmp_path, model.contract)
    assert [file.name for file in again] == [file.name for file in files]
    assert "4 heat maps of Vesalius are passed over." in notes


def test_a_method_that_the_model_does_not_allow_is_refused(study) -> None:
    from vesalius.deploy.dicom.heat_maps import build_heat_maps

    with pytest.raises(InputError, match="gradcam needs gradients"):
        build_heat_maps(*study, "gradcam")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
def test_heat_maps_are_valid(study, tmp_path) -> None:
    path: Path = tmp_path / "map.dcm"
    build(study)[0].save_as(path, enforce_file_format=True)
    checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    assert "Error" not in checked.stderr, checked.stderr
    assert "SCImage" in checked.stderr
