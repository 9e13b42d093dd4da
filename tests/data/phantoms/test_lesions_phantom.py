"""The phantom needs a network and can be solved: an oracle tells the classes apart, a linear model on pixels cannot."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesions_oracle import oracle_scores
from vesalius.data.phantoms.findings import CLASSES
from vesalius.data.phantoms.lesions import HEIGHTS, acquire, draw_patient, draw_slice
from vesalius.data.sources.lesions import Lesions
from vesalius.metrics.baselines.linear_models import fit_baselines

SEED = 1  # not the one that `vesalius train` uses


def test_an_oracle_tells_the_classes_apart():
    cases = [(number, number % 4) for number in range(80)]
    scores = np.stack([oracle_scores(SEED, number, position, 64) for number, position in cases])
    target = [CLASSES.index(draw_patient(SEED, number).label) for number, _ in cases]
    assert roc_auc_score(target, scores, multi_class="ovr") >= 0.99


def test_a_linear_model_on_pixels_cannot():
    source = Lesions(patients=240, slices=2, seed=SEED)
    table = source.samples()
    images = np.stack([source.load(row) for row in table.to_dict("records")])
    target, patient = table["target"].to_numpy(), table["_patient"].to_numpy()
    train, val, test = patient < 140, (patient >= 140) & (patient < 170), patient >= 170
    predictions = fit_baselines(
        images[train],
        target[train],
        images[val],
        target[val],
        images[test],
        task="multiclass",
        classes=CLASSES,
    )
    for name in ("logistic_pixels", "logistic_pca"):
        assert 0.5 < roc_auc_score(target[test], predictions[name], multi_class="ovr") < 0.80


def test_every_four_patients_have_the_four_classes_in_changing_order():
    labels = [draw_patient(SEED, number).label for number in range(40)]
    orders = {tuple(labels[start : start + 4]) for start in range(0, 40, 4)}
    assert all(set(order) == set(CLASSES) for order in orders)
    assert len(orders) > 1


def test_only_the_finding_tells_a_patient_from_a_healthy_one():
    for number in range(8):
        healthy, nothing = draw_slice(SEED, number, 0, 64, "healthy")
        assert not nothing.any()
        for label in CLASSES[1:]:
            image, covered = draw_slice(SEED, number, 0, 64, label)
            assert covered.sum() > 12  # pixels of 4,096
            np.testing.assert_array_equal(image[covered == 0], healthy[covered == 0])
            assert np.median(np.abs(image - healthy)[covered > 0.9]) > 10


@pytest.mark.parametrize(("label", "sign"), [("nodule", 1), ("cyst", -1), ("spiculated", 1)])
def test_contrast_is_as_named(label, sign):
    for number in range(8):
        healthy, _ = draw_slice(SEED, number, 0, 128, "healthy")
        image, covered = draw_slice(SEED, number, 0, 128, label)
        assert sign * np.median((image - healthy)[covered > 0.9]) > 30


def test_slices_of_a_patient_differ_and_are_alike():
    slices = [draw_slice(SEED, 5, position, 64)[0] for position in range(len(HEIGHTS))]
    other = draw_slice(SEED, 6, 0, 64)[0]
    for one in slices[1:]:
        assert 0.9 < np.corrcoef(slices[0].ravel(), one.ravel())[0, 1] < 1
        assert np.corrcoef(slices[0].ravel(), one.ravel())[0, 1] > np.corrcoef(other.ravel(), one.ravel())[0, 1]


def test_noise_is_white_and_of_its_standard_deviation():
    flat = np.full((256, 256), 120, np.float32)
    noise = acquire(flat, SEED, 0, 0) - flat
    assert noise.std() == pytest.approx(6.0, rel=0.03)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02
