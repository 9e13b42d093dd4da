"""Arrays of a user's own, by name, split and shape."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples
from vesalius.data.sources.npz import Npz

IMAGES = np.arange(8 * 4 * 5, dtype=np.uint8).reshape(8, 4, 5)
LABELS = np.array([0, 1] * 4)


def write(tmp_path, name="study.npz", **arrays):
    np.savez_compressed(tmp_path / name, **arrays)
    return str(tmp_path / name)


def loaded(source):
    return [source.load(row) for row in source.samples().to_dict("records")]


def problems_of(file, **options):
    with pytest.raises(InputError) as caught:
        Npz(file, **options)
    return "\n".join(caught.value.problems)


def test_one_array_for_all(tmp_path):
    source = Npz(write(tmp_path, images=IMAGES, labels=LABELS, who=np.array(["a", "a", "b", "b"] * 2)), group="who")
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    assert (source.task, source.classes, source.series) == ("binary", ("0", "1"), False)
    assert table["sample_id"].tolist()[:2] == ["000000", "000001"]
    assert table["group_id"].tolist() == ["a", "a", "b", "b"] * 2
    assert table["split"].isna().all()
    assert table["target"].tolist() == LABELS.tolist()
    assert np.array_equal(np.stack(loaded(source)), IMAGES[:, None])


@pytest.mark.parametrize("pattern", ["{split}_{what}", "{what}_{split}"])
@pytest.mark.parametrize(
    "words", [("train", "val", "test"), ("Training", "valid", "TEST"), ("train", "dev", "testing")]
)
def test_an_array_for_each_split(tmp_path, pattern, words):
    rows = {words[0]: slice(0, 4), words[1]: slice(4, 6), words[2]: slice(6, 8)}
    arrays = {pattern.format(split=split, what="x"): IMAGES[part] for split, part in rows.items()}
    arrays |= {pattern.format(split=split, what="y"): LABELS[part, None] for split, part in rows.items()}
    source = Npz(write(tmp_path, **arrays), images="x", target="y")
    table = source.samples()
    assert table["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert table["sample_id"].tolist()[4:] == ["val/000000", "val/000001", "test/000000", "test/000001"]
    assert np.array_equal(np.stack(loaded(source))[:, 0], IMAGES)


@pytest.mark.parametrize(
    ("labels", "options", "task", "classes"),
    [
        (np.array(["no", "yes"] * 4), {}, "binary", ("no", "yes")),
        (np.array([b"no", b"yes"] * 4), {}, "binary", ("no", "yes")),
        (np.array([0.0, 1.0, 2.0, 0.0] * 2), {}, "multiclass", ("0", "1", "2")),
        (np.array([0, 1, 2, 0] * 2), {"task": "ordinal"}, "ordinal", ("0", "1", "2")),
        (np.eye(8, 3, dtype=int), {"classes": ["x", "y", "z"]}, "multilabel", ("x", "y", "z")),
        (np.linspace(0, 1, 8), {"task": "regression"}, "regression", ("labels",)),
        (np.array([0, 1, -1, 0] * 2), {"replace": {-1: 0}}, "binary", ("0", "1")),
    ],
)
def test_labels_are_those_of_a_table(tmp_path, labels, options, task, classes):
    source = Npz(write(tmp_path, images=IMAGES, labels=labels), **options)
    assert (source.task, source.classes) == (task, classes)
    check_samples(source.samples(), source.task, source.classes, before_split=True)


def test_without_labels(tmp_path):
    source = Npz(write(tmp_path, images=IMAGES), target=None)
    assert (source.task, source.classes) == ("unlabelled", ())
    assert len(source.samples()) == 8


@pytest.mark.parametrize(
    ("images", "dtype", "shape"),
    [
        (np.zeros((8, 4, 5, 3), np.uint8), "uint8", (3, 4, 5)),
        (np.zeros((8, 4, 5, 1), np.uint16), "uint16", (1, 4, 5)),
        (np.zeros((8, 4, 5), np.float64), "float32", (1, 4, 5)),
        (np.zeros((8, 4, 5), np.int16), "float32", (1, 4, 5)),
        (np.ones((8, 4, 5), bool), "uint8", (1, 4, 5)),
    ],
)
def test_types_and_channels(tmp_path, images, dtype, shape):
    image = loaded(Npz(write(tmp_path, images=images, labels=LABELS)))[0]
    assert (image.dtype.name, image.shape) == (dtype, shape)


def test_volumes_are_series_or_slices_of_one_patient(tmp_path):
    file = write(tmp_path, images=np.stack([IMAGES] * 3, axis=1), labels=LABELS)
    source = Npz(file, unit="volume")
    assert source.series
    assert np.array_equal(loaded(source)[2], np.stack([IMAGES[2]] * 3)[:, None])
    source = Npz(file, unit="slice")
    table = source.samples()
    assert table["sample_id"].tolist()[:4] == ["000000_z000", "000000_z001", "000000_z002", "000001_z000"]
    assert table["group_id"].nunique() == 8
    assert np.array_equal(loaded(source)[4], IMAGES[1][None])
    assert "data.source.unit=slice or volume" in problems_of(file)


def test_what_does_not_fit_is_named(tmp_path):
    file = write(tmp_path, pictures=IMAGES, labels=LABELS)
    assert "no array `images` or `train_images`, only labels, pictures" in problems_of(file)
    file = write(tmp_path, images=IMAGES, labels=LABELS[:7])
    assert "has shape (7,), but there are 8 images" in problems_of(file)
    file = write(tmp_path, train_images=IMAGES, test_images=IMAGES, train_labels=LABELS)
    assert "add `test_labels`" in problems_of(file)
    file = write(tmp_path, images=IMAGES, labels=np.array([0, 1, 2, None] * 2))
    assert "save it as numbers or text" in problems_of(file)
    file = write(tmp_path, images=IMAGES, labels=np.array([0, 1, np.nan, 0] * 2))
    assert "2 of 8 `labels` of study.npz hold no value" in problems_of(file)
    file = write(tmp_path, images=IMAGES, labels=np.array([0, 1, -1, 0] * 2))
    assert "may stand for no value" in problems_of(file)
    file = write(tmp_path, images=IMAGES, labels=LABELS, who=np.array(["a", ""] * 4))
    assert "4 of 8 `who` of study.npz name no patient" in problems_of(file, group="who")
    assert "does not exist" in problems_of(str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("text")
    assert "is no .npz or is damaged" in problems_of(str(tmp_path / "text.npz"))


def test_the_fingerprint_follows_content_and_settings(tmp_path):
    first = Npz(write(tmp_path, images=IMAGES, labels=LABELS, other=IMAGES)).fingerprint()
    assert Npz(str(tmp_path / "study.npz")).fingerprint() == first
    assert Npz(str(tmp_path / "study.npz"), images="other").fingerprint() != first
    assert Npz(write(tmp_path, "b.npz", images=IMAGES + 1, labels=LABELS)).fingerprint() != first
