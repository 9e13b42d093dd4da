"""The phantom of contrast-enhanced series as a source."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.data.phantoms.kinetics import CURVES
from vesalius.data.phantoms.perfusion import draw_patient, draw_times
from vesalius.data.samples import check_samples
from vesalius.data.sources.perfusion import Perfusion
from vesalius.data.store.store import Store


def true_curve(source, row):
    """The lesion's enhancement in grey values at the times of every frame, and the seconds until it is highest."""
    patient = draw_patient(source.seed, row["_patient"])
    times = draw_times(source.seed, row["_patient"], row["_section"], source.protocol)
    kinetics, end = patient.kinetics, float(times[-1])
    return kinetics.enhancement(times, end, patient.label), kinetics.time_to_peak(end, patient.label)


@pytest.mark.parametrize("target", ["curve_type", "time_to_peak", "next_points"])
@pytest.mark.parametrize("extra", [{}, {"irregular": True, "variable_length": True}, {"series": 3, "frames": 7}])
def test_the_table_is_one_that_training_accepts(target, extra):
    source = Perfusion(patients=20, target=target, horizon=2, **extra)
    table = source.samples()
    check_samples(table, source.task, source.classes, before_split=True)
    patients = 15 if target == "time_to_peak" else 20
    assert table["group_id"].nunique() == patients
    assert len(table) == patients * extra.get("series", 1)
    for row in table.head(6).to_dict("records"):
        series = source.load(row)
        assert series.shape == (len(row["_times"]), 1, 32, 32)
        assert series.dtype == np.uint8
        assert source.mask(row).shape == (len(series), 32, 32)
        assert source.mask(row).any((1, 2)).all()


def test_targets_are_those_of_the_true_curve():
    options = {"patients": 24, "irregular": True, "variable_length": True}
    types = Perfusion(**options).samples().set_index("sample_id")
    asked = Perfusion(**options, target="time_to_peak")
    for row in asked.samples().to_dict("records"):
        label = CURVES[types.loc[row["sample_id"], "target"]]
        peak = row["target/time_to_peak"]
        assert peak == true_curve(asked, row)[1]
        assert label != "none"
        assert (peak == row["_times"][-1]) == (label == "persistent")
    source = Perfusion(**options, target="next_points", horizon=3)
    for row in source.samples().to_dict("records"):
        curve, _ = true_curve(source, row)
        np.testing.assert_array_equal([row[f"target/enhancement_{step}"] for step in (1, 2, 3)], curve[-3:])
        assert len(row["_times"]) == len(curve) - 3
        assert curve.any() == (CURVES[types.loc[row["sample_id"], "target"]] != "none")


def test_withheld_frames_are_the_last_and_nothing_else_changes():
    whole, cut = Perfusion(patients=16), Perfusion(patients=16, target="next_points", horizon=4)
    for row, other in zip(whole.samples().to_dict("records"), cut.samples().to_dict("records"), strict=True):
        np.testing.assert_array_equal(whole.load(row)[:-4], cut.load(other))
        assert row["_times"][:-4] == other["_times"]
    assert whole.fingerprint() != cut.fingerprint()


def test_a_series_does_not_depend_on_how_many_are_asked_for():
    few, many = Perfusion(patients=16), Perfusion(patients=64, series=3)
    samples = many.samples().set_index("sample_id")
    for row in few.samples().head(6).to_dict("records"):
        other = samples.loc[row["sample_id"]].to_dict()
        assert row["target"] == other["target"]
        np.testing.assert_array_equal(few.load(row), many.load(other))


def test_sections_of_a_patient_differ_and_show_the_same_curve():
    source = Perfusion(patients=16, series=3)
    table = source.samples()
    for _, rows in table.groupby("group_id"):
        first, *others = rows.to_dict("records")
        assert rows["target"].nunique() == 1
        for other in others:
            np.testing.assert_array_equal(true_curve(source, first)[0], true_curve(source, other)[0])
            assert source.mask(other)[0].sum() < source.mask(first)[0].sum()
            assert not np.array_equal(source.load(other), source.load(first))


@pytest.mark.parametrize("size", [24, 64, 101])
def test_lesions_brighten_by_their_curve_at_any_size(size):
    source = Perfusion(patients=16, image_size=size)
    for row in source.samples().to_dict("records"):
        inside = source.mask(row)
        assert inside.mean() < 0.08
        means = (source.load(row)[:, 0] * inside).sum((1, 2)) / inside.sum((1, 2))
        curve, _ = true_curve(source, row)
        if curve.any():
            # The fluctuation of each frame is 7 %; a coil's fall-off and partial volume take a constant share.
            assert np.corrcoef(means, curve)[0, 1] > 0.9
            assert 0.6 < (means[-1] - means[0]) / curve[-1] < 1.4
        else:
            assert np.ptp(means) < 10


def test_the_store_takes_the_series_as_they_are(tmp_path):
    source = Perfusion(patients=16, variable_length=True)
    table = source.samples()
    store = Store.open(source, table, cache_dir=tmp_path)
    assert store.lengths.tolist() == [len(times) for times in table["_times"]]
    start, end = store.offsets[3:5].tolist()
    np.testing.assert_array_equal(store.images[start:end].numpy(), source.load(table.iloc[3]))


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"frames": 8}, {"image_size": 48}, {"irregular": True}, {"variable_length": True}]
)
def test_the_fingerprint_follows_all_that_decides_the_pixels(change):
    assert Perfusion().fingerprint() == Perfusion().fingerprint() != Perfusion(**change).fingerprint()


def test_all_bad_arguments_are_named_at_once():
    with pytest.raises(InputError) as caught:
        Perfusion(patients=3, series=9, frames=2, image_size=8, seed=-1)
    assert len(caught.value.problems) == 5
    with pytest.raises(InputError, match="horizon=5: must lie between 1 and 4"):
        Perfusion(target="next_points", horizon=5)
