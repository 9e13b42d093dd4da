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


def check_random_weights(model, known, method, at_most) -> None:
    """With random weights, and with the trained ones in random order, maps are highest in the lesion no more often than
    in the lesions of other patients (the difference over the nets, and its upper end at 95 %), and below a share."""
    for kind, nets in (("random", 12), ("shuffled", 6)):
        shares = peaks_at_random(model, known, method, nets, shuffled=kind == "shuffled")
        own, others, empty = shares.mean(axis=0)
        above = shares[:, 0] - shares[:, 1]
        error = 1.96 * above.std(ddof=1) / np.sqrt(nets)
        print(
            f"{method}, {kind} weights: maximum inside the lesion {own:.4f}, in those of other patients {others:.4f}, "
            f"difference {above.mean():.4f} +- {error:.4f} ({nets} nets, 4 classes); empty {empty:.3f}"
        )
        assert own < at_most
        assert above.mean() + error < 0.02


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
    for method in BY_GRADIENTS:
        check_random_weights(model, fewer, method, min(found[method]["no_skill"], bright["value"] / 2))


@pytest.mark.proof
def test_maps_of_a_deeper_net_find_lesions_and_lose_them_with_its_weights(vesalius, tmp_path):
    model = trained(vesalius, tmp_path, "model=resnet18", "model.net.stem=small", "trainer.max_epochs=15")
    entry = peaks(model, classified_lesions(model, 400), "gradcam")
    print(f"ResNet-18, gradcam: maximum inside the lesion {format_metric(entry)}, area {entry['no_skill']:.3f}")
    assert entry["value"] >= 0.8
    check_random_weights(model, classified_lesions(model, 60), "gradcam", entry["no_skill"])


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
