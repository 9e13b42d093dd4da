"""What maps and flags of `vesalius train` are worth on new patients, printed (`make proof`)."""

import numpy as np
import pytest

import vesalius as api
from explanation_checks import (
    classified_lesions,
    deletion,
    frame_deletion,
    peaks,
    peaks_at_random,
    peaks_of_brightness,
)
from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.perfusion import Perfusion
from vesalius.deploy.explain import BY_GRADIENTS
from vesalius.metrics.formatting import format_metric

pytest.importorskip("captum")


def trained(vesalius, tmp_path, *overrides):
    done = vesalius(
        "train",
        "logger=none",
        "evaluation.baselines=false",
        f"hydra.run.dir={tmp_path / 'run'}",
        *overrides,
        timeout=7200,
    )
    assert done.returncode == 0, done.stderr
    return api.load(tmp_path / "run")


def share_at_random(model, known, method) -> tuple[float, float]:
    """The share of maps of twelve nets with random weights that are highest in the lesion, and the upper end, at 95 %,
    of how much more that is than in the lesions of other patients."""
    shares = peaks_at_random(model, known, method, nets=12)
    above = shares[:, 0] - shares[:, 1]
    error = 1.96 * above.std(ddof=1) / np.sqrt(len(above))
    print(
        f"{method}: with random weights {shares[:, 0].mean():.3f}, in the lesions of other patients "
        f"{shares[:, 1].mean():.3f}, difference {above.mean():.3f} +- {error:.3f} over 12 nets and 4 classes"
    )
    return float(shares[:, 0].mean()), float(above.mean() + error)


@pytest.mark.proof
def test_maps_find_lesions_follow_the_weights_and_show_what_is_needed(vesalius, tmp_path):
    model = trained(vesalius, tmp_path)
    known = classified_lesions(model, 600)
    found = {method: peaks(model, known, method) for method in BY_GRADIENTS}
    for method, entry in found.items():
        print(f"{method}: maximum inside the lesion {format_metric(entry)}, area {entry['no_skill']:.3f}")
    bright = peaks_of_brightness(known)
    print(f"a smoothed image's maximum: {format_metric(bright)}")
    assert found["gradcam"]["value"] >= 0.8
    assert found["hirescam"]["value"] >= 0.8
    fewer = classified_lesions(model, 100)
    for method in BY_GRADIENTS[:2]:
        own, others = deletion(model, fewer, method)
        gain, error = (own - others).mean(), (own - others).std() / np.sqrt(len(own))
        print(f"{method}: loss without the top 5 %: {own.mean():.3f}, without those of another map {others.mean():.3f}")
        assert gain > 1.96 * error
    for method in BY_GRADIENTS[:2]:
        share, above = share_at_random(model, fewer, method)
        assert above < 0.1
        assert share < bright["value"] / 2


@pytest.mark.proof
def test_maps_of_a_deeper_net_find_lesions_and_those_of_random_weights_hardly_more_than_chance(vesalius, tmp_path):
    """ResNet-18: what stands out leaves less of a mark on maps of random weights than in the demo's small net."""
    model = trained(vesalius, tmp_path, "model=resnet18", "model.net.stem=small", "trainer.max_epochs=15")
    entry = peaks(model, classified_lesions(model, 400), "gradcam")
    print(f"ResNet-18, gradcam: maximum inside the lesion {format_metric(entry)}, area {entry['no_skill']:.3f}")
    assert entry["value"] >= 0.8
    _, above = share_at_random(model, classified_lesions(model, 60), "gradcam")
    assert above < 0.03


@pytest.mark.proof
def test_time_points_of_most_weight_are_those_that_the_class_needs(vesalius, tmp_path):
    model = trained(vesalius, tmp_path, "data=perfusion", "model=lstm", "evaluation.evidence=false")
    for method in (*BY_GRADIENTS, "occlusion"):
        own, others = frame_deletion(model, 60, method)
        print(f"{method}: loss without 4 frames of most weight {own.mean():.3f}, 4 random ones {others.mean():.3f}")
        assert own.mean() > others.mean()


@pytest.mark.proof
def test_unlike_images_are_flagged_and_new_patients_are_not(vesalius, tmp_path):
    model = trained(vesalius, tmp_path)
    size = model.contract.image_size[0]
    lesions = Lesions(patients=250, slices=4, image_size=size, seed=11)
    own = [lesions.load(row) for row in lesions.samples().to_dict("records")]
    random = np.random.default_rng(0)
    breast = Perfusion(patients=100, image_size=size)
    others = {
        "noise": list(random.integers(0, 256, (200, 1, size, size)).astype(np.uint8)),
        "inverted": [255 - image for image in own[:200]],
        "upside down": [image[:, ::-1].copy() for image in own[:200]],
        "turned": [np.rot90(image, axes=(1, 2)).copy() for image in own[:200]],
        "breast": [breast.load(row)[5] for row in breast.samples().to_dict("records")],
    }
    flagged = model.predict(own)["ood"].mean()
    print(f"flagged of {len(own)} slices of 250 new patients: {flagged:.3f}")
    assert flagged < 0.03
    for name, images in others.items():
        share = model.predict(images)["ood"].mean()
        print(f"flagged of {name}: {share:.3f}")
        assert share > (0.6 if name in ("upside down", "turned") else 0.95)
