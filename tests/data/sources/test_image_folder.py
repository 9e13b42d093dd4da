import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples
from vesalius.data.sources.image_folder import ImageFolder

REAL = Path(__file__).parents[3] / "../shared/data/bccd_crops"


def write_images(root, *paths):
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5), number % 256, np.uint8)).save(file)
    return str(root)


def problems_of(*args, **options):
    with pytest.raises(InputError) as caught:
        ImageFolder(*args, **options).samples()
    return caught.value.problems


def test_split_folders_fix_the_split(tmp_path):
    folders = ("train", "valid", "Test")
    root = write_images(tmp_path, *(f"{split}/{name}/1.png" for split in folders for name in ("b", "a")))
    source = ImageFolder(root)
    table = source.samples()
    assert source.classes == ("a", "b")
    assert source.task == "binary"
    assert table["sample_id"].tolist() == sorted(table["sample_id"])
    assert table.set_index("sample_id")["split"].to_dict() == {
        f"{folder}/{name}/1.png": split
        for folder, split in zip(folders, ("train", "val", "test"), strict=True)
        for name in "ab"
    }
    assert table["target"].tolist() == [0, 1] * 3


@pytest.mark.parametrize("labelled", [True, False])
def test_split_folders_may_have_every_name_that_tables_may_use(tmp_path, labelled):
    folders = {"Training": "train", "dev": "val", "Testing": "test"}
    inside = [f"{name}/1.png" for name in "ab"] if labelled else ["1.png"]
    table = ImageFolder(
        write_images(tmp_path, *(f"{folder}/{path}" for folder in folders for path in inside))
    ).samples()
    assert ("target" in table) == labelled
    assert {name.partition("/")[0]: split for name, split in zip(table["sample_id"], table["split"], strict=True)} == (
        folders
    )


def test_class_folders_alone_fix_no_split(tmp_path):
    root = write_images(
        tmp_path, "c/x/deep.JPG", "a/1.png", "b/2.tiff", "b/.hidden.png", ".cache/1.png", "a/note.txt.png"
    )
    (tmp_path / "b" / "readme.txt").write_text("not an image")
    source = ImageFolder(root)
    table = source.samples()
    assert table["sample_id"].tolist() == ["a/1.png", "a/note.txt.png", "b/2.tiff", "c/x/deep.JPG"]
    assert table["split"].isna().all()
    assert table["target"].tolist() == [0, 0, 1, 2]
    assert source.task == "multiclass"
    assert table["group_id"].tolist() == table["sample_id"].tolist()


def test_loading_follows_the_table(tmp_path):
    source = ImageFolder(write_images(tmp_path, "a/1.png", "b/1.png"), channels=3)
    images = [source.load(row) for row in source.samples().to_dict("records")]
    assert [image.shape for image in images] == [(3, 4, 5)] * 2
    assert [int(image.max()) for image in images] == [0, 1]


def test_an_image_that_vanished_is_named_without_the_root(tmp_path):
    source = ImageFolder(write_images(tmp_path, "a/1.png", "b/1.png"))
    row = source.samples().iloc[0]
    (tmp_path / "a/1.png").unlink()
    with pytest.raises(InputError, match=r"^a/1\.png does not exist"):
        source.load(row)


def test_class_order_can_be_given(tmp_path):
    root = write_images(tmp_path, "mild/1.png", "none/1.png", "severe/1.png")
    source = ImageFolder(root, classes=["none", "mild", "severe"], ordinal=True)
    assert source.task == "ordinal"
    assert source.samples().set_index("sample_id")["target"].to_dict() == {
        "none/1.png": 0,
        "mild/1.png": 1,
        "severe/1.png": 2,
    }
    problems = problems_of(root, classes=["none", "mild", "grave"])
    assert "severe" in problems[0]
    assert "grave" in problems[1]


def test_a_patient_may_be_a_folder_below_the_class_and_is_one_however_it_is_spelt(tmp_path, caplog):
    root = write_images(tmp_path, "train/a/pat3/1.png", "train/b/PAT3/2.png", "test/a/pat4/1.png")
    table = ImageFolder(root, group_pattern=r"(?i)^(pat\d)/").samples()
    assert table["group_id"].tolist() == ["pat4", "PAT3", "PAT3"]
    assert "1 patient(s) are spelt in several ways" in caplog.text
    assert "train/a/pat3/1.png" in caplog.text


def test_groups_from_a_pattern(tmp_path):
    root = write_images(tmp_path, "p9/P1_a.png", "p9/P2_a.png", "b/P1_b.png")
    table = ImageFolder(root, group_pattern=r"(P\d+)_").samples()
    assert table.set_index("sample_id")["group_id"].to_dict() == {
        "p9/P1_a.png": "P1",
        "p9/P2_a.png": "P2",
        "b/P1_b.png": "P1",
    }
    write_images(tmp_path, "b/odd.png")
    assert "in 1 of 4 paths: odd.png" in problems_of(root, group_pattern=r"(P\d+)_")[0]
    assert "no patient in 4 of 4" in problems_of(root, group_pattern=r"(p9)")[0]  # no patient is called after a class
    assert "no group" in problems_of(root, group_pattern=r"P\d+")[0]
    assert "no regular expression" in problems_of(root, group_pattern="(")[0]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("lead", ["", "./", "elsewhere/", "C:\\data\\"])
def test_groups_from_a_table_whose_paths_begin_elsewhere(tmp_path, ending, lead):
    root = write_images(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    files = ImageFolder(root).samples()["sample_id"]
    index = pd.DataFrame({"picture": [lead + file for file in files], "patient": ["007", "NA", "x y", "ü"]})
    index.sample(frac=1, random_state=0).to_csv(
        tmp_path / f"index.{ending}", index=False, sep="\t" if ending == "tsv" else ","
    )
    options = {"index": f"index.{ending}", "index_file_column": "picture", "index_group_column": "patient"}
    assert ImageFolder(root, **options).samples()["group_id"].tolist() == ["007", "NA", "x y", "ü"]


def test_a_bare_file_name_is_enough_if_it_is_unique(tmp_path):
    root = write_images(tmp_path, "train/a/1.png", "train/b/2.png")
    (tmp_path / "i.csv").write_text("file;group\n2.png;p2\na/1.png;p1\n")
    assert ImageFolder(root, index="i.csv").samples()["group_id"].tolist() == ["p1", "p2"]


def test_every_disagreement_with_the_index_is_named(tmp_path):
    root = write_images(tmp_path, *(f"train/{name}/{n}.png" for name in "ab" for n in range(4)))
    (tmp_path / "i.csv").write_text(
        "file,group\n"
        "other/a/0.png,p\n"  # b/0.png exists, but not in a folder `other`
        "1.png,p\n"  # in both classes
        "a/2.png,p\ntrain/a/2.png,q\n"
        "a/3.png,\n"
        "b/0.png,p\nb/1.png,p\nb/2.png,p\nb/3.png,p\n"
    )
    text = "\n".join(problems_of(root, index="i.csv"))
    for words in (
        "name no file of the image folder: other/a/0.png",
        "fit several files: 1.png",
        "two different groups in i.csv: train/a/2.png",
        "have no `group`: a/3.png",
        "2 image(s) have no row in i.csv: train/a/0.png, train/a/1.png",
    ):
        assert words in text


def test_a_wrong_index_is_named(tmp_path):
    root = write_images(tmp_path, "a/1.png", "b/1.png")
    assert "does not exist" in problems_of(root, index="none.csv")[0]
    (tmp_path / "i.csv").write_text("path,patient\na/1.png,p\n")
    assert "`file`, `group`" in problems_of(root, index="i.csv")[0]


def test_bad_layouts_are_named(tmp_path):
    assert "does not exist" in problems_of(str(tmp_path / "none"))[0]
    assert "no class folder" in problems_of(str(tmp_path))[0]
    mixed = write_images(tmp_path / "mixed", "train/a/1.png", "extra/a/1.png")
    assert "both splits (train) and other folders (extra)" in problems_of(mixed)[0]
    loose = write_images(tmp_path / "loose", "a/1.png", "b/1.png", "stray.png")
    assert "outside any class folder: stray.png" in problems_of(loose)[0]
    hollow = write_images(tmp_path / "hollow", "a/1.png")
    (tmp_path / "hollow" / "b").mkdir()
    assert "holds no image" in problems_of(hollow)[0]


def test_settings_that_contradict_are_all_named(tmp_path):
    root = write_images(tmp_path, "a/1.png", "b/1.png")
    assert len(problems_of(root, index="i.csv", group_pattern="x")) == 2


def test_the_fingerprint_follows_contents_and_names_but_not_the_place(tmp_path):
    root = write_images(tmp_path / "one", *(f"{name}/{n}.png" for name in "ab" for n in range(150)))
    first = ImageFolder(root).fingerprint()
    shutil.copytree(root, tmp_path / "two")
    os.utime(tmp_path / "two/a/0.png")
    assert ImageFolder(str(tmp_path / "two")).fingerprint() == first
    assert ImageFolder(root, channels=3).fingerprint() != first
    content = bytearray((tmp_path / "two/b/149.png").read_bytes())
    content[-20] ^= 1
    (tmp_path / "two/b/149.png").write_bytes(content)
    changed = ImageFolder(str(tmp_path / "two")).fingerprint()
    assert changed != first
    (tmp_path / "one/a/0.png").rename(tmp_path / "one/a/00.png")
    assert ImageFolder(root).fingerprint() not in (first, changed)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data folder is absent")
def test_the_real_blood_cells():
    source = ImageFolder(str(REAL), index="crops_index.tsv", index_group_column="source_image")
    table = source.samples()
    check_samples(table, source.task, source.classes)
    assert source.classes == ("Platelets", "RBC", "WBC")
    assert table["split"].value_counts().to_dict() == {"train": 600, "val": 180, "test": 180}
    assert table["group_id"].nunique() == 347
    # the crop's own name begins with that of its source image
    assert all(
        Path(name).name.startswith(group) for name, group in zip(table["sample_id"], table["group_id"], strict=True)
    )
    assert source.load(table.iloc[0]).shape[0] == 3


def test_an_empty_split_folder_is_named_and_not_filled_from_another(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / split / name / "x.png")
    (tmp_path / "test/a").mkdir(parents=True)
    with pytest.raises(InputError, match="test holds no image"):
        ImageFolder(str(tmp_path))


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (("a1.png", "a2.jpg", "b3.png"), [None] * 3),
        (("test/a1.png", "train/b1.png", "train/b2.png", "valid/c1.png"), ["test", "train", "train", "val"]),
    ],
)
def test_images_without_class_folders_are_unlabelled(tmp_path, paths, splits):
    source = ImageFolder(write_images(tmp_path, *paths, ".cache/1.png"))
    table = source.samples()
    assert (source.task, source.classes) == ("unlabelled", ())
    assert list(table.columns) == ["sample_id", "group_id", "split"]
    assert table["sample_id"].tolist() == list(paths)
    assert table["split"].tolist() == splits
    check_samples(table, source.task, source.classes, before_split=True)
    assert source.load(table.iloc[1].to_dict()).flatten()[0] == 1
    grouped = ImageFolder(str(tmp_path), group_pattern=r"^(\w)").samples()
    assert grouped["group_id"].tolist() == [path.rpartition("/")[2][0] for path in paths]


def test_images_without_class_folders_cannot_be_mixed_with_class_folders(tmp_path):
    mixed = write_images(tmp_path / "mixed", "train/a/1.png", "train/b/1.png", "test/1.png")
    assert "outside any class folder: 1.png" in problems_of(mixed)[0]
    deep = write_images(tmp_path / "deep", "train/1.png", "train/a/1.png", "test/1.png")
    assert "outside any class folder: 1.png" in problems_of(deep)[0]
    mixed = write_images(tmp_path / "loose", "1.png", "train/2.png")
    assert "outside any class folder: 2.png" in problems_of(mixed)[0]
    flat = write_images(tmp_path / "flat", "1.png", "2.png")
    assert "move each into the folder of its class" in problems_of(flat, classes=["a", "b"])[0]
    hollow = write_images(tmp_path / "hollow", "train/1.png")
    (tmp_path / "hollow/test").mkdir()
    (problem,) = problems_of(hollow)
    assert "test holds no image: fill or delete it" in problem


def test_leftovers_of_systems_are_no_classes_and_links_are_followed(tmp_path):
    write_images(tmp_path / "root", "a/1.png", "b/2.png", "__MACOSX/a/3.png", "a/._1.png")
    write_images(tmp_path / "more", "4.png")
    (tmp_path / "root" / "b" / "more").symlink_to(tmp_path / "more")
    source = ImageFolder(str(tmp_path / "root"))
    assert source.samples()["sample_id"].tolist() == ["a/1.png", "b/2.png", "b/more/4.png"]
    assert source.load({"sample_id": "b/more/4.png"}).shape == (1, 4, 5)


@pytest.mark.parametrize("inner", [("train", "test"), ("benign", "malignant")])
def test_the_folder_of_an_unpacked_archive_is_named(tmp_path, inner):
    paths = [f"chest_xray/{name}/{label}/1.png" for name in inner for label in "ab"]
    (problem,) = problems_of(write_images(tmp_path, *paths))
    assert f"set data.source.root={tmp_path / 'chest_xray'}." in problem
    assert len(ImageFolder(str(tmp_path / "chest_xray")).samples()) == 4


def test_a_class_may_be_a_link_and_so_may_a_file(tmp_path):
    write_images(tmp_path / "elsewhere", "1.png", "2.png")
    write_images(tmp_path / "root", "a/1.png", "train.png")
    (tmp_path / "root" / "train.png").unlink()
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "9.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    source = ImageFolder(str(tmp_path / "root"))
    assert source.classes == ("a", "b")
    assert source.samples()["sample_id"].tolist() == ["a/1.png", "a/9.png", "b/1.png", "b/2.png"]


def test_files_with_other_endings_are_counted(tmp_path):
    root = write_images(tmp_path, "a/1.png", "a/2.webp", "b/3.jpg")
    for name in ("a/4.dcm", "a/5.dcm", "b/6.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    source = ImageFolder(root)
    assert len(source.samples()) == 3
    assert source.passed_over == {".dcm": 2, ".gz": 1}
    source = ImageFolder(root, extensions=["png", "jpg"])
    assert source.samples()["sample_id"].tolist() == ["a/1.png", "b/3.jpg"]
    assert source.passed_over[".webp"] == 1


@pytest.mark.parametrize(
    "masks",
    [
        ("a/case (1)_mask.png", "a/case (1)_mask_1.png"),  # the breast ultrasound set BUSI
        ("a/1_seg.png", "b/2-gt.png"),
        ("b/2 segmentation.png",),
    ],
)
def test_masks_next_to_images_are_no_samples(tmp_path, masks):
    images = ("a/1.png", "a/case (1).png", "b/2.png", "b/mask.png", "b/masked.png")
    source = ImageFolder(write_images(tmp_path, *images, *masks))
    assert set(source.samples()["sample_id"]) == set(images)
    assert source.passed_over == {"masks and segmentations": len(masks)}


@pytest.mark.parametrize("names", [("images", "masks"), ("Image", "segmentation"), ("img", "ground_truth")])
def test_folders_of_masks_next_to_folders_of_images_are_no_samples(tmp_path, names):
    images, masks = names
    root = write_images(tmp_path, *(f"{label}/{kind}/{n}.png" for label in "ab" for kind in names for n in (1, 2)))
    source = ImageFolder(root)
    assert source.samples()["sample_id"].tolist() == [f"{label}/{images}/{n}.png" for label in "ab" for n in (1, 2)]
    assert source.passed_over == {"masks and segmentations": 4}
    flat = ImageFolder(write_images(tmp_path / "flat", f"{images}/1.png", f"{masks}/1.png"))
    assert flat.classes == (images,)


def test_a_class_may_be_called_mask(tmp_path):
    assert ImageFolder(write_images(tmp_path, "mask/1.png", "no mask/1.png")).classes == ("mask", "no mask")


def test_a_folder_of_masks_only_holds_the_images_that_are_meant(tmp_path):
    source = ImageFolder(write_images(tmp_path, "a/1_mask.png", "b/2_mask.png"))
    assert len(source.samples()) == 2
    assert not source.passed_over


@pytest.mark.parametrize("pair", [("Benign", "benign"), ("H\u00e4matom", "Ha\u0308matom"), ("grade 1", "grade_1")])
def test_class_folders_that_look_alike_are_refused_unless_they_are_listed(tmp_path, pair):
    root = write_images(tmp_path, *(f"{name}/1.png" for name in (*pair, "other")))
    (problem,) = problems_of(root)
    assert all(name in problem for name in pair)
    assert ImageFolder(root, classes=[*pair, "other"]).classes == (*pair, "other")
