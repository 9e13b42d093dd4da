"""The Structured Report of a study, read back by the library that reads them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dicom_maker import write_image
from vesalius.config.errors import InputError
from vesalius.data.sources.tables.file_reader import Part
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.report_folder import ReportFolder
from vesalius.deploy.inputs import InputFile

hd = pytest.importorskip("highdicom")

PIXELS = np.zeros((8, 8), np.uint16)


def describe(**options: Any) -> ModelDescription:
    usual = {"task": "multiclass", "classes": ("healthy", "spiculated nodule"), "sha256": "ab" * 32, "version": "1.2"}
    return ModelDescription(**{**usual, "operating_point": "youden", "thresholds": {}, **options})


def build(model: ModelDescription, files: list[InputFile], rows: list[dict[str, Any]]) -> tuple[list[Any], list[str]]:
    from vesalius.deploy.dicom.reports import build_reports

    return build_reports(model, files, pd.DataFrame([{"problem": None, **row} for row in rows]))


def read(report: Any, folder: Path) -> Any:
    report.save_as(folder / "report.dcm", enforce_file_format=True)
    return hd.sr.srread(folder / "report.dcm")


def image(path: Path, frames: tuple[int | None, ...] = (None,), pixels: np.ndarray = PIXELS, **tags: Any) -> InputFile:
    write_image(path, pixels, **tags)
    return InputFile(path.name, Part(tuple((str(path), frame) for frame in frames)))


ROW = {"prob/healthy": 0.25, "prob/spiculated nodule": 0.75, "prediction": "spiculated nodule"}


def items(group: Any) -> tuple[dict[str, float], dict[str, str]]:
    numbers = {one.name.value: float(one.value) for one in group.get_measurements()}
    return numbers, {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}


def test_a_report_holds_what_was_predicted_by_what_for_which_image(tmp_path) -> None:
    files = [image(tmp_path / f"{number}.dcm", number=3 - number) for number in range(3)]
    reports, problems = build(describe(thresholds={"spiculated nodule": 0.4}), files, [ROW] * 3)
    assert (len(reports), problems) == (1, [])
    report = read(reports[0], tmp_path)
    groups = report.content.get_image_measurement_groups()
    referred = [source.referenced_sop_instance_uid for group in groups for source in group.source_images]
    assert referred == [read_uid(tmp_path / f"{number}.dcm") for number in (2, 1, 0)]  # by InstanceNumber
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {one.ReferencedSOPInstanceUID for one in evidence} == set(referred)
    for group in groups:
        assert group.finding_type.value == "spiculated nodule"
        numbers, words = items(group)
        expected = {"prob/healthy": 0.25, "prob/spiculated nodule": 0.75, "threshold/spiculated nodule": 0.4}
        assert numbers == pytest.approx(expected)
        assert words == {"operating_point": "youden"}
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        *("COMPLETE", "UNVERIFIED", "PRELIMINARY"),
    )
    texts = [one.value for one in report.iterall() if one.keyword == "TextValue"]
    assert texts.count(f"model SHA-256: {'ab' * 32}") == 3
    (device,) = [one.observer_identifying_attributes for one in report.content.get_observer_contexts()]
    assert (device.serial_number, device.uid) == ("ab" * 32, describe().device_uid)
    assert describe(sha256="cd" * 32).device_uid != device.uid


def read_uid(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_identifiers_are_kept_and_nothing_else_of_the_study_is(tmp_path) -> None:
    tags = {
        "name": "Müller^Zoë",
        "SpecificCharacterSet": "ISO_IR 100",
        "AccessionNumber": "A 1",
        "StudyDescription": "Thorax, nüchtern",
        "PatientSex": "X",  # no value of the standard, and still the study's
        "StudyDate": "20200101",
        "InstitutionName": "A clinic",
        "StationName": "CT7",
        "OperatorsName": "Someone^Else",
    }
    reports, _ = build(describe(), [image(tmp_path / "0.dcm", **tags)], [ROW])
    report = read(reports[0], tmp_path)
    assert str(report.PatientName) == "Müller^Zoë"
    for keyword in ("AccessionNumber", "StudyDescription", "PatientSex", "StudyDate"):
        assert report[keyword].value == tags[keyword]
    assert {"InstitutionName", "StationName", "OperatorsName"}.isdisjoint(one.keyword for one in report.iterall())
    assert report.SpecificCharacterSet == "ISO_IR 192"


def test_labels_are_present_or_absent(tmp_path) -> None:
    model = describe(task="multilabel", classes=("a", "b"), thresholds={"a": 0.3, "b": 0.6})
    rows = [
        {"prob/a": 0.5, "prob/b": 0.5, "prediction": "a", "set": ""},
        {"prob/a": 0.1, "prob/b": 0.1, "prediction": ""},
    ]
    files = [image(tmp_path / f"{number}.dcm", number=number) for number in range(2)]
    (report,), _ = build(model, files, rows)
    first, second = read(report, tmp_path).content.get_image_measurement_groups()
    assert items(first)[1] == {"operating_point": "youden", "a": "121053", "b": "121054", "set": "none"}
    assert items(second)[1] == {"operating_point": "youden", "a": "121054", "b": "121054"}
    assert first.finding_type is None


def test_continuous_targets_sets_and_warnings_have_their_items(tmp_path) -> None:
    model = describe(task="regression", classes=("age in years",), operating_point="")
    row = {"pred/age in years": 61.5, "abstain": False, "ood": True, "ood_score": 9.0, "set": None}
    (report,), _ = build(model, [image(tmp_path / "0.dcm")], [row])
    (group,) = read(report, tmp_path).content.get_image_measurement_groups()
    numbers, words = items(group)
    assert numbers == {"pred/age in years": 61.5, "ood_score": 9.0}
    assert words == {"abstain": "373067005", "ood": "373066001"}  # no, yes


def test_frames_of_one_file_are_named_by_their_numbers(tmp_path) -> None:
    pixels = np.zeros((4, 8, 8), np.uint16)
    one, several = image(tmp_path / "a.dcm", (2,), pixels), image(tmp_path / "a.dcm", (0, 1, 3), pixels)
    (report,), _ = build(describe(), [one, several], [ROW, ROW])
    groups = read(report, tmp_path).content.get_image_measurement_groups()
    assert sorted(group.source_images[0].referenced_frame_numbers for group in groups) == [[1, 2, 4], [3]]


def test_each_study_has_its_report_and_refused_images_are_counted(tmp_path) -> None:
    files = [
        image(tmp_path / "0.dcm", patient="P1", number=1),
        image(tmp_path / "1.dcm", patient="P1", number=2),
        image(tmp_path / "2.dcm", patient="P2"),
        image(tmp_path / "3.dcm", patient="P3"),
        InputFile("photo.png", Part(((str(tmp_path / "photo.png"), None),))),
        image(tmp_path / "4.dcm", patient="P2", number=2, SOPInstanceUID=None),
    ]
    (tmp_path / "photo.png").write_bytes(b"\x89PNG and so on")
    bad = {"problem": "it is refused"}
    reports, problems = build(describe(), files, [ROW, bad, ROW, bad, ROW, ROW])
    assert [report.PatientID for report in reports] == ["P1", "P2"]
    assert [report.CompletionFlag for report in reports] == ["PARTIAL", "COMPLETE"]
    assert reports[0].CompletionFlagDescription == "1 of 2 inputs were refused"
    assert "photo.png is no DICOM file, and a report is for a DICOM study" in problems[0]
    assert "4.dcm has no SOPInstanceUID" in problems[1]


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"reports=.* needs the package 'highdicom': pip install 'vesalius\[deploy\]'"):
        ReportFolder(tmp_path / "reports", {})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_reports_are_valid(task, tmp_path) -> None:
    classes = ("healthy", "a class \\ with 'quotes' and a name that is far longer than sixty-four characters, é")
    model = describe(task=task, classes=classes, thresholds={classes[1]: 0.3})
    names = {"regression": "pred"}.get(task, "prob")
    row = {f"{names}/{name}": 0.5 for name in classes}
    if task != "regression":
        row |= {"prediction": classes[1], "set": "|".join(classes), "ood": False, "ood_score": 1e-7}
    files = [image(tmp_path / f"{number}.dcm", number=number) for number in range(2)]
    (report,), _ = build(model, files, [row, row])
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    checked = subprocess.run(["dciodvfy", str(tmp_path / "report.dcm")], capture_output=True, text=True)
    assert "Error" not in checked.stderr, checked.stderr
    assert "ComprehensiveSR" in checked.stderr
