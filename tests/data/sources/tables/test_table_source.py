import os
import random
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_maker import write_cine, write_image, write_series
from vesalius.config.errors import InputError
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.identities import Identities
from vesalius.data.samples import check_samples
from vesalius.data.sources.tables.table import Table
from vesalius.data.splits.assign import assign_splits


def write_png(path, value, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


def write_nifti(path, voxels, seconds=2.0):
    image = nib.Nifti1Image(voxels, np.eye(4))
    if voxels.ndim == 4:
        image.header.set_zooms((1, 1, 1, seconds))
        image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def write_manifest(root, rows, columns="file,y,patient", name="m.csv"):
    lines = [columns, *(",".join(map(str, row)) for row in rows)]
    (root / name).write_text("\n".join(lines) + "\n")
    return str(root / name)


def table_of(manifest, **options):
    return Table(manifest, **{"path": "file", "target": "y", "group": "patient", "pseudonyms": False, **options})


def problems_of(manifest, **options):
    with pytest.raises(InputError) as caught:
        table_of(manifest, **options).samples()
    return "\n".join(caught.value.problems)


def loaded(source):
    return [source.load(row) for row in source.samples().to_dict("records")]


@pytest.fixture
def images(tmp_path):
    """Eight files of grey 0 to 7, two per patient, in folders; and their manifest."""
    rows = []
    for number in range(8):
        write_png(tmp_path / f"{number % 2}/{number}.png", number)
        rows.append((f"{number % 2}/{number}.png", "ab"[number // 4], f"p{number // 2}"))
    return write_manifest(tmp_path, rows)


# rows and files


def test_each_row_is_an_image_with_its_own_target(images):
    source = table_of(images)
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    assert source.classes == ("a", "b")
    assert not source.series
    values = [int(image.max()) for image in loaded(source)]
    assert values == [int(name[2]) for name in table["sample_id"]]
    assert table["target"].tolist() == [value // 4 for value in values]
    assert table["group_id"].tolist() == [f"p{value // 2}" for value in values]
    assert [path.name for path in source.files(table.iloc[0])] == ["0.png"]


def test_paths_may_be_absolute_elsewhere_or_with_backslashes(tmp_path):
    for name in ("in/a.png", "out/b.png", "out/c.png"):
        write_png(tmp_path / name, 1)
    rows = [(".\\a.png", 0, "p"), ("../out/b.png", 1, "q"), (tmp_path / "out/c.png", 1, "r")]
    manifest = write_manifest(tmp_path, rows)
    table = table_of(manifest, root=str(tmp_path / "in")).samples()
    assert table["sample_id"].tolist() == ["../out/b.png", "../out/c.png", "a.png"]
    assert "does not exist" in problems_of(manifest, root=str(tmp_path / "none"))


def test_rows_that_point_nowhere_are_listed_together(images, tmp_path):
    rows = [("0/0.png", "a", "p0"), ("1/1.PNG", "b", "p1"), ("9/9.png", "b", "p2")]
    rows += [(f"lost{number}.png", "a", "p") for number in range(6)]
    found = problems_of(write_manifest(tmp_path, rows))
    assert "8 of 9 rows of m.csv name a file that does not exist: 1/1.PNG (line 3), 9/9.png (line 4)" in found
    assert "and 3 more" in found
    assert "Did you mean '1.png' for '1.PNG'?" in found
    assert "`data.source.root`" in problems_of(write_manifest(tmp_path, rows[1:]))


def test_skipping_leaves_out_what_has_no_file_or_no_target(images, tmp_path, caplog):
    rows = [("0/0.png", "a", "p0"), ("1/1.png", "b", "p1"), ("secret.png", "b", "p2"), ("0/2.png", "", "p3")]
    manifest = write_manifest(tmp_path, rows)
    assert "1 of 4 rows" in problems_of(manifest)
    assert "1 row(s) of m.csv have no target (lines 5)" in problems_of(manifest)
    table = table_of(manifest, unmatched="skip").samples()
    assert table["sample_id"].tolist() == ["0/0.png", "1/1.png"]
    assert table["target"].dtype == int
    assert "1 files have no label" in caplog.text
    assert "1 files are left out" in caplog.text
    assert "secret" not in caplog.text


def test_a_file_stands_in_one_row(images, tmp_path):
    rows = [("0/0.png", "a", "p0"), ("./0/0.png", "a", "p0"), ("1/../0/2.png", "b", "p1"), ("0/2.png", "b", "p1")]
    found = problems_of(write_manifest(tmp_path, rows))
    assert "2 file(s) are in several rows of m.csv: 0/0.png (lines 2, 3), 1/../0/2.png (lines 4, 5)" in found


def test_a_patient_may_be_a_part_of_the_path(tmp_path):
    rows = []
    for number in range(6):  # the layout of CheXpert
        path = f"CheXpert/train/patient{number // 2:05d}/study1/view{number % 2}_frontal.png"
        write_png(tmp_path / path, number)
        rows.append((path, "ab"[number // 2 % 2]))
    manifest = write_manifest(tmp_path, rows, columns="file,y")
    table = table_of(manifest, group=None, group_pattern=r"(patient\d+)").samples()
    assert table["group_id"].tolist() == [f"patient{number // 2:05d}" for number in range(6)]
    assert "finds no patient in 6 of 6 paths" in problems_of(manifest, group=None, group_pattern=r"(person\d+)")
    assert "no regular expression" in problems_of(manifest, group=None, group_pattern=r"(")


@pytest.mark.parametrize("options", [{"group": None}, {"group": "patient", "group_pattern": "(.)"}])
def test_a_table_needs_one_way_to_its_patients(images, options):
    assert "one of `data.source.group`, the column" in problems_of(images, **options)


def test_rows_and_files_that_no_sample_comes_from_are_counted(tmp_path):
    for number in range(4):
        write_png(tmp_path / f"{number}.png", number)
    rows = [("0.png", "a", "p"), ("1.png", "b", "q"), ("2.png", "NA", "r"), ("9.png", "a", "s")]
    source = table_of(write_manifest(tmp_path, rows), unmatched="skip")
    assert len(source.samples()) == 2
    assert source.passed_over == {"files that are missing": 1, "files without a label": 1}


def test_without_groups_every_file_is_a_patient_and_a_warning_names_it(images, caplog):
    table = table_of(images, group="none").samples()
    assert table["group_id"].tolist() == table["sample_id"].tolist()
    assert "every file is taken for a patient of its own" in caplog.text


def test_options_that_cannot_be_are_refused(images):
    assert "data.source.series" in problems_of(images, time="y")
    assert "[centre, width]" in problems_of(images, window=[1, 0])
    assert "every row of m.csv is a single image" in problems_of(images, unit="volume")
    assert "no column `when`" in problems_of(images, unit="volume", series="patient", time="when")


def test_splits_subgroups_and_several_targets_come_along(tmp_path):
    rows = []
    for number, split in enumerate(("training", "VALID", "test", "")):
        write_png(tmp_path / f"{number}.png", number)
        rows.append((f"{number}.png", number % 2, 1 - number % 2, f"p{number}", split, "north"))
    manifest = write_manifest(tmp_path, rows, "file,mass,edema,patient,part,site")
    source = table_of(manifest, target=["mass", "edema"], split="part", subgroups=["site"])
    table = source.samples()
    assert (source.task, source.classes) == ("multilabel", ("mass", "edema"))
    assert table["split"].tolist() == ["train", "val", "test", None]
    assert table["target/edema"].tolist() == [1, 0, 1, 0]
    assert table["site"].tolist() == ["north"] * 4


# identities


def test_names_and_paths_are_hidden_unless_one_says_otherwise(images):
    plain = table_of(images).samples()
    source = table_of(images, pseudonyms=True)
    hidden = source.samples()
    shown = hidden.drop(columns="_part").to_csv() + source.fingerprint()
    assert ".png" not in shown
    assert set(hidden["group_id"]).isdisjoint(plain["group_id"])
    assert hidden["target"].tolist() == plain["target"].tolist()
    identities = Identities.open()
    assert [identities.reveal(name)[1] for name in hidden["sample_id"]] == plain["sample_id"].tolist()
    assert [identities.reveal(name)[1] for name in hidden["group_id"]] == plain["group_id"].tolist()
    row = hidden.iloc[0]
    os.remove(source.files(row)[0])
    with pytest.raises(InputError, match=rf"^{row['sample_id']} does not exist"):
        source.load(row)


# kinds of files


def test_slices_of_volumes_are_images_of_their_patient(tmp_path):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_nifti(tmp_path / "v.nii.gz", voxels)
    write_cine(tmp_path / "c.dcm", np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    volume = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_series(tmp_path / "study", volume)
    for number in (10, 9):
        write_png(tmp_path / f"frames/{number}.png", number)
    rows = [("v.nii.gz", 0, "p"), ("c.dcm", 1, "q"), ("study", 0, "r"), ("frames", 1, "s")]
    source = table_of(write_manifest(tmp_path, rows))
    table = source.samples()
    counts = table["group_id"].value_counts().to_dict()
    assert counts == {"p": 4, "q": 3, "r": 3, "s": 2}
    assert table["sample_id"].tolist()[:3] == ["c.dcm_000", "c.dcm_001", "c.dcm_002"]
    found = dict(zip(table["sample_id"], loaded(source), strict=True))
    assert found["frames_000"].max() == 9
    # radiological view: rows from anterior to posterior, columns from right to left
    np.testing.assert_array_equal(found["v.nii.gz_002"][0], voxels[::-1, ::-1, 2].T)
    np.testing.assert_array_equal(found["c.dcm_001"][0], np.arange(20, 40).reshape(4, 5))
    np.testing.assert_array_equal(np.stack([found[f"study_{z:03d}"][0] for z in range(3)]), volume)


def test_the_same_files_are_series(tmp_path):
    volume = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_series(tmp_path / "study", volume)
    write_nifti(tmp_path / "v.nii", volume)
    write_png(tmp_path / "one.png", 7)
    rows = [("study", 0, "p"), ("v.nii", 1, "q"), ("one.png", 1, "r")]
    source = table_of(write_manifest(tmp_path, rows), unit="volume")
    assert source.series
    table = source.samples()
    found = dict(zip(table["sample_id"], loaded(source), strict=True))
    np.testing.assert_array_equal(found["study"][:, 0], volume)
    assert found["v.nii"].shape == (5, 1, 4, 3)
    assert found["one.png"].shape == (1, 1, 6, 5)
    assert "_times" not in table


def test_phases_over_time_come_with_their_seconds(tmp_path):
    phases = np.arange(48, dtype=np.uint8).reshape(3, 2, 2, 4)  # time, place
    write_series(tmp_path / "study", phases, seconds=[0, 5, 20])
    write_nifti(tmp_path / "v.nii", phases.transpose(3, 2, 1, 0), seconds=1.5)
    write_cine(tmp_path / "c.dcm", phases[:, 0], frame_time=40.0)
    rows = [("study", 0, "p"), ("v.nii", 1, "q"), ("c.dcm", 1, "r")]
    source = table_of(write_manifest(tmp_path, rows), unit="time_series")
    table = source.samples().set_index("sample_id")
    assert table["_times"].to_dict() == {
        "c.dcm": pytest.approx([0, 0.04, 0.08]),
        "study_000": [0, 5, 20],
        "study_001": [0, 5, 20],
        "v.nii_000": [0, 1.5, 3],
        "v.nii_001": [0, 1.5, 3],
    }
    found = dict(zip(table.index, loaded(source), strict=True))
    np.testing.assert_array_equal(found["study_001"][:, 0], phases[:, 1])
    np.testing.assert_array_equal(found["v.nii_001"][:, 0], phases[:, 1, ::-1, ::-1])
    volumes = table_of(write_manifest(tmp_path, rows[:2]), unit="volume")
    assert volumes.samples()["sample_id"].tolist() == [
        f"{name}_{t:03d}" for name in ("study", "v.nii") for t in range(3)
    ]


@pytest.mark.parametrize("unit", ["slice", "time_series"])
def test_a_clip_is_a_time_series_or_its_frames(tmp_path, unit):
    frames = [Image.fromarray(np.full((16, 16), 60 * number, np.uint8)) for number in range(4)]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:], duration=40)
    write_png(tmp_path / "b.png", 1)
    source = table_of(write_manifest(tmp_path, [("c.gif", 0, "p"), ("b.png", 1, "q")]), unit=unit)
    table, arrays = source.samples(), loaded(source)
    if unit == "slice":
        assert table["sample_id"].tolist() == ["b.png", "c.gif_000", "c.gif_001", "c.gif_002", "c.gif_003"]
        assert [int(array.max()) for array in arrays[1:]] == [0, 60, 120, 180]
    else:
        assert table["sample_id"].tolist() == ["b.png", "c.gif"]
        assert arrays[1].max(axis=(1, 2, 3)).tolist() == [0, 60, 120, 180]
        assert "_times" not in table  # the picture has none
        assert table["_part"][1].times == pytest.approx([0, 0.04, 0.08, 0.12])


def test_both_halves_of_a_pair_of_files_count(tmp_path):
    for name in "ab":
        nib.save(nib.Nifti1Pair(np.zeros((4, 4, 2), np.uint8), np.eye(4)), tmp_path / f"{name}.img")
    source = table_of(write_manifest(tmp_path, [("a.hdr", 0, "p"), ("b.img", 1, "q")]), unit="volume")
    assert [{path.name for path in source.files(row)} for row in source.samples().to_dict("records")] == [
        {"a.hdr", "a.img"},
        {"b.hdr", "b.img"},
    ]
    first = source.fingerprint()
    with (tmp_path / "a.img").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert source.fingerprint() != first


def test_slices_of_a_dicom_volume_share_one_window(tmp_path):
    volume = np.full((2, 4, 4), 120, np.uint16)
    for number, width in enumerate((100.0, 300.0)):
        write_image(
            tmp_path / f"s/{number}.dcm",
            volume[number],
            series="1.2.3",
            number=number,
            position=(0, 0, 2.0 * number),
            orientation=(1, 0, 0, 0, 1, 0),
            window=(100.0, width),
        )
    write_png(tmp_path / "b.png", 1)
    rows = [("s", 0, "p"), ("b.png", 1, "q")]
    series = loaded(table_of(write_manifest(tmp_path, rows), unit="volume"))[1]
    assert series[0].max() == series[1].max()
    slices = loaded(table_of(write_manifest(tmp_path, rows)))[1:]
    assert slices[0].max() != slices[1].max()


def test_what_is_no_series_says_why_without_a_path(tmp_path):
    write_series(tmp_path / "gap", np.zeros((5, 4, 4), np.uint8), leave_out=[2])
    write_series(tmp_path / "two/a", np.zeros((2, 4, 4), np.uint8), series="1.2.3")
    write_series(tmp_path / "two/b", np.zeros((2, 4, 4), np.uint8), series="1.2.4")
    (tmp_path / "bad.nii").write_bytes(b"none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    names = ["bad.nii", "empty", "gap", "note.txt", "two"]
    rows = [(name, number % 2, name) for number, name in enumerate(names)]
    source = table_of(write_manifest(tmp_path, rows), unit="volume", pseudonyms=True)
    source.fingerprint()
    reasons = []
    for row in source.samples().to_dict("records"):
        with pytest.raises(InputError) as caught:
            source.load(row)
        reasons.append(str(caught.value))
        assert str(caught.value).startswith(row["sample_id"])
    for name, words in zip(
        names, ("no format", "neither image", "missing", "is no image", "holds 2 series"), strict=True
    ):
        reason = reasons[names.index(name)]
        assert words in reason
        assert str(tmp_path) not in reason


# rows that share a series


def test_rows_of_a_series_are_its_frames_in_order_of_time(tmp_path):
    rows = []
    for series in ("s1", "s2"):
        for number, second in enumerate((10.5, 2, 0.5)):
            name = f"{series}{number}.png"
            write_png(tmp_path / name, int(second * 2) + 100 * (series == "s2"))
            rows.append((name, series, f"p{series}", series, second))
    manifest = write_manifest(tmp_path, rows[::-1], "file,y,patient,series,when")
    source = table_of(manifest, unit="time_series", series="series", time="when")
    table = source.samples()
    assert table["sample_id"].tolist() == ["s1", "s2"]
    assert table["_times"].tolist() == [[0, 1.5, 10]] * 2
    assert [series[:, 0, 0, 0].tolist() for series in loaded(source)] == [[1, 4, 21], [101, 104, 121]]
    unordered = table_of(manifest, unit="volume", series="series")
    assert [series[:, 0, 0, 0].tolist() for series in loaded(unordered)] == [[1, 4, 21], [101, 104, 121]]
    assert "_times" not in unordered.samples()
    assert len(table_of(manifest, series="series").samples()) == 6
    shuffled = write_manifest(tmp_path, random.Random(0).sample(rows, 6), "file,y,patient,series,when", "n.csv")
    again = table_of(shuffled, unit="time_series", series="series", time="when")
    assert again.fingerprint() == source.fingerprint() != unordered.fingerprint()


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (["3", "1e1", "-2"], [0, 5, 12]),
        (["2020-03-01", "2020-02-28", "2020-02-29"], [0, 86400, 2 * 86400]),
        (["20200301", "20200228", "20200229"], [0, 86400, 2 * 86400]),
        (["2020-01-01T10:00:00+01:00", "2020-01-01 10:00:00Z", "2020-01-01 09:00:01"], [0, 1, 3600]),
        (["10:00:05.5", "09:59:59", "10:00:00"], [0, 1, 6.5]),
    ],
)
def test_times_may_be_numbers_dates_or_clocks(tmp_path, cells, seconds):
    rows = []
    for series in "st":
        for number, cell in enumerate(cells):
            write_png(tmp_path / f"{series}{number}.png", 0)
            rows.append((f"{series}{number}.png", series, "p", series, cell))
    manifest = write_manifest(tmp_path, rows, "file,y,patient,series,when")
    table = table_of(manifest, unit="time_series", series="series", time="when").samples()
    assert table["_times"].tolist() == [seconds, seconds]


def test_series_that_contradict_themselves_are_all_named(tmp_path):
    rows = []
    for number, (series, y, patient, when) in enumerate(
        [("a", 0, "p", 1), ("a", 1, "p", 2), ("b", 0, "p", 1), ("b", 0, "q", 2), ("c", 1, "r", 1), ("c", 1, "r", 1)]
    ):
        write_png(tmp_path / f"{number}.png", 0)
        rows.append((f"{number}.png", y, patient, series, when))
    manifest = write_manifest(tmp_path, rows, "file,y,patient,series,when")
    found = problems_of(manifest, unit="time_series", series="series", time="when")
    for words in ("on the target of 1 `series`: a", "on the group_id of 1 `series`: b", "same `data.source.time`: c"):
        assert words in found
    rows[0] = (*rows[0][:4], "01/02/2020")
    found = problems_of(
        write_manifest(tmp_path, rows, "file,y,patient,series,when"), unit="volume", series="series", time="when"
    )
    assert "no time like the others: 01/02/2020 (line 2)" in found


def test_frames_of_a_series_must_be_alike_and_single(tmp_path):
    write_png(tmp_path / "0.png", 0, (4, 4))
    write_png(tmp_path / "1.png", 0, (4, 5))
    write_image(tmp_path / "2.dcm", np.zeros((4, 4), np.uint8))
    write_cine(tmp_path / "3.dcm", np.zeros((2, 4, 4), np.uint8))
    rows = [("0.png", 0, "p", "s"), ("1.png", 0, "p", "s"), ("2.dcm", 1, "q", "t"), ("3.dcm", 1, "q", "t")]
    source = table_of(write_manifest(tmp_path, rows, "file,y,patient,series"), unit="volume", series="series")
    first, second = source.samples().to_dict("records")
    with pytest.raises(InputError, match="several types or shapes"):
        source.load(first)
    with pytest.raises(InputError, match="several frames"):
        source.load(second)


# fingerprint


def test_the_fingerprint_follows_contents_and_options_but_not_place_or_order(images, tmp_path):
    first = table_of(images).fingerprint()
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (tmp_path / "m.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    assert table_of(images).fingerprint() == first
    shutil.copytree(tmp_path, tmp_path.parent / "copy")
    assert table_of(str(tmp_path.parent / "copy/m.csv"), pseudonyms=True).fingerprint() == first
    write_png(tmp_path / "0/0.png", 99)
    assert table_of(images).fingerprint() != first


# properties


@st.composite
def manifests(draw):
    """Rows of (file number, class, patient, split), every class there; each patient in one split."""
    count = draw(st.integers(2, 24))
    patients = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    splits = draw(st.lists(st.sampled_from(["", "train", "dev", "testing"]), min_size=10, max_size=10))
    classes = ["a", "b", *draw(st.lists(st.sampled_from("abc"), min_size=count - 2, max_size=count - 2))]
    return [(n, classes[n], f"p{patients[n]}", splits[patients[n]]) for n in range(count)]


@settings(max_examples=40, deadline=None)  # each example writes files
@given(manifests(), st.randoms(use_true_random=False))
def test_every_row_is_found_once_and_the_order_of_rows_does_not_matter(tmp_path_factory, rows, shuffle):
    root = tmp_path_factory.mktemp("m")
    for number, *_ in rows:
        (root / f"{number}.png").write_bytes(b"x")
    spelt = [(shuffle.choice(["", "./", "sub/../", f"{root}/"]) + f"{n}.png", *rest) for n, *rest in rows]
    (root / "sub").mkdir()
    results = []
    for order in (spelt, shuffle.sample(spelt, len(spelt))):
        source = table_of(write_manifest(root, order, "file,y,patient,part"), split="part", pseudonyms=False)
        table = source.samples()
        results.append(assign_splits(table, fractions=(0.6, 0.2, 0.2), seed=1, task=source.task))
        named = {f"{n}.png": (y, patient) for n, y, patient, _ in rows}
        assert sorted(table["sample_id"]) == sorted(named)
        for sample, target, group in zip(table["sample_id"], table["target"], table["group_id"], strict=True):
            assert (source.classes[target], group) == named[sample]
    pd.testing.assert_frame_equal(*(result.drop(columns="_part") for result in results))


# end to end


def test_a_mixed_manifest_gives_batches(tmp_path):
    random_ = np.random.default_rng(0)
    rows = []
    for number in range(24):
        level, kind = 40 + 120 * (number % 2), ("png", "dcm", "nii")[number % 3]
        pixels = (random_.integers(0, 40, (20, 24)) + level).astype(np.uint8)
        name = f"{number}.{kind}"
        if kind == "png":
            Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / name)
        elif kind == "dcm":
            write_image(tmp_path / name, pixels.astype(np.uint16) * 257, patient=f"P{number}")
        else:
            write_nifti(tmp_path / name, np.stack([pixels] * 2, -1))
        rows.append((name, ["dark", "bright"][number % 2], f"p{number // 2 if kind != 'nii' else number}"))
    source = table_of(write_manifest(tmp_path, rows), pseudonyms=True, classes=["dark", "bright"])
    data = ClassificationData(
        source, image_size=16, channels=1, bits=8, batch_size=5, cache_dir=str(tmp_path / "cache")
    )
    data.setup()
    assert len(data.table) == 32
    assert data.table.groupby("group_id")["split"].nunique().max() == 1
    seen = 0
    for split in ("train", "val", "test"):
        for batch in data.loader(split):
            assert batch["image"].shape[1:] == (1, 16, 16)
            assert batch["image"].dtype == torch.uint8
            bright = batch["image"].float().mean((1, 2, 3)) > 120
            assert bright.int().tolist() == batch["target"].tolist()
            seen += len(bright)
    assert seen == 32


def test_without_a_target_the_images_are_unlabelled(images, tmp_path):
    source = table_of(images, target=None)
    table, labelled = source.samples(), table_of(images).samples()
    assert (source.task, source.classes) == ("unlabelled", ())
    pd.testing.assert_frame_equal(table.drop(columns="_part"), labelled.drop(columns=["target", "_part"]))
    check_samples(table, source.task, source.classes, before_split=True)
    assert np.array_equal(loaded(source), loaded(table_of(images)))
    assert source.fingerprint() == table_of(images).fingerprint()
    (tmp_path / "0/0.png").unlink()
    assert len(table_of(images, target=None, unmatched="skip").samples()) == 7
    assert "name its column in `data.source.target`" in problems_of(images, target=None, task="binary")


def test_names_may_lack_their_ending_be_composed_otherwise_or_come_from_another_machine(tmp_path):
    for name in ("a.b.png", "Ro\u0308.png", "deep/c.png", "d.png"):
        write_png(tmp_path / name, 1)
    rows = [("a.b", 0, "p"), ("R\u00f6.png", 1, "q"), ("C:\\Users\\me\\deep\\c", 1, "r"), ("/else/where/d.png", 0, "s")]
    table = table_of(write_manifest(tmp_path, rows)).samples()
    assert sorted(table["sample_id"]) == sorted(["a.b.png", "Ro\u0308.png", "deep/c.png", "d.png"])


def test_a_name_without_its_ending_that_fits_two_files_is_refused(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        write_png(tmp_path / name, 1)
    assert "a (line 2)" in problems_of(write_manifest(tmp_path, [("a", 0, "p"), ("b", 1, "q")]))


@pytest.mark.parametrize("ending", ["pgm", "webp", "jp2", "jfif"])
def test_a_table_may_name_what_the_decoder_reads(tmp_path, ending):
    kinds = {"jfif": "JPEG", "jp2": "JPEG2000", "pgm": "PPM", "webp": "WEBP"}
    for name, value in (("a", 10), ("b", 20)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / f"{name}.{ending}", format=kinds[ending])
    rows = [(f"a.{ending}", 0, "p"), (f"b.{ending}", 1, "q")]
    assert [abs(int(image.max()) - 10) < 15 for image in loaded(table_of(write_manifest(tmp_path, rows)))] == [True] * 2
