"""A quickly trained net: its maps find the lesions of new patients, and lose them with its weights."""

import pytest

import vesalius as api
from explanation_checks import classified_lesions, deletion, peaks, peaks_at_random

pytest.importorskip("captum")


@pytest.mark.slow
def test_maps_find_lesions_and_follow_the_weights(vesalius, tmp_path) -> None:
    options = ["logger=none", "evaluation.baselines=false"]
    options += ["data.source.patients=240", "trainer.max_epochs=24"]
    done = vesalius("train", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    model = api.load(tmp_path / "run")
    known = classified_lesions(model, 64)
    found = peaks(model, known, "hirescam")
    assert found["value"] > 0.45
    own, others = deletion(model, known, "hirescam")
    assert own.mean() > others.mean() + 0.1
    own, chance, empty = peaks_at_random(model, known, "hirescam", nets=3).mean(axis=0)
    assert own <= chance + 0.01
    assert own < found["value"] / 2
    assert empty > 0.95
