"""Inputs of a model are decoded as its run's own images were; what does not fit is refused by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from dicom_maker import write_cohort, write_image, write_series
from store_facts import facts_of
from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.data.store.store import Store
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import find_inputs, from_array
from video_maker import noise, write_clip

RANDOM = np.random.default_rng(0)


def images(root: Path) -> dict[str, Any]:
    for number, (mode, shape) in enumerate([("L", (20, 30)), ("RGB", (40, 30, 3)), ("L", (16, 16))]):
        path = root / "deep" / f"image {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 256, shape).astype(np.uint8), mode).save(path)
    return {"source": {"_target_": "vesalius.data.sources.ImageFolder", "root": str(root)}, "channels": 1}


def deep_images(root: Path) -> dict[str, Any]:
    root.mkdir()
    for number in range(3):
        Image.fromarray(RANDOM.integers(0, 65536, (24, 24)).astype(np.uint16)).save(root / f"{number}.png")
    return {"source": {"_target_": "vesalius.data.sources.ImageFolder", "root": str(root)}}


def slices_of_dicom(root: Path, window: Any = "auto", **options: Any) -> dict[str, Any]:
    write_cohort(root, patients=3, window=lambda phase, place: (900.0 + 100 * place, 1500.0), **options)
    (root / "labels.csv").unlink()
    source = {"_target_": "vesalius.data.sources.Dicom", "root": str(root), "labels": None, "target": None}
    return {"source": {**source, "window": window}}


def hounsfield_slices(root: Path) -> dict[str, Any]:
    return slices_of_dicom(root, "none", rescale=(1.0, -1024.0))


def windowed_slices(root: Path) -> dict[str, Any]:
    return slices_of_dicom(root, [700.0, 1500.0])


def volumes_of_dicom(root: Path) -> dict[str, Any]:
    config = slices_of_dicom(root)
    return {"source": {**config["source"], "unit": "volume"}}


def dynamic_dicom(root: Path) -> dict[str, Any]:
    for patient in range(2):
        pixels = RANDOM.integers(0, 1000, (5, 1, 20, 20)).astype(np.uint16)
        write_series(root / f"p{patient}", pixels, patient=f"P{patient}", window=(500.0, 1000.0))
    source = {"_target_": "vesalius.data.sources.Dicom", "root": str(root), "labels": None, "target": None}
    return {"source": {**source, "unit": "time_series"}}


def nifti_slices(root: Path) -> dict[str, Any]:
    root.mkdir()
    for number in range(2):
        voxels = RANDOM.integers(0, 255, (12, 14, 3)).astype(np.uint8)
        nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, 1, 1, 1])), root / f"{number}.nii.gz")
    source = {"_target_": "vesalius.data.sources.Nifti", "root": str(root), "plane": "coronal"}
    return {"source": source}


def clips(root: Path) -> dict[str, Any]:
    for number in range(2):
        write_clip(root / f"{number}.mkv", noise(4 + number, channels=1))
    return {"source": {"_target_": "vesalius.data.sources.Video", "root": str(root)}, "timed": True}


def frame_folders(root: Path) -> dict[str, Any]:
    for clip in range(2):
        folder = root / "ab"[clip] / f"clip {clip}"
        folder.mkdir(parents=True)
        for frame in range(11):
            pixels = RANDOM.integers(0, 256, (10, 10)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{frame}.png")
    return {"source": {"_target_": "vesalius.data.sources.FrameFolder", "root": str(root)}}


KINDS = [
    *(images, deep_images, slices_of_dicom, hounsfield_slices, windowed_slices, volumes_of_dicom, dynamic_dicom),
    *(nifti_slices, clips, frame_folders),
]


@pytest.mark.parametrize(
    ("kind", "size"),
    [(kind, size) for kind in KINDS for size in (None, 18) if (kind, size) != (images, None)],  # of several sizes
)
def test_a_folder_gives_the_pixels_that_its_own_source_gives(kind, size, tmp_path) -> None:
    options = kind(tmp_path / "data")
    timed = options.pop("timed", kind is dynamic_dicom)
    channels = options.get("channels")
    source = build(options["source"], "data.source")
    store = Store.open(source, source.samples(), image_size=size, channels=channels, cache_dir=tmp_path / "cache")
    contract = InputContract.of_run({**options, "image_size": size}, facts_of(store, timed=timed), None)
    files, _ = find_inputs(tmp_path / "data", contract)
    found = [file.read(contract) for file in files]
    starts, ends = store.offsets[:-1].tolist(), store.offsets[1:].tolist()
    own = [store.images[start:end].numpy() for start, end in zip(starts, ends, strict=True)]
    assert len(found) == len(own) > 0
    assert sorted(one.images.tobytes() for one in found) == sorted(pixels.tobytes() for pixels in own)
    assert {one.images.dtype for one in found} == {own[0].dtype}
    if timed:
        times = sorted(tuple(np.float32(row)) for row in store.table["_times"])
        assert sorted(tuple(one.seconds) for one in found) == times


@pytest.fixture
def contract(tmp_path: Path) -> InputContract:
    options = deep_images(tmp_path / "own")
    source = build(options["source"], "data.source")
    store = Store.open(source, source.samples(), cache_dir=tmp_path / "cache")
    return InputContract.of_run(options, facts_of(store), None)


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.zeros((24, 24), np.uint8), "has uint8 values, and the run's images had uint16"),
        (np.zeros((24, 23), np.uint16), "has 24x23 pixels, and the run's images had 24x24"),
        (np.zeros((3, 24, 24), np.uint16), "is RGB, and the run's images were grey"),
        (np.zeros((5, 24, 24), np.uint16), "is of 5 channels, and the run's images were grey"),
        (np.zeros((2, 1, 24, 24), np.uint16), r"has the shape \(2, 1, 24, 24\), and the model takes an image"),
        (np.zeros((0, 24), np.uint16), "has the shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(pixels, why, contract) -> None:
    with pytest.raises(InputError, match=f"^scan 7 {why}"):
        from_array(pixels, "scan 7", contract)


def test_pixels_that_are_no_numbers_are_refused(contract) -> None:
    floats = replace(contract, value_max=1.0)
    with pytest.raises(InputError, match="NaN or infinite"):
        from_array(np.full((24, 24), np.nan, np.float32), "scan", floats)


def test_a_series_without_times_is_refused_where_the_model_reads_them(contract) -> None:
    series = replace(contract, series=True, timed=True)
    pixels = np.zeros((3, 24, 24), np.uint16)
    assert from_array(pixels, "clip", series, [5.0, 6.0, 9.0]).seconds.tolist() == [0.0, 1.0, 4.0]
    assert from_array(pixels, "clip", replace(series, frame_seconds=0.5)).seconds.tolist() == [0.0, 0.5, 1.0]
    assert from_array(pixels, "clip", replace(series, timed=False)).seconds.tolist() == [0.0, 1.0, 2.0]
    late = from_array(pixels, "clip", series, [1e9, 1e9 + 1, 1e9 + 3])
    assert late.seconds.tolist() == [0.0, 1.0, 3.0]
    for times in (None, [0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1.0, np.inf], [0.0, np.nan, 1.0], [[0.0, 1.0, 2.0]]):
        with pytest.raises(InputError, match=r"times of its frames|one time for each of its 3 frames"):
            from_array(pixels, "clip", series, times)


def test_other_files_of_a_folder_are_counted_and_bad_ones_are_named(contract, tmp_path) -> None:
    folder = tmp_path / "own"
    (folder / "notes.txt").write_text("hello")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "0_mask.png").write_bytes((folder / "0.png").read_bytes())
    write_image(folder / "scan.dcm", np.zeros((24, 24), np.uint16))
    files, others = find_inputs(folder, contract)
    assert [file.name for file in files] == ["0.png", "1.png", "2.png", "broken.png", "scan.dcm"]
    assert others == ["1 mask(s) next to images are passed over.", "1 file(s) that are no image are passed over."]
    with pytest.raises(InputError, match=r"broken\.png cannot be read as an image"):
        files[3].read(contract)


def test_a_table_names_files_and_each_missing_one_is_a_refused_input(contract, tmp_path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,file\n1,own/0.png\n2,own/9.png\n")
    files, _ = find_inputs(table, contract, "file")
    assert [file.name for file in files] == ["own/0.png", "own/9.png"]
    assert files[0].read(contract).images.shape == (1, 1, 24, 24)
    with pytest.raises(InputError, match=r"own/9\.png: there is no such file"):
        files[1].read(contract)


def test_a_cell_that_is_empty_and_a_broken_link_have_their_own_messages(contract, tmp_path) -> None:
    (tmp_path / "own" / "3.png").symlink_to("nowhere.png")
    table = tmp_path / "table.csv"
    table.write_text("id,file\n1,own/3.png\n2,\n3,own/0.png\n")
    for files in (find_inputs(table, contract, "file")[0], find_inputs(tmp_path / "own", contract)[0]):
        broken = next(file for file in files if file.name.endswith("3.png"))
        with pytest.raises(InputError, match=r"3\.png: it is a link to a file that does not exist"):
            broken.read(contract)
    with pytest.raises(InputError, match=r"line 3 of table\.csv: its cell in the column file is empty"):
        find_inputs(table, contract, "file")[0][1].read(contract)


def test_a_cell_that_names_a_folder_gives_its_images_by_their_files(contract, tmp_path) -> None:
    write_image(tmp_path / "scans" / "a.dcm", np.zeros((24, 24), np.uint16), number=1)
    write_image(tmp_path / "scans" / "b.dcm", np.zeros((24, 24), np.uint16), number=2)
    table = tmp_path / "table.csv"
    table.write_text("file\nown\nscans\n")
    files, _ = find_inputs(table, contract, "file")
    assert [file.name for file in files] == ["own/0.png", "own/1.png", "own/2.png", "scans/a.dcm", "scans/b.dcm"]


def test_each_series_of_a_study_has_a_name_of_its_own(contract, tmp_path) -> None:
    pixels = RANDOM.integers(0, 1000, (4, 1, 24, 24)).astype(np.uint16)
    (tmp_path / "study").mkdir()
    for description in ("early", "late"):
        write_series(tmp_path / description, pixels, patient="P", description=description)
        for file in sorted((tmp_path / description).iterdir()):
            file.rename(tmp_path / "study" / f"{description} {file.name}")
    series = replace(contract, series=True, read=replace(contract.read, unit="time_series"))
    files, _ = find_inputs(tmp_path / "study", series)
    assert [len(file.part.frames) for file in files] == [4, 4]
    assert len({file.name for file in files}) == 2
    slices, _ = find_inputs(tmp_path / "study", contract)
    assert len({file.name for file in slices}) == len(slices) == 8


@pytest.mark.parametrize(
    ("path", "column", "why"),
    [
        ("nowhere", None, "does not exist"),
        ("table.csv", None, r"name its column with the files in column= \(id, file\)"),
        ("table.csv", "path", "no column"),
        ("own", "file", "is for a table"),
        ("empty", None, "holds no image"),
    ],
)
def test_an_input_that_is_none_is_refused_with_the_cure(path, column, why, contract, tmp_path) -> None:
    (tmp_path / "table.csv").write_text("id,file\n1,own/0.png\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=why):
        find_inputs(tmp_path / path, contract, column)


def test_a_preparation_that_single_files_cannot_have_is_refused() -> None:
    source = {"_target_": "vesalius.data.sources.Nifti", "root": "x", "detrend": "linear", "mask": "mask.nii"}
    with pytest.raises(InputError, match=r"data\.source\.mask.*evaluate the run on a whole data set"):
        InputContract.of_run({"source": source}, object(), None)  # type: ignore[arg-type]
