"""NIfTI files as slices, volumes and time series; the real 4-D set as 96 series of runs."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from vesalius.config.errors import InputError
from vesalius.data.identities import Identities
from vesalius.data.samples import check_samples
from vesalius.data.sources.volumes.nifti import Nifti
from vesalius.data.store.store import Store

HAXBY = Path(__file__).parents[4] / "../shared/data/haxby2001"
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def save(path, data, step=None, unit="sec"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, AFFINE)
    if step is not None:
        image.header.set_xyzt_units("mm", unit)
        image.header["pixdim"][4] = step
    nib.save(image, path)
    return path


def table(root, text, name="labels.csv"):
    (root / name).write_text(text)
    return name


@pytest.fixture
def volumes(tmp_path):
    """Four 3-D files of 4×5×3 voxels, and what is known of them."""
    random = np.random.default_rng(0)
    for number in range(4):
        save(tmp_path / f"sub-{number}/anat/t1.nii.gz", random.integers(0, 256, (4, 5, 3)).astype(np.uint8))
    lines = ["path,sick,who,site"] + [f"sub-{n}/anat/t1.nii.gz,{n % 2},p{n // 2},north" for n in range(4)]
    table(tmp_path, "\n".join(lines))
    return tmp_path


def source_of(root, **options):
    given = {"labels": "labels.csv", "target": "sick", "group": "who", "pseudonyms": False}
    return Nifti(str(root), **(given | options))


def problems_of(make):
    with pytest.raises(InputError) as caught:
        make().samples()
    return caught.value.problems


def test_every_slice_of_every_volume_is_an_image(volumes):
    source = source_of(volumes, subgroups=["site"])
    samples = source.samples()
    assert (source.task, source.classes, source.series) == ("binary", ("0", "1"), False)
    assert len(samples) == 12
    assert samples["sample_id"][4] == "sub-1/anat/t1.nii.gz_z001"
    assert samples["group_id"].tolist() == ["p0"] * 6 + ["p1"] * 6
    assert samples["target"].tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert (samples["site"] == "north").all()
    check_samples(samples, source.task, source.classes, before_split=True)
    for row in samples.to_dict("records"):
        name, _, place = row["sample_id"].rpartition("_z")
        stored = np.asarray(nib.load(volumes / name).dataobj)  # its first axis runs to the left
        image = source.load(row)
        np.testing.assert_array_equal(image, stored[:, ::-1, int(place)].T[None])
        assert image.dtype == np.uint8
        assert source.files(row) == [volumes / name]


def test_a_volume_is_a_series_of_its_slices(volumes):
    source = source_of(volumes, unit="volume", plane="coronal")
    samples = source.samples()
    assert (len(samples), source.series) == (4, True)
    assert "_times" not in samples
    images = source_of(volumes, plane="coronal")
    rows = images.samples()
    for row in samples.to_dict("records"):
        parts = rows[rows["_path"] == row["_path"]].to_dict("records")
        np.testing.assert_array_equal(source.load(row), np.stack([images.load(part) for part in parts]))
        assert source.load(row).shape == (5, 1, 3, 4)


def test_slices_can_be_picked(volumes):
    middle = source_of(volumes, slices="middle").samples()
    assert {name.rpartition("_")[2] for name in middle["sample_id"]} == {"z001"}
    ends = source_of(volumes, slices=[0, -1]).samples()
    assert {name.rpartition("_")[2] for name in ends["sample_id"]} == {"z000", "z002"}
    beyond = source_of(volumes, slices=[3])
    with pytest.raises(InputError, match=r"t1\.nii\.gz has 3 slice\(s\), none of number 3"):
        beyond.load(beyond.samples().to_dict("records")[0])


def test_each_slice_position_of_a_4d_file_is_a_time_series(tmp_path):
    data = np.random.default_rng(0).integers(0, 999, (4, 5, 2, 6)).astype(np.uint16)
    for name, step, unit in (("a", 2, "sec"), ("b", 500, "msec")):
        save(tmp_path / f"{name}.nii", data, step, unit)
    table(tmp_path, "path;value\na.nii;1.5\nb.nii;2.5")
    source = source_of(tmp_path, target="value", task="regression", group="none", unit="time_series")
    samples = source.samples()
    assert samples["sample_id"].tolist() == ["a.nii_z000", "a.nii_z001", "b.nii_z000", "b.nii_z001"]
    assert samples["_times"].tolist() == [[0, 2, 4, 6, 8, 10]] * 2 + [[0, 0.5, 1, 1.5, 2, 2.5]] * 2
    assert samples["target/value"].tolist() == [1.5, 1.5, 2.5, 2.5]
    expected = data[:, ::-1, 1].transpose(2, 1, 0)[:, None]
    np.testing.assert_array_equal(source.load(samples.iloc[1]), expected)
    frames = source_of(tmp_path, target="value", task="regression", group="none", unit="slice")
    assert frames.samples()["sample_id"][3] == "a.nii_t001_z001"
    np.testing.assert_array_equal(frames.load(frames.samples().iloc[3]), expected[1])


def test_files_without_a_repetition_time_among_others_are_named(tmp_path):
    data = np.zeros((2, 2, 1, 4), np.uint8)
    save(tmp_path / "a.nii", data, 2)
    save(tmp_path / "b.nii", data, 2, "unknown")
    table(tmp_path, "path,sick\na.nii,0\nb.nii,1")
    options = {"group": "none", "unit": "time_series"}
    (problem,) = problems_of(lambda: source_of(tmp_path, **options))
    assert "b.nii" in problem
    assert "a.nii" not in problem
    assert "repetition_time" in problem
    given = source_of(tmp_path, **options, repetition_time=3.0)
    assert given.samples()["_times"].tolist() == [[0, 3, 6, 9]] * 2
    (tmp_path / "a.nii").unlink()
    save(tmp_path / "c.nii", data, 2, "unknown")
    table(tmp_path, "path,sick\nb.nii,1\nc.nii,0")
    assert "_times" not in source_of(tmp_path, **options).samples()


def test_class_folders_without_a_table(tmp_path):
    for split in ("train", "test"):
        for label in ("sick", "well"):
            for number in range(2):
                save(tmp_path / split / label / f"pat{number}_{split}.nii", np.zeros((3, 3, 2), np.uint8))
    source = Nifti(str(tmp_path), group_pattern=r"(pat\d_\w+)\.nii", pseudonyms=False)
    samples = source.samples()
    assert source.classes == ("sick", "well")
    assert samples["split"].value_counts().to_dict() == {"train": 8, "test": 8}
    assert set(samples["group_id"]) == {"pat0_train", "pat1_train", "pat0_test", "pat1_test"}


@pytest.fixture
def bids(tmp_path):
    """Three people in two sessions each, with masks of two kinds, and what is known of the people."""
    voxels = np.zeros((4, 4, 2), np.uint8)
    for person in (1, 2, 3):
        for session in (1, 2):
            folder = tmp_path / f"sub-{person:02d}/ses-{session}/anat"
            name = f"sub-{person:02d}_ses-{session}"
            for suffix in ("T1w", "desc-brain_mask", "T1w_dseg"):
                save(folder / f"{name}_{suffix}.nii.gz", voxels)
    table(tmp_path, "participant_id\tdiagnosis\nsub-01\tCN\nsub-02\tAD\nsub-03\tCN\n", "participants.tsv")
    return tmp_path


def bids_source(root, **options):
    given = {"labels": "participants.tsv", "key": "participant_id", "target": "diagnosis", "group": "participant_id"}
    return Nifti(str(root), unit="volume", pseudonyms=False, **(given | options))


def test_participants_are_joined_by_their_folders_and_masks_are_left_out(bids):
    source = bids_source(bids)
    samples = source.samples()
    assert samples["group_id"].tolist() == ["sub-01"] * 2 + ["sub-02"] * 2 + ["sub-03"] * 2
    assert [source.classes[target] for target in samples["target"]] == ["CN", "CN", "AD", "AD", "CN", "CN"]
    assert samples["sample_id"].str.endswith("_T1w.nii.gz").all()
    assert source.passed_over == {"masks and segmentations": 12}
    assert len(bids_source(bids, pattern="*").samples()) == 18  # whoever wants masks asks for them


def test_sessions_are_joined_by_folders_within_folders(bids):
    lines = [f"sub-{person:02d}/ses-{session},{session}" for person in (1, 2, 3) for session in (1, 2)]
    table(bids, "\n".join(["where,y", *lines]))
    samples = bids_source(bids, labels="labels.csv", key="where", target="y", group="where").samples()
    assert samples["target"].tolist() == [0, 1] * 3


def test_people_without_files_and_files_of_two_rows_are_named(bids):
    table(bids, "participant_id,y\nsub-01,a\nsub-02,b\nsub-04,a\n")
    problems = problems_of(lambda: bids_source(bids, labels="labels.csv", target="y"))
    assert any("no row for 2 volumes" in text for text in problems)
    assert any("match none of the volumes: sub-04" in text for text in problems)
    table(bids, "participant_id,y\nsub-01,a\nsub-02,b\nsub-03,a\nses-1,b\n")
    problems = problems_of(lambda: bids_source(bids, labels="labels.csv", target="y", group="none"))
    assert any("contradicts itself on the target of 2 `participant_id`" in text for text in problems)


def test_segmentations_next_to_several_contrasts_are_no_samples(tmp_path):
    for person in (1, 2):
        for contrast in ("t1", "t2", "flair", "seg"):  # the layout of BraTS
            save(
                tmp_path / f"BraTS20_{person:03d}/BraTS20_{person:03d}_{contrast}.nii.gz", np.zeros((3, 3, 2), np.uint8)
            )
    source = Nifti(str(tmp_path), unit="volume", pseudonyms=False, group_pattern=r"(BraTS20_\d+)/", labels=None)
    assert len(source.paths) == 6


def test_nothing_of_a_path_or_patient_is_told(volumes):
    source = source_of(volumes, pseudonyms=True)
    samples = source.samples()
    written = samples.drop(columns=[name for name in samples if name.startswith("_")]).to_csv()
    assert "sub-" not in written
    assert "t1" not in written
    assert "p0" not in samples["group_id"].tolist()
    assert samples["group_id"].nunique() == 2
    identities = Identities.open()
    assert identities.reveal(samples["group_id"][0]) == ("patient", "p0")
    assert identities.reveal(samples["sample_id"][0].partition("_")[0]) == ("file", "sub-0/anat/t1.nii.gz")
    (volumes / "sub-0/anat/t1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        source.load(samples.to_dict("records")[0])
    assert samples["sample_id"][0] in str(caught.value)
    assert "sub-0" not in str(caught.value)


def test_a_damaged_file_has_a_row_and_is_left_out_on_request(volumes, tmp_path):
    file = volumes / "sub-2/anat/t1.nii.gz"
    file.write_bytes(file.read_bytes()[:40])
    source = source_of(volumes)
    samples = source.samples()
    assert len(samples) == 10
    with pytest.raises(InputError, match=r"^sub-2/anat/t1\.nii\.gz "):
        Store.open(source, samples, cache_dir=tmp_path / "cache", progress=False)
    store = Store.open(source, samples, cache_dir=tmp_path / "cache", progress=False, on_bad_file="skip")
    assert [name for name, _ in store.skipped] == ["sub-2/anat/t1.nii.gz"]
    assert store.images.shape == (9, 1, 5, 4)


def test_the_mask_and_the_window(volumes):
    inside = np.zeros((4, 5, 3), np.uint8)
    inside[:2] = 1
    save(volumes / "mask.nii", inside)
    masked, plain = source_of(volumes, mask="mask.nii", window=(100, 50)), source_of(volumes, pattern="sub-*")
    for row, other in zip(masked.samples().to_dict("records"), plain.samples().to_dict("records"), strict=True):
        image, stored = masked.load(row), plain.load(other).astype(float)
        expected = np.rint(np.clip((stored - 75) / 50, 0, 1) * 65535)
        expected[..., 2:] = 0
        np.testing.assert_array_equal(image, expected)
        assert image.dtype == np.uint16
    save(volumes / "small.nii", inside[:3])
    other = source_of(volumes, mask="small.nii", pattern="sub-*")
    with pytest.raises(InputError, match="another grid than the mask"):
        other.load(other.samples().to_dict("records")[0])


def test_the_fingerprint_follows_content_and_options(volumes):
    first = source_of(volumes).fingerprint()
    assert source_of(volumes).fingerprint() == first
    assert source_of(volumes, subgroups=["site"]).fingerprint() == first
    others = [
        {"unit": "volume"},
        {"plane": "sagittal"},
        {"slices": [0]},
        {"window": "none"},
        {"nan": 1.0},
        {"channels": 3},
    ]
    found = {source_of(volumes, **options).fingerprint() for options in others}
    assert len(found | {first}) == 7
    data = np.asarray(nib.load(volumes / "sub-0/anat/t1.nii.gz").dataobj).copy()
    data[0, 0, 0] ^= 1
    save(volumes / "sub-0/anat/t1.nii.gz", data)
    assert source_of(volumes).fingerprint() != first


def test_segments_of_one_file(tmp_path):
    data = np.arange(2 * 2 * 1 * 12).reshape(2, 2, 1, 12).astype(np.uint16)
    save(tmp_path / "bold.nii", data, 2)
    table(tmp_path, "begin,end,what,run\n0,2,cat,1\n4,5,dog,1\n6,11,cat,2")
    options = {
        "target": "what",
        "key": None,
        "group": "run",
        "first": "begin",
        "last": "end",
        "unit": "time_series",
    }
    source = source_of(tmp_path, **options)
    samples = source.samples()
    assert samples["sample_id"].tolist() == ["bold.nii_t000", "bold.nii_t004", "bold.nii_t006"]
    assert samples["_times"].tolist() == [[0, 2, 4], [0, 2], [0, 2, 4, 6, 8, 10]]
    assert samples["group_id"].tolist() == ["1", "1", "2"]
    for row, (start, end) in zip(samples.to_dict("records"), ((0, 2), (4, 5), (6, 11)), strict=True):
        expected = data[:, ::-1, 0, start : end + 1].transpose(2, 1, 0)[:, None]
        np.testing.assert_array_equal(source.load(row), expected)
    other = options | {"last": "begin"}
    assert source_of(tmp_path, **other).fingerprint() != source.fingerprint()

    ungrouped = options | {"group": None}
    table(tmp_path, "begin,end,what\n0,12,cat\n4,3,dog\n5,x,cat\n1,2,")
    unclear, without = problems_of(lambda: source_of(tmp_path, **ungrouped))
    assert "lines 3, 4" in unclear
    assert "lines 5" in without
    table(tmp_path, "begin,end,what\n0,12,cat\n4,5,dog")
    (beyond,) = problems_of(lambda: source_of(tmp_path, **ungrouped))
    assert "12 of 12" in beyond
    save(tmp_path / "second.nii", data, 2)
    assert any("holds 2 files" in text for text in problems_of(lambda: source_of(tmp_path, **ungrouped)))


def test_segments_of_several_files(tmp_path):
    for name, first in (("a", 0), ("b", 100)):
        frames = np.arange(first, first + 6)
        save(tmp_path / name / "bold.nii", np.broadcast_to(frames, (2, 2, 1, 6)).astype(np.uint16), 2)
    save(tmp_path / "c" / "bold.nii", np.zeros((2, 2, 1, 6), np.uint16), 2)
    lines = "file,begin,end,what\nb/bold.nii,0,1,cat\na/bold.nii,2,4,dog\na/bold.nii,0,1,cat\nd/bold.nii,0,1,dog"
    table(tmp_path, lines)
    options = {"target": "what", "key": "file", "group": "none", "first": "begin", "last": "end", "unit": "time_series"}
    found = "\n".join(problems_of(lambda: source_of(tmp_path, **options)))
    assert "c/bold.nii" in found
    assert "lines 5" in found
    source = source_of(tmp_path, **options, unmatched="skip")
    samples = source.samples()
    assert samples["sample_id"].tolist() == ["a/bold.nii_t000", "a/bold.nii_t002", "b/bold.nii_t000"]
    first_pixels = [source.load(row)[:, 0, 0, 0].tolist() for row in samples.to_dict("records")]
    assert first_pixels == [[0, 1], [2, 3, 4], [100, 101]]
    table(tmp_path, "file,begin,end,what\nbold.nii,0,1,cat\na/bold.nii,2,4,dog")
    assert any("fit several files" in text for text in problems_of(lambda: source_of(tmp_path, **options)))


def test_voxels_that_are_no_number_are_filled_with_a_warning(tmp_path, caplog):
    for number in range(2):
        save(tmp_path / "ab"[number] / "1.nii", np.full((2, 2, 2), np.nan, np.float32))
    source = Nifti(str(tmp_path), nan=5, pseudonyms=False, group="none")
    assert {float(source.load(row).min()) for row in source.samples().to_dict("records")} == {5.0}
    assert [record.getMessage().split(" has ")[1][:10] for record in caplog.records] == ["8 voxel(s)"]
    refusing = Nifti(str(tmp_path), nan="error", pseudonyms=False)
    with pytest.raises(InputError, match="NaN or infinite"):
        refusing.load(refusing.samples().iloc[0])


def test_a_header_and_its_voxels_are_one_file(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2), np.uint8), AFFINE), tmp_path / label / "1.hdr")
    source = Nifti(str(tmp_path), unit="volume", pseudonyms=False)
    assert len(source.samples()) == 2
    assert [file.name for file in source.files(source.samples().iloc[0])] == ["1.hdr", "1.img"]
    before = source.fingerprint()
    nib.save(nib.Nifti1Pair(np.ones((2, 2, 2), np.uint8), AFFINE), tmp_path / "b" / "1.hdr")
    assert Nifti(str(tmp_path), unit="volume", pseudonyms=False).fingerprint() != before


def test_bad_settings_are_named_at_once(tmp_path):
    wrong = {"window": (1, 0), "nan": float("nan"), "first": "a", "repetition_time": 0, "run_length": 0}
    with pytest.raises(InputError) as caught:
        Nifti(str(tmp_path), **wrong, mask="nowhere.nii")
    found = "\n".join(caught.value.problems)
    assert [name for name in (*wrong, "mask") if f"data.source.{name}" not in found] == []
    assert any("is empty" in text for text in problems_of(lambda: Nifti(str(tmp_path), slices=[])))
    assert any("does not exist" in text for text in problems_of(lambda: Nifti(str(tmp_path / "none"))))
    assert any("data.source.labels" in text for text in problems_of(lambda: Nifti(str(tmp_path), target="sick")))
    assert problems_of(lambda: source_of(tmp_path, labels="none.csv"))


def test_rows_and_files_without_each_other_are_listed(volumes):
    (volumes / "labels.csv").write_text("path,sick\nsub-0/anat/t1.nii.gz,0\nsub-9/anat/t1.nii.gz,1")
    found = "\n".join(problems_of(lambda: source_of(volumes, group="none")))
    assert "sub-9" in found
    assert "sub-3" in found
    skipping = source_of(volumes, group="none", unmatched="skip")
    assert set(skipping.samples()["_path"]) == {"sub-0/anat/t1.nii.gz"}


@pytest.fixture(scope="module")
def haxby():
    if not HAXBY.is_dir():
        pytest.skip("the real set is not here")
    return Nifti(
        str(HAXBY),
        labels="blocks.tsv",
        key=None,
        pattern="bold.nii.gz",
        target="label",
        group="chunk",
        first="t_first",
        last="t_last",
        mask="mask.nii.gz",
        unit="time_series",
        run_length=121,
        detrend="linear",
        standardize="run",
        pseudonyms=False,
    )


def test_the_real_4d_set_is_96_series_with_the_run_as_group(haxby, tmp_path):
    samples = haxby.samples()
    assert (len(samples), len(haxby.classes), haxby.task) == (96, 8, "multiclass")
    assert samples["group_id"].value_counts().to_dict() == {str(run): 8 for run in range(12)}
    assert pd.crosstab(samples["group_id"], samples["target"]).eq(1).all(axis=None)
    assert samples["_times"].map(tuple).unique().tolist() == [tuple(2.5 * np.arange(9))]
    store = Store.open(haxby, samples, cache_dir=tmp_path, progress=False)
    assert (store.series, store.shape, store.lengths.tolist()) == (True, (1, 20, 40), [9] * 96)
    inside = np.asarray(nib.load(HAXBY / "mask.nii.gz").dataobj)[:, ::-1, 0].T != 0
    frames = store.images.numpy()[:, 0]
    assert (frames[:, ~inside] == 0).all()
    assert (frames[:, inside].std(axis=0) > 0).all()


def test_leaving_a_run_out_a_correlation_classifier_does_as_published(haxby):
    """Mean pattern of each class over the other runs, their common mean taken off (Haxby et al., 2001): 65 of 96."""
    samples = haxby.samples()
    patterns = np.stack([haxby.load(row).mean(axis=0).ravel() for row in samples.to_dict("records")])
    patterns = patterns[:, patterns.any(axis=0)].astype(float)
    target, run = samples["target"].to_numpy(), samples["group_id"].to_numpy()
    right = 0
    for out in np.unique(run):
        known = run != out
        centred = patterns - patterns[known].mean(axis=0)
        means = np.stack([centred[known & (target == label)].mean(axis=0) for label in range(8)])
        similar = np.corrcoef(np.concatenate([centred[~known], means]))[:8, 8:]
        right += int((similar.argmax(axis=1) == target[~known]).sum())
    assert right == 65


@pytest.mark.parametrize("folder", ["", "train/"])
def test_files_without_class_folders_are_unlabelled(tmp_path, folder):
    for name in ("a-1", "a-2", "b-1"):
        save(tmp_path / f"{folder}{name}.nii.gz", np.full((4, 5, 3), 7, np.uint8))
    source = source_of(tmp_path, labels=None, target=None, group=None, group_pattern=r"(\w)-")
    samples = source.samples()
    assert (source.task, source.classes) == ("unlabelled", ())
    check_samples(samples, source.task, source.classes, before_split=True)
    assert "target" not in samples
    assert samples["group_id"].value_counts().to_dict() == {"a": 6, "b": 3}
    assert set(samples["split"]) == {"train" if folder else None}
    assert source.load(samples.iloc[0].to_dict()).shape == (1, 5, 4)
