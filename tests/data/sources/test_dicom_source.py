"""A folder of DICOM and a table of labels become samples that do not identify the patients."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from dicom_maker import AXIAL, SAGITTAL, uid, write_cine, write_cohort, write_image, write_series
from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.decode import decode_file
from vesalius.data.identities import Identities
from vesalius.data.samples import check_samples
from vesalius.data.sources.dicom.dicom import Dicom
from vesalius.data.store.store import Store

# A pseudonym, of random digits from 0 to f, may hold any four of them.
PLANTED = re.compile(r"Planted|Person|HOSP|\b4711\b|Doe|Jane|19\d\d0417|1\.2\.826|IM0")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients with three phases of three slices, and labels.csv."""
    return write_cohort(tmp_path_factory.mktemp("cohort"), patients=8, phases=3).parent


def _source(root: Path, labels: Path | None = None, **options) -> Dicom:
    labels = labels or root / "labels.csv"
    files = root / "files" if (root / "files").is_dir() else root
    return Dicom(str(files), str(labels), **{"target": "finding", "progress": False, **options})


def _labels(path: Path, *rows: tuple[object, ...], columns=("PatientID", "finding")) -> Path:
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def _rows(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


@pytest.mark.parametrize(("unit", "count", "shape"), [("slice", 72, 1), ("volume", 24, 3), ("time_series", 24, 3)])
def test_each_unit_gives_its_samples(cohort, unit, count, shape):
    source = _source(cohort, unit=unit)
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    assert source.classes == ("bright", "dark")
    assert len(table) == count
    assert table["group_id"].nunique() == 8
    image = source.load(_rows(table)[0])
    assert image.shape == ((1, 32, 32) if unit == "slice" else (shape, 1, 32, 32))
    assert image.dtype == np.uint16
    assert source.series == (unit != "slice")
    assert ("_times" in table) == (unit == "time_series")
    assert len(source.files(_rows(table)[0])) == shape


def test_the_frames_of_a_time_series_are_those_of_the_files_in_order(cohort):
    source = _source(cohort, unit="time_series", slices="middle")
    table = source.samples()
    assert len(table) == 8
    for row in _rows(table):
        headers = [pydicom.dcmread(path) for path in source.files(row)]
        assert [header.TemporalPositionIdentifier for header in headers] == [1, 2, 3]
        assert {header.ImagePositionPatient[2] for header in headers} == {2.0}
        assert row["_times"] == [0.0, 10.0, 20.0]
        single = [decode_file(path)[0] for path in source.files(row)]
        assert np.array_equal(source.load(row), np.stack(single))


def test_labels_reach_the_right_patients_and_nothing_else_of_them_is_told(cohort, caplog):
    caplog.set_level(logging.DEBUG)
    source = _source(cohort, unit="time_series")
    table = source.samples()
    written = table.drop(columns=[name for name in table if name.startswith("_")]).to_csv() + caplog.text
    assert not PLANTED.findall(written)
    identities, wanted = Identities.open(), pd.read_csv(cohort / "labels.csv").set_index("PatientID")["finding"]
    for row in _rows(table):
        kind, patient = identities.reveal(row["group_id"])
        assert kind == "patient"
        assert source.classes[row["target"]] == wanted[patient]
        assert {pydicom.dcmread(path).PatientID for path in source.files(row)} == {patient}


def test_pseudonyms_do_not_depend_on_names_of_files(cohort, tmp_path):
    for number, path in enumerate(sorted((cohort / "files").rglob("IM*"))):
        (tmp_path / f"{(number * 29) % 72:03d}.dcm").write_bytes(path.read_bytes())
    one = _source(cohort, unit="time_series").samples().set_index("sample_id")
    other = _source(tmp_path, cohort / "labels.csv", unit="time_series").samples().set_index("sample_id")
    assert one["group_id"].to_dict() == other["group_id"].to_dict()
    assert one["target"].to_dict() == other["target"].to_dict()


@pytest.mark.parametrize(
    ("match", "key_of"),
    [
        ("StudyInstanceUID", lambda header, _: header.StudyInstanceUID),
        ("SeriesInstanceUID", lambda header, _: header.SeriesInstanceUID),
        ("SOPInstanceUID", lambda header, _: header.SOPInstanceUID),
        ("path", lambda _, path: path.as_posix()),
        ("path", lambda _, path: f"{path.parent.as_posix()}/"),
        ("path", lambda _, path: str(path.parts[0])),
        ("path", lambda _, path: "D:\\scans\\" + "\\".join(path.parts)),
        ("path", lambda _, path: "/".join(path.parts[-3:-1])),
    ],
)
def test_labels_join_by_any_key(cohort, tmp_path, match, key_of):
    keys = {}
    for path in sorted((cohort / "files").rglob("IM*")):
        header = pydicom.dcmread(path)
        bright = int(header.PatientID[-1]) % 2 == 0
        keys[key_of(header, path.relative_to(cohort / "files"))] = "bright" if bright else "dark"
    labels = _labels(tmp_path / "labels.csv", *keys.items(), columns=("mine", "finding"))
    named = _source(cohort, labels, key="mine", match=match).samples().set_index("sample_id")["target"]
    assert named.to_dict() == _source(cohort).samples().set_index("sample_id")["target"].to_dict()


def test_rows_and_images_without_a_partner_are_listed_or_left_out(cohort, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = [(f"HOSP-{4711 + number}", "bright" if number % 2 else "dark") for number in range(6)]
    labels = _labels(tmp_path / "labels.csv", *rows, ("HOSP-9999", "dark"))
    with pytest.raises(InputError) as refused:
        _source(cohort, labels).samples()
    assert all(name in str(refused.value) for name in ("HOSP-4717", "HOSP-4718", "HOSP-9999"))
    table = _source(cohort, labels, unmatched="skip").samples()
    assert table["group_id"].nunique() == 6
    assert table["target"].dtype.kind == "i"
    assert "HOSP" not in caplog.text


def test_a_patient_is_one_group_over_studies_but_not_over_issuers(tmp_path):
    for number, (patient, issuer) in enumerate([("1", "here"), ("1", "here"), ("1", "other"), ("2", None)]):
        own = {"patient": patient, "study": uid(number), "IssuerOfPatientID": issuer, "series": uid("series", number)}
        write_image(tmp_path / "files" / str(number), np.zeros((4, 4), dtype=np.uint16), **own)
    labels = _labels(tmp_path / "labels.csv", ("1", "a"), ("2", "b"))
    groups = _source(tmp_path, labels).samples()["group_id"].tolist()
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_a_patient_whose_issuer_is_only_named_in_some_series_stays_one(tmp_path):
    for number, (patient, issuer) in enumerate([("1", "here"), ("1", None), ("2", "here"), ("2", "other"), ("", None)]):
        own = {"patient": patient, "study": uid(number), "IssuerOfPatientID": issuer, "series": uid("series", number)}
        write_image(tmp_path / "files" / str(number), np.zeros((4, 4), dtype=np.uint16), **own)
    groups = Dicom(str(tmp_path / "files"), None, None, progress=False).samples()["group_id"].tolist()
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4
    assert Identities.open().reveal(groups[4]) == ("patient", uid(4))


def test_one_series_uid_for_two_patients_gives_two_samples(tmp_path):
    for patient in ("1", "2"):
        pixels = np.zeros((3, 4, 4), dtype=np.uint16)
        write_series(tmp_path / "files" / patient, pixels, patient=patient, series=uid("one for all"))
    labels = _labels(tmp_path / "labels.csv", ("1", "a"), ("2", "b"))
    table = _source(tmp_path, labels, unit="volume").samples()
    assert table["sample_id"].nunique() == table["group_id"].nunique() == 2


def test_without_a_patient_id_the_study_is_the_group_and_the_user_is_warned(tmp_path, caplog):
    for number in range(4):
        own = {"PatientID": None, "study": uid("study", number // 2), "series": uid(number)}
        write_image(tmp_path / "files" / str(number), np.zeros((4, 4), dtype=np.uint16), **own)
    labels = _labels(
        tmp_path / "labels.csv", *((uid("study", number), number) for number in range(2)), columns=("study", "finding")
    )
    table = _source(tmp_path, labels, key="study", match="StudyInstanceUID").samples()
    assert table["group_id"].nunique() == 2
    assert "4 of 4 samples have no PatientID" in caplog.text


def _with_a_bad_one(root: Path) -> Path:
    for number in range(4):
        pixels = np.full((5, 8, 8), number, dtype=np.uint16)
        missing = [2] if number == 3 else []
        write_series(root / "files" / f"Doe{number}", pixels, patient=f"P{number}", leave_out=missing)
    return _labels(root / "labels.csv", *((f"P{number}", "ab"[number % 2]) for number in range(4)))


def test_series_that_cannot_be_ordered_are_named_or_left_out(tmp_path, caplog):
    _with_a_bad_one(tmp_path)
    with pytest.raises(InputError, match=r"Doe3 \(4 images\): about 1 slice.*\n.*on_bad_series=skip"):
        _source(tmp_path, unit="volume").samples()
    assert len(_source(tmp_path, unit="volume", on_bad_series="skip").samples()) == 3
    assert "1 series (4 files)" in caplog.text
    assert "Doe" not in caplog.text
    assert len(_source(tmp_path, unit="slice").samples()) == 19  # gaps only matter to volumes


def test_damaged_headers_are_named_or_left_out(tmp_path, caplog):
    _with_a_bad_one(tmp_path)
    path = next((tmp_path / "files" / "Doe0").iterdir())
    path.write_bytes(path.read_bytes().replace(b"US\x02\x00\x08\x00", b"US\x02\x00\x00\x00"))  # no rows, no columns
    with pytest.raises(InputError, match=f"Doe0/{path.name} claims 0×0"):
        _source(tmp_path).samples()
    assert len(_source(tmp_path, on_bad_series="skip").samples()) == 18
    assert "1 damaged files" in caplog.text
    assert "Doe" not in caplog.text


def _images(root: Path, **of_each) -> Path:
    """Six images of a study each; options may be functions of the number."""
    for number in range(6):
        own = {name: value(number) for name, value in of_each.items()}
        own = {"study": uid("study", number), "series": uid("series", number), **own}
        write_image(root / "files" / f"{number}.dcm", np.full((4, 4), number, dtype=np.uint16), **own)
    return root


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (lambda number: f"{1000 + number}.0", "`.0` at the end, which pandas adds"),
        (lambda number: f"000{1000 + number}", "zeros in front"),
        (lambda number: f"{1000 + number}.00", "`.0` at the end"),
    ],
)
def test_ids_that_a_program_wrote_otherwise_are_named_first(tmp_path, written, kind):
    root = _images(tmp_path, patient=lambda number: str(1000 + number))
    labels = _labels(tmp_path / "l.csv", *((written(number), "ab"[number % 2]) for number in range(6)))
    with pytest.raises(InputError) as refused:
        _source(root, labels).samples()
    first = refused.value.problems[0]
    assert first.startswith("6 `PatientID` of l.csv differ in")
    assert kind in first
    assert f"{written(0)} and 1000" in first


@pytest.mark.parametrize(
    ("key", "tag"), [("PatientID", "PatientID"), ("StudyInstanceUID", "StudyInstanceUID"), ("SeriesInstanceUID", None)]
)
def test_an_id_that_an_anonymiser_removed_is_named(tmp_path, key, tag):
    root = _images(tmp_path, **{key: lambda number: ""})
    labels = _labels(
        tmp_path / "l.csv", *((str(number), "ab"[number % 2]) for number in range(6)), columns=(key, "finding")
    )
    with pytest.raises(InputError) as refused:
        _source(root, labels, key=key).samples()
    (problem,) = refused.value.problems
    assert problem.startswith(f"6 of 6 images have an empty {key}")
    assert tag is None or "data.source.match=" in problem


def test_one_patient_id_for_all_is_named(tmp_path, caplog):
    root = _images(tmp_path, patient=lambda number: "ANON")
    labels = _labels(
        tmp_path / "l.csv",
        *((uid("series", number), "ab"[number % 2]) for number in range(6)),
        columns=("SeriesInstanceUID", "finding"),
    )
    source = _source(root, labels, key="SeriesInstanceUID")
    assert source.samples()["group_id"].nunique() == 1
    assert "all 6 samples of 6 studies have the same PatientID" in caplog.text
    by_file = _source(root, labels, key="SeriesInstanceUID", group_pattern=r"(\d)\.dcm$")
    assert by_file.samples()["group_id"].nunique() == 6


def test_a_patient_id_spelt_two_ways_is_one_patient(tmp_path, caplog):
    root = _images(tmp_path, patient=lambda number: ("pat1", "PAT1", "Pat-2", "pat 2", "pat3", "pat4")[number])
    groups = Dicom(str(root / "files"), None, None, progress=False).samples()["group_id"].tolist()
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert len(set(groups)) == 4
    assert "2 patient(s) are spelt in several ways" in caplog.text
    assert "pat1 and" not in caplog.text.lower()


def test_the_only_file_of_a_patient_is_named_where_it_is_damaged(tmp_path):
    root = _images(tmp_path, patient=lambda number: f"P{number}")
    labels = _labels(tmp_path / "l.csv", *((f"P{number}", "ab"[number % 2]) for number in range(6)))
    for number in (3, 4):
        path = root / "files" / f"{number}.dcm"
        content = path.read_bytes()
        path.write_bytes(content[: content.find(b"\x28\x00\x10\x00")])
    with pytest.raises(InputError) as refused:
        _source(root, labels).samples()
    first, *others = refused.value.problems
    assert "3.dcm" in first
    assert "The same holds for 1 more: 4.dcm" in first
    assert any("match none of the images: P3, P4" in text for text in others)
    with pytest.raises(InputError, match="2 damaged files are left out"):
        _source(root, labels, on_bad_series="skip").samples()
    assert len(_source(root, labels, on_bad_series="skip", unmatched="skip").samples()) == 4


@pytest.mark.parametrize("content", [b"", b"<html>404: not found</html>", b"\0" * 200])
def test_a_file_that_is_only_called_dicom_is_named(tmp_path, content):
    root = _images(tmp_path, patient=lambda number: f"P{number}")
    labels = _labels(tmp_path / "l.csv", *((f"P{number}", "ab"[number % 2]) for number in range(6)))
    (root / "files" / "3.dcm").write_bytes(content)
    (root / "files" / "notes").write_bytes(b"any text")
    with pytest.raises(InputError) as refused:
        _source(root, labels).samples()
    assert refused.value.problems[0].startswith("3.dcm is no DICOM file, though it is called so")
    source = _source(root, labels, on_bad_series="skip", unmatched="skip")
    assert len(source.samples()) == 5
    assert source.passed_over == {
        "files that are no DICOM": 1,
        "damaged or unusable": 1,
        "`PatientID` that match nothing": 1,
    }


def test_names_of_folders_composed_otherwise_are_the_same_names(tmp_path):
    for number in range(4):
        path = tmp_path / "files" / f"Ro\u0308{number}" / "1.dcm"
        own = {"patient": f"P{number}", "study": uid(number), "series": uid("series", number)}
        write_image(path, np.full((4, 4), number, dtype=np.uint16), **own)
    rows = [(f"R\u00f6{number}", "ab"[number % 2]) for number in range(4)]
    labels = _labels(tmp_path / "l.csv", *rows, columns=("path", "finding"))
    assert _source(tmp_path, labels, key="path").samples()["target"].tolist() == [0, 1, 0, 1]


def test_a_file_cut_short_is_damaged_and_not_skipped(tmp_path):
    table = write_cohort(tmp_path / "study", patients=4, slices=2)
    files = table.parent / "files"
    cut = next(path for path in sorted(files.rglob("*")) if path.is_file())
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 4])
    with pytest.raises(InputError, match="cut off"):
        Dicom(str(files), str(table), "finding").samples()
    source = Dicom(str(files), str(table), "finding", on_bad_series="skip")
    assert len(source.samples()) == 7
    ((name, reason),) = source.left_out
    assert cut.name not in name + reason


def test_a_localiser_is_no_set_of_slices(tmp_path):
    labels = _with_a_bad_one(tmp_path)
    for name, orientation in (("a", AXIAL), ("b", SAGITTAL)):
        own = {"patient": "P0", "series": uid("localiser"), "instance": uid(name), "position": (0, 0, 0)}
        pixels = np.zeros((8, 8), dtype=np.uint16)
        write_image(tmp_path / "files" / "localiser" / name, pixels, orientation=orientation, **own)
    with pytest.raises(InputError, match="2 orientations"):
        _source(tmp_path, labels).samples()
    assert len(_source(tmp_path, labels, on_bad_series="skip").samples()) == 19


def test_a_volume_is_no_time_series_and_a_position_may_be_absent(cohort, tmp_path):
    _with_a_bad_one(tmp_path)
    with pytest.raises(InputError, match="single phase"):
        _source(tmp_path, unit="time_series").samples()
    with pytest.raises(InputError, match="none of number 3"):
        _source(cohort, unit="time_series", slices=[0, 3]).samples()
    ends = _source(cohort, unit="time_series", slices=[0, 2]).samples()
    assert len(ends) == 16
    assert _source(cohort, unit="time_series", slices=[0, -1]).samples()["sample_id"].equals(ends["sample_id"])


def test_windows_that_differ_within_a_series_become_one(tmp_path):
    pixels = np.broadcast_to(np.arange(0, 400, 25, dtype=np.uint16).reshape(4, 4), (3, 4, 4)).copy()
    windows = [(50.5, 101), (100.5, 201), (75.5, 151)]  # edges 0 to 100, 0 to 200, 0 to 150
    write_series(tmp_path / "files", pixels, window=lambda _, place: windows[place])
    labels = _labels(tmp_path / "labels.csv", ("PAT001", 1.5))
    source = _source(tmp_path, labels, unit="volume", task="regression")
    (row,) = _rows(source.samples())
    volume = source.load(row)
    assert np.array_equal(volume[0], volume[1])
    assert np.array_equal(volume[0], volume[2])
    assert np.array_equal(volume[0, 0], np.rint(np.clip(pixels[0] / 200, 0, 1) * 65535))


def test_values_may_stay_hounsfield_units_and_colour_may_become_grey(tmp_path):
    pixels = np.arange(16, dtype=np.int16).reshape(4, 4)
    write_image(tmp_path / "files" / "a", pixels, patient="A", rescale=(2, -1000))
    labels = _labels(tmp_path / "labels.csv", ("A", 1.0))
    source = _source(tmp_path, labels, window="none", task="regression", channels=3)
    image = source.load(_rows(source.samples())[0])
    assert np.array_equal(image, np.repeat(pixels[None] * 2.0 - 1000, 3, axis=0))


def test_images_of_one_position_are_no_volumes_of_one_slice(tmp_path):
    for number in range(4):
        options = {"number": number + 1, "position": (0, 0, 0), "orientation": AXIAL}
        write_image(tmp_path / "files" / str(number), np.zeros((4, 4), np.uint8), patient="A", **options)
    labels = _labels(tmp_path / "labels.csv", ("A", 1.0))
    with pytest.raises(InputError, match="its 4 images all have the same position"):
        _source(tmp_path, labels, unit="volume", task="regression").samples()
    assert len(_source(tmp_path, labels, unit="slice", task="regression").samples()) == 4


@pytest.mark.parametrize("positions", [[0, 0, 0, 0], [None] * 4, [7.5, 7.5, 7.5, 7.5000001]])
def test_slices_that_no_position_tells_apart_are_no_volume(tmp_path, positions):
    for number, place in enumerate(positions):
        where = {} if place is None else {"position": (0, 0, place), "orientation": AXIAL}
        write_image(
            tmp_path / "files" / str(number), np.zeros((4, 4), np.uint8), patient="A", number=number + 1, **where
        )
    labels = _labels(tmp_path / "labels.csv", ("A", 1.0))
    with pytest.raises(InputError, match=r"no volume|cannot be ordered|position"):
        _source(tmp_path, labels, unit="volume", task="regression").samples()
    assert len(_source(tmp_path, labels, unit="slice", task="regression").samples()) == 4


def test_with_a_window_files_of_8_and_of_12_bits_have_one_scale(tmp_path):
    pixels = np.arange(16).reshape(4, 4) * 17
    write_image(tmp_path / "files" / "a", pixels.astype(np.uint8), patient="A")
    write_image(tmp_path / "files" / "b", pixels.astype(np.uint16), patient="B", bits_stored=12)
    labels = _labels(tmp_path / "labels.csv", ("A", 1.0), ("B", 2.0))
    source = _source(tmp_path, labels, window=[127.5, 255], task="regression")
    eight, twelve = (source.load(row) for row in _rows(source.samples()))
    assert eight.dtype == twelve.dtype == np.uint16
    assert np.array_equal(eight, twelve)
    assert np.array_equal(eight[0], pixels * 257)


def test_frames_of_films_are_images_or_a_series(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)
    for number in range(2):
        options = {"patient": f"P{number}", "number": number + 1}
        write_cine(tmp_path / "files" / str(number), frames[: 12 - number], **options)
    labels = _labels(tmp_path / "labels.csv", ("P0", "a"), ("P1", "b"))
    single = _source(tmp_path, labels)
    table = single.samples()
    assert table["sample_id"].str[-4:].tolist() == [f"_{number:03d}" for count in (12, 11) for number in range(count)]
    assert np.array_equal(single.load(_rows(table)[7]), frames[7].transpose(2, 0, 1))
    films = _source(tmp_path, labels, unit="time_series")
    first, second = _rows(films.samples())
    assert np.array_equal(films.load(first), frames.transpose(0, 3, 1, 2))
    assert films.load(second).shape == (11, 3, 6, 6)
    assert np.allclose(first["_times"], np.arange(12) * 0.04)


def test_where_some_series_have_no_times_all_go_by_number(tmp_path, caplog):
    for number, step in enumerate((40.0, None)):
        write_cine(
            tmp_path / "files" / str(number), np.zeros((3, 4, 4), dtype=np.uint8), patient=f"P{number}", frame_time=step
        )
    labels = _labels(tmp_path / "labels.csv", ("P0", "a"), ("P1", "b"))
    assert "_times" not in _source(tmp_path, labels, unit="time_series").samples()
    assert "1 of 2 series" in caplog.text


def test_a_file_that_cannot_be_decoded_is_called_by_its_pseudonym(tmp_path):
    _with_a_bad_one(tmp_path)
    source = _source(tmp_path)
    row = _rows(source.samples())[0]
    (path,) = source.files(row)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError) as refused:
        source.load(row)
    assert row["sample_id"] in str(refused.value)
    path.unlink()
    with pytest.raises(InputError) as absent:
        source.load(row)
    with pytest.raises(InputError) as unread:
        source.fingerprint()
    written = str(refused.value) + str(absent.value) + str(unread.value)
    assert not any(word in written for word in ("Doe", "IM0", str(tmp_path)))


def test_the_fingerprint_follows_contents_and_settings(tmp_path):
    _with_a_bad_one(tmp_path)
    options = [{}, {"window": "none"}, {"window": [1, 2]}, {"channels": 3}, {"unit": "volume", "on_bad_series": "skip"}]
    marks = [_source(tmp_path, **chosen).fingerprint() for chosen in options]
    assert len(set(marks)) == len(marks)
    assert _source(tmp_path).fingerprint() == marks[0]
    path = next((tmp_path / "files").rglob("IM*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert _source(tmp_path).fingerprint() != marks[0]


@pytest.mark.parametrize("unit", ["slice", "volume", "time_series"])
def test_the_store_decodes_what_the_source_gives(cohort, tmp_path, unit):
    source = _source(cohort, unit=unit)
    table = source.samples().head(10)
    store = Store.open(source, table, cache_dir=tmp_path, progress=False)
    for number, row in enumerate(_rows(table)):
        start, end = store.offsets[number : number + 2]
        expected = source.load(row)
        assert np.array_equal(store.images[start:end].numpy(), expected if source.series else expected[None])
    assert not any(PLANTED.search(path.read_text()) for path in tmp_path.rglob("*.json"))


def test_every_wrong_setting_is_named_at_once(cohort):
    with pytest.raises(InputError) as refused:
        _source(cohort, key="finding", unit="slice", window=[1, -1], slices="middle")
    assert all(f"`data.source.{name}" in str(refused.value) for name in ("match", "window", "slices"))
    with pytest.raises(InputError, match="is empty"):
        _source(cohort, unit="time_series", slices=[])
    with pytest.raises(InputError, match="unit=slice"):
        _source(cohort, match="SOPInstanceUID", unit="volume")


@pytest.mark.parametrize("unit", ["slice", "volume"])
def test_without_a_table_the_patients_are_those_of_the_files(cohort, unit):
    source = Dicom(str(cohort / "files"), None, None, unit=unit, progress=False)
    table, labelled = source.samples(), _source(cohort, unit=unit).samples()
    assert (source.task, source.classes) == ("unlabelled", ())
    check_samples(table, source.task, source.classes, before_split=True)
    assert list(table.columns) == [name for name in labelled if name != "target"]
    assert table["sample_id"].tolist() == labelled["sample_id"].tolist()
    assert table["group_id"].tolist() == labelled["group_id"].tolist()
    assert source.fingerprint() == _source(cohort, unit=unit).fingerprint()
    assert np.array_equal(source.load(_rows(table)[0]), source.load(_rows(labelled)[0]))


def test_a_table_and_its_columns_go_together(cohort):
    with pytest.raises(InputError, match=r"set `data.source.labels` too") as caught:
        Dicom(str(cohort / "files"), None, "finding", group="who", window="lung")
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="for data without labels"):
        Dicom(str(cohort / "files"), str(cohort / "labels.csv"), None)
