"""The phantom as a source."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.phantoms.lesions import HEIGHTS, PARAMETERS, draw_patient, draw_slice
from vesalius.data.samples import check_samples
from vesalius.data.sources.lesions import Lesions


def test_the_table_is_one_that_training_accepts():
    source = Lesions(patients=20, slices=3)
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    assert len(table) == 60
    assert table.groupby("group_id")["target"].nunique().eq(1).all()


def test_an_image_does_not_depend_on_how_many_are_asked_for():
    few, many = Lesions(patients=16, slices=2), Lesions(patients=64, slices=4)
    samples = many.samples().set_index("sample_id")
    for row in few.samples().head(6).to_dict("records"):
        other = samples.loc[row["sample_id"]].to_dict()
        assert row["target"] == other["target"]
        np.testing.assert_array_equal(few.load(row), many.load(other))


@pytest.mark.parametrize("size", [28, 64, 200])
def test_images_and_masks_at_any_size(size):
    source = Lesions(patients=16, image_size=size)
    for row in source.samples().iloc[::4].to_dict("records"):
        image, mask = source.load(row), source.mask(row)
        assert (image.shape, image.dtype, mask.shape) == ((1, size, size), np.uint8, (size, size))
        assert mask.any() == (source.classes[row["target"]] != "healthy")
        assert mask.mean() < 0.05


def test_the_diameter_is_that_of_the_ellipse_that_was_drawn():
    source = Lesions(patients=24, slices=3, image_size=128, target="diameter")
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    assert len(table) == 3 * 18  # no healthy patient
    for row in table.to_dict("records"):
        patient = draw_patient(0, row["_patient"])
        _, covered = draw_slice(0, row["_patient"], row["_slice"], 128)
        assert row["target/diameter"] == pytest.approx(200 * np.sqrt(covered.mean() / np.pi))
        if patient.label in ("nodule", "cyst"):
            radius = patient.finding.radius * np.sqrt(1 - (HEIGHTS[row["_slice"]] / PARAMETERS.finding.depth) ** 2)
            # An image is two units wide. Bending shears a finding, which hardly changes its area.
            assert row["target/diameter"] == pytest.approx(100 * radius, rel=0.12)


def test_another_seed_gives_other_patients_and_another_fingerprint():
    one, other = Lesions(seed=0), Lesions(seed=1)
    row = one.samples().iloc[0].to_dict()
    assert not np.array_equal(one.load(row), other.load(row))
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() == Lesions(seed=0).fingerprint()


def test_all_bad_arguments_are_named_at_once():
    with pytest.raises(InputError) as caught:
        Lesions(patients=3, slices=9, image_size=8, seed=-1)
    assert len(caught.value.problems) == 4
