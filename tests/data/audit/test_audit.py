"""Each check finds what was planted, and is silent where nothing was."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from vesalius.data.audit import equal_images, file_checks, image_checks, table_checks
from vesalius.data.audit.audit import NOT_COVERED, QUICK, Audit, full_audit, quick_audit, repeated_in_test, run_audit
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.datamodule import AuditData
from vesalius.data.audit.file_properties import FileProperties
from vesalius.data.audit.findings import CHECKS, check_names
from vesalius.data.audit.page import audit_page
from vesalius.data.formats.printed_text import shows_text
from vesalius.data.sources.base import Source
from vesalius.data.sources.image_folder import ImageFolder
from vesalius.data.sources.lesions import Lesions
from vesalius.data.store.store import Store

SHARED = Path(__file__).parents[3].parent / "shared/data"
CLEAN_SEED = 11  # that of the near duplicates was fixed on seeds 101 to 103


class GivenImages(Source):
    """Images and a table as given."""

    task, classes = "binary", ("no", "yes")

    def __init__(self, images, table):
        self.images, self.table = images, table

    def samples(self):
        return self.table.copy()

    def load(self, row):
        return self.images[int(row["_row"])]

    def fingerprint(self):
        return f"{hash(self.images.tobytes())}"


def draw(size):
    """60 patients of two slices: images (120, 1, size, size), groups."""
    source = Lesions(patients=60, slices=2, image_size=size, seed=3)
    table = source.samples()
    return np.stack([source.load(row) for row in table.to_dict("records")]), table["group_id"].to_numpy()


@pytest.fixture(scope="module")
def phantom():
    return draw(64)


@pytest.fixture(scope="module")
def small_phantom():
    return draw(28)


@pytest.fixture
def audited(tmp_path):
    def make(images, groups, split, target=None):
        table = pd.DataFrame(
            {
                "sample_id": [f"s{i}" for i in range(len(images))],
                "group_id": groups,
                "split": split,
                "target": np.arange(len(images)) // 2 % 2 if target is None else target,
                "_row": np.arange(len(images)),
            }
        )
        source = GivenImages(images, table)
        return AuditInput(table, Store.open(source, table, cache_dir=tmp_path), source)

    return make


def by_patient(groups):
    return np.where(pd.factorize(groups)[0] % 3 == 0, "test", "train")


def found(findings):
    return {finding.check: finding for finding in findings}


def as_jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image[0]).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))[None]


def resized(image, factor):
    side = round(image.shape[1] * factor)
    there = Image.fromarray(image[0]).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(there.resize(image.shape[:0:-1], Image.Resampling.BILINEAR))[None]


LEAKS = {
    "jpeg": as_jpeg,
    "smaller": lambda image: resized(image, 0.9),
    "larger": lambda image: resized(image, 1.1),
    "brighter": lambda image: np.clip(image.astype(float) * 1.1 + 20, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.8).astype(np.uint8),
}


# 25 pixels hold too little of 28: of copies that went through them, 3 of 100 are missed.
DRAWN = [("phantom", leak) for leak in LEAKS] + [("small_phantom", leak) for leak in LEAKS if leak != "smaller"]


@pytest.mark.parametrize(("drawn", "leak"), DRAWN)
def test_a_changed_copy_in_another_split_is_found(audited, request, drawn, leak):
    images, groups = request.getfixturevalue(drawn)
    copies = images.copy()
    split = by_patient(groups)
    test, train = np.flatnonzero(split == "test")[::4], np.flatnonzero(split == "train")[::8]
    pairs = list(zip(train, test, strict=False))
    for source, place in pairs:
        copies[place] = LEAKS[leak](images[source])
    seen = audited(copies, groups, split)
    finding = found(image_checks.near_duplicates(seen))["near_duplicates"]
    assert {(a, b) for a, b, _ in finding.pairs} >= {(f"s{a}", f"s{b}") for a, b in pairs}
    assert repeated_in_test(seen) >= {f"s{b}" for _, b in pairs}
    assert not found(image_checks.exact_duplicates(seen))


def test_an_equal_image_and_a_patient_in_two_splits_are_found(audited, phantom):
    images, groups = phantom[0].copy(), phantom[1]
    split = by_patient(groups).astype(object)
    images[np.flatnonzero(split == "test")[0]] = images[np.flatnonzero(split == "train")[5]]
    split[1] = "val" if split[1] == "train" else "train"
    findings = found(full_audit(audited(images, groups, split)))
    assert findings["exact_duplicates"].count == 1
    assert findings["groups_across_splits"].count == 1
    assert findings["groups_across_splits"].samples == ["s0", "s1"]


@pytest.mark.parametrize("patients", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_clean_phantoms_have_no_findings(tmp_path, patients):
    data = AuditData(Lesions(patients=patients, slices=4, image_size=64, seed=CLEAN_SEED), cache_dir=str(tmp_path))
    data.setup()
    findings = found(full_audit(data.audit_input))
    assert len(data.table) == 4 * patients
    assert not {"groups_across_splits", "exact_duplicates", "repeated_images", "conflicting_labels"} & set(findings)
    assert "near_duplicates" not in findings or findings["near_duplicates"].count <= 2
    assert not {"prevalence_shift", "unusual_pixels", "text_in_pixels", "telling_files"} & set(findings)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data folder is absent")
def test_the_known_duplicate_of_breast_ultrasound_is_found(tmp_path):
    from vesalius.data.sources.medmnist.medmnist import MedMNIST

    data = AuditData(MedMNIST("breastmnist", str(SHARED / "medmnist")), cache_dir=str(tmp_path))
    data.setup()
    raw = np.load(SHARED / "medmnist/breastmnist.npz")
    train, test = (raw[f"{name}_images"].reshape(-1, 784) for name in ("train", "test"))
    (pair,) = np.argwhere((train[:, None] == test[None]).all(axis=2))
    finding = found(quick_audit(data.audit_input))["exact_duplicates"]
    assert finding.pairs == [(f"train/{pair[0]:06d}", f"test/{pair[1]:06d}", 1.0)]


@pytest.mark.parametrize("series", [False, True])
def test_equal_samples_are_those_whose_bytes_are_equal(tmp_path, monkeypatch, series):
    monkeypatch.setattr(equal_images, "_AT_ONCE", 7)
    monkeypatch.setattr(equal_images, "_FEW_BYTES", 2)  # in which unequal samples agree too
    random = np.random.default_rng(0)
    lengths = random.integers(1, 9, 40) if series else np.ones(40, int)
    images = [random.integers(0, 2, (length, 1, 2, 1)).astype(np.uint8) for length in lengths]
    table = pd.DataFrame({"sample_id": np.arange(40).astype(str), "_row": np.arange(40)})
    source = GivenImages(images if series else [image[0] for image in images], table)
    source.series = series
    source.fingerprint = lambda: f"equal {series}"
    equal = equal_images.equal_samples(Store.open(source, table, cache_dir=tmp_path))
    expected = {}
    for row, image in enumerate(images):
        expected.setdefault((image.shape, image.tobytes()), []).append(row)
    assert sorted(equal) == sorted(rows for rows in expected.values() if len(rows) > 1)


def test_conflicting_labels_and_repeats_are_found(audited, phantom):
    images, groups = phantom[0].copy(), np.arange(120).astype(str)
    images[1] = images[0]
    images[3] = images[2]
    target = np.arange(120) % 2
    target[3] = target[2]
    findings = found(quick_audit(audited(images, groups, ["train"] * 120, target)))
    assert findings["conflicting_labels"].pairs == [("s0", "s1", 1.0)]
    assert findings["repeated_images"].count == 2


def test_a_shifted_prevalence_is_found_and_one_by_chance_is_not(audited):
    images = np.random.default_rng(0).integers(0, 255, (300, 1, 8, 8)).astype(np.uint8)
    split = np.repeat(["train", "test"], 150)
    shifted = np.r_[np.arange(150) % 5 == 0, np.arange(150) % 2 == 0].astype(int)
    one_each, hundred_each = np.arange(300).astype(str), (np.arange(300) // 50).astype(str)
    finding = found(table_checks.prevalence_shift(audited(images, one_each, split, shifted)))["prevalence_shift"]
    assert finding.numbers["shares"] == pytest.approx({"train": 0.2, "test": 0.5})
    # The same numbers of images, but of six patients: nothing that six patients dealt at random would not show.
    assert not list(table_checks.prevalence_shift(audited(images, hundred_each, split, shifted)))
    even = np.random.default_rng(1).integers(0, 2, 300)
    assert not list(table_checks.prevalence_shift(audited(images, one_each, split, even)))


def test_a_split_without_a_class_is_a_warning_and_with_few_a_note(audited):
    images = np.random.default_rng(0).integers(0, 255, (90, 1, 8, 8)).astype(np.uint8)
    split = np.repeat(["train", "val", "test"], 30)
    target = np.r_[np.arange(60) % 2, np.zeros(27), np.ones(3)].astype(int)
    groups = np.arange(90).astype(str)
    (few,) = table_checks.few_patients(audited(images, groups, split, target))
    assert (few.severity, few.numbers) == ("note", {"split": "test", "patients": {"yes": 3}})
    target[-3:] = 0
    (none,) = table_checks.few_patients(audited(images, groups, split, target))
    assert (none.severity, none.numbers["patients"]) == ("warning", {"yes": 0})


def test_constant_and_strange_images_are_named(audited, phantom):
    images = phantom[0].copy()
    images[7] = 40
    images[9] = np.random.default_rng(0).integers(0, 2, (1, 64, 64)) * 255
    named = [finding.samples for finding in image_checks.unusual_pixels(audited(images, phantom[1], "train"))]
    assert named[0] == ["s7"]
    assert "s9" in named[1]


def write_folder(root, size_of):
    random = np.random.default_rng(0)
    for number in range(60):
        label = "cat" if number % 2 else "dog"
        path = root / label / f"p{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = size_of(number % 2, random)
        Image.fromarray(random.integers(0, 255, (side, side)).astype(np.uint8)).save(path)
    return ImageFolder(str(root))


def audit_of(source, tmp_path, **options):
    data = AuditData(source, cache_dir=str(tmp_path / "cache"), image_size=16, **options)
    data.setup()
    return data.audit_input


def test_files_whose_size_tells_the_class_are_found(tmp_path):
    telling = write_folder(tmp_path / "telling", lambda label, random: int(random.integers(20, 30) + 10 * label))
    plain = write_folder(tmp_path / "plain", lambda label, random: int(random.integers(20, 30)))
    seen = audit_of(telling, tmp_path)
    finding = found(file_checks.telling_files(seen, FileProperties(seen)))["telling_files"]
    assert finding.numbers["ci95"][0] > 0.8
    assert {"width", "file size"} <= set(finding.numbers["single"])
    seen = audit_of(plain, tmp_path)
    assert not list(file_checks.telling_files(seen, FileProperties(seen)))


def test_a_source_folder_that_tells_the_class_is_found_and_the_class_folders_are_not(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (24, 24)).astype(np.uint8)
    for name, site_of in (("telling", lambda label, number: f"site{label}"), ("plain", lambda label, number: "site")):
        for number in range(80):
            label = number % 2
            path = tmp_path / name / ("cat", "dog")[label] / site_of(label, number) / f"p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    seen = audit_of(ImageFolder(str(tmp_path / "telling")), tmp_path)
    numbers = found(file_checks.telling_files(seen, FileProperties(seen)))["telling_files"].numbers
    assert numbers["single"] == {"folder": 1.0}
    seen = audit_of(ImageFolder(str(tmp_path / "plain")), tmp_path)
    assert not list(file_checks.telling_files(seen, FileProperties(seen)))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared data folder is absent")
def test_the_size_of_blood_cells_tells_their_class(tmp_path):
    source = ImageFolder(
        str(SHARED / "bccd_crops"), index=str(SHARED / "bccd_crops/crops_index.tsv"), index_group_column="source_image"
    )
    seen = audit_of(source, tmp_path)
    assert found(file_checks.telling_files(seen, FileProperties(seen)))["telling_files"].numbers["auroc"] > 0.8


def test_odd_shapes_and_unreadable_files_are_named(tmp_path):
    source = write_folder(tmp_path / "odd", lambda label, random: 24)
    Image.fromarray(np.full((24, 90), 9, np.uint8)).save(tmp_path / "odd/cat/p1.png")
    (tmp_path / "odd/dog/p2.png").write_bytes(b"no image")
    seen = audit_of(source, tmp_path, on_bad_file="skip")
    findings = found(full_audit(seen))
    assert findings["unusual_shape"].samples == ["cat/p1.png"]
    assert findings["unreadable"].samples == ["dog/p2.png"]


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("level", [255, pytest.param(250, marks=pytest.mark.slow)])
def test_print_is_seen_and_phantoms_are_not_taken_for_it(size, level):
    from PIL import ImageFont

    source = Lesions(patients=16, slices=1, image_size=size, seed=CLEAN_SEED)
    font = ImageFont.load_default(size=max(10, size // 24))
    for row in source.samples().to_dict("records"):
        image = source.load(row)
        assert not shows_text(image)
        picture = Image.fromarray(image[0])
        ImageDraw.Draw(picture).text((4, 4), "HANS MUELLER 1950", fill=level, font=font)
        assert shows_text(np.asarray(picture)[None])


def test_dicom_files_that_name_the_patient_are_reported_without_the_name(tmp_path):
    from dicom_maker import write_cohort
    from vesalius.data.sources.dicom.dicom import Dicom

    root = write_cohort(tmp_path / "scans").parent
    seen = audit_of(Dicom(str(root / "files"), str(root / "labels.csv"), "finding"), tmp_path)
    finding = found(file_checks.identifying_tags(seen, FileProperties(seen)))["identifying_tags"]
    assert {"PatientName", "PatientID"} <= set(finding.numbers["attributes"])
    import pydicom

    name = str(pydicom.dcmread(seen.source.files(seen.source.samples().to_dict("records")[0])[0]).PatientName)
    audit = run_audit(seen, [], full=True)
    page = audit_page(seen, audit, "Audit") + str(audit.report)
    for part in name.split("^"):
        assert part.lower() not in page.lower()


def test_the_page_shows_the_pairs_and_what_is_not_covered(audited, phantom):
    images = phantom[0].copy()
    images[3] = images[0]
    seen = audited(images, np.arange(120).astype(str), np.where(np.arange(120) % 2, "test", "train"))
    full = run_audit(seen, [], full=True)
    page = audit_page(seen, full, "Audit <of> this")
    assert "Audit &lt;of&gt; this" in page
    assert page.count("data:image/png;base64,") >= 2
    assert "s0 (train), s3 (test)" in page
    assert all(text in page for text in NOT_COVERED)
    assert "http" not in page
    quick = run_audit(seen, [])
    assert quick.report["splits"] == {"train": 60, "val": 0, "test": 60}
    assert [finding["check"] for finding in quick.report["findings"]] == [finding.check for finding in quick.findings]
    assert quick.report["checked"] == [name for name in CHECKS if name in (*QUICK, "near_duplicates")]
    assert set(full.report["not_checked"]) == {
        "telling_files",
        "unusual_shape",
        "identifying_tags",
        "text_in_pixels",
        "masked_text",
    }
    assert {*full.report["checked"], *full.report["not_checked"]} == set(CHECKS)
    assert "no file for each sample" in page
    assert run_audit(seen, ["exact_duplicates"]).failures == ["audit.fail_on: exact_duplicates found something."]
    assert not run_audit(seen, ["unreadable"]).failures
    (failure,) = run_audit(seen, ["identifying_tags"]).failures
    assert "identifying_tags could not run" in failure


def test_images_with_text_are_named_on_the_page_and_not_shown(audited):
    from PIL import ImageFont

    images = np.random.default_rng(0).integers(0, 60, (40, 1, 128, 128)).astype(np.uint8)
    picture = Image.fromarray(images[5, 0])
    ImageDraw.Draw(picture).text((4, 4), "HANS MUELLER 1950", fill=255, font=ImageFont.load_default(size=12))
    images[5, 0] = np.asarray(picture)
    seen = audited(images, np.arange(40).astype(str), "train")
    (finding,) = image_checks.text_in_pixels(seen)
    assert finding.samples == ["s5"]
    page = audit_page(seen, Audit([finding], run_audit(seen, []).report, []), "Audit")
    assert "s5" in page
    assert "data:image" not in page


def test_a_misspelt_check_is_refused_with_the_right_name():
    from vesalius.config.errors import InputError

    check_names(list(CHECKS), "audit.fail_on")
    with pytest.raises(InputError, match="Did you mean 'exact_duplicates'"):
        check_names(["exact_duplicate"], "audit.fail_on")


def test_unlabelled_images_are_audited_for_all_that_takes_no_labels(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 1, 32, 32), np.uint8)
    images[30], images[35] = images[0], images[34]
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(tmp_path / f"{number:02d}.png")
    data = AuditData(ImageFolder(str(tmp_path)), cache_dir=str(tmp_path / "cache"), fractions=[0.5, 0.25, 0.25])
    data.setup()
    split = np.repeat(["train", "val", "test"], [20, 10, 10])
    audited = AuditInput(data.table.assign(split=split), data.store, data.source)
    for full in (True, False):
        audit = run_audit(audited, ["exact_duplicates"], full=full)
        assert found(audit.findings)["exact_duplicates"].pairs == [("00.png", "30.png", 1.0)]
        assert found(audit.findings)["repeated_images"].pairs == [("34.png", "35.png", 1.0)]
        assert audit.failures == ["audit.fail_on: exact_duplicates found something."]
        without = {name for name, why in audit.report["not_checked"].items() if why == "there are no labels"}
        assert without >= {"conflicting_labels", "prevalence_shift", "few_patients"}
        assert not without & {finding.check for finding in audit.findings}
    assert "there are no labels" in audit_page(audited, audit, "unlabelled")


def test_training_samples_that_were_picked_by_class_are_no_shift(audited, phantom):
    images, groups = phantom
    split = by_patient(groups).astype(object)
    target = pd.factorize(groups)[0] // 3 % 2
    split[(split == "train") & (target == 1)] = "unused"
    seen = audited(images, groups, split, target)
    picked = AuditInput(seen.table, seen.store, seen.source, train_classes=["no"])
    assert "prevalence_shift" in found(table_checks.prevalence_shift(seen))
    assert "yes" in str(found(table_checks.few_patients(seen))["few_patients"].numbers)
    assert not list(table_checks.prevalence_shift(picked))
    assert not [one for one in table_checks.few_patients(picked) if one.numbers["split"] == "train"]
    assert "chosen by class" in run_audit(picked, []).report["not_checked"]["prevalence_shift"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_statistics_are_those_of_the_pixels(kind):
    images = np.random.default_rng(0).integers(0, 200, (5, 3, 20, 10)).astype(kind)
    images[1] = 7
    images[2, :, 5:] = 0
    mean, spread, entropy = image_checks._statistics(torch.from_numpy(images)).numpy().T
    flat = images.reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(mean, flat.mean(axis=1))
    np.testing.assert_allclose(spread, flat.std(axis=1), atol=1e-12)
    assert spread[1] == entropy[1] == 0
    for row, found in zip(flat, entropy, strict=True):
        levels = np.rint((row - row.min()) / max(np.ptp(row), 1e-12) * 31).astype(int)
        shares = np.bincount(levels) / len(row)
        assert found == pytest.approx(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
