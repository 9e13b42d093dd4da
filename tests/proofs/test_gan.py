"""The figures of GANs in docs/results.md, printed by the commands that it names (`make proof`)."""

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared/data"
CNN = ["experiment=lesions_cnn", "model=cnn_wide"]
PHANTOM = ["data.source.image_size=32", "data.source.patients=2400"]


def said(metric):
    low, high = metric["ci95"]
    return f"{metric['value']:.3f} [{low:.3f}, {high:.3f}]"


def metrics_of(vesalius, folder, verb, *overrides):
    """What a finished run says."""
    done = vesalius(verb, f"hydra.run.dir={folder}", *overrides, timeout=7200)
    assert done.returncode == 0, done.stderr
    found = folder / "metrics.json"
    return json.loads(found.read_text()) if found.is_file() else None


@pytest.mark.proof
def test_made_slices_are_nearer_than_drawn_ones_and_a_classifier_learns_from_them(vesalius, tmp_path):
    extractor, gan, images = (tmp_path / name for name in ("extractor", "gan", "images"))
    metrics_of(vesalius, extractor, "train", *CNN, *PHANTOM, "logger=none")
    told = metrics_of(
        vesalius, gan, "train", "experiment=lesions_gan", f"evaluation.extractor={extractor}", "logger=none"
    )
    seconds = json.loads((gan / "state.json").read_text())["seconds"]
    arms = {"made": told["test"], **told["baselines"]}
    for arm, entries in arms.items():
        print(arm, {name: said(entry) for name, entry in entries.items()})
    made, drawn, real = (arms[arm]["frechet_distance"]["value"] for arm in ("made", "pca_gaussian", "real"))
    print(f"{seconds:.0f} s; {made / drawn:.2f} of the Gaussian's distance, {made / real:.1f} times the floor")
    print({name: told[name] for name in ("two_sample", "memorisation")})
    assert made < 2 / 3 * drawn
    assert made <= 8 * real
    assert told["test"]["manifold_precision"]["value"] >= 0.7
    assert told["test"]["manifold_recall"]["value"] >= 0.5
    assert not told["memorisation"]["flagged"]

    metrics_of(vesalius, images, "synthesize", f"run={gan}", "n=6720")
    taught = [*CNN, *PHANTOM, f"data.split_file={gan}/split.csv", f"data.synthetic={images}"]
    learned = metrics_of(vesalius, tmp_path / "cnn", "train", *taught, "data.synthetic_ratio=only", "logger=none")
    print("learned from made slices alone, judged on real ones:", said(learned["test"]["auroc"]))
    assert learned["test"]["auroc"]["value"] >= 0.90


@pytest.mark.proof
@pytest.mark.parametrize("study", ["synthetic_gain", "breast_synthetic_gain"])
def test_the_closed_loop_gives_its_table_and_its_verdict(study, vesalius, tmp_path):
    if study.startswith("breast") and not SHARED.is_dir():
        pytest.skip("the shared data folder is absent")
    where = [f"root={SHARED / 'medmnist'}"] if study.startswith("breast") else []
    folder = tmp_path / "loop"
    done = vesalius("gain", f"study={study}", *where, f"hydra.run.dir={folder}", timeout=7200)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    told = json.loads((folder / "gain.json").read_text())
    assert set(told["comparisons"]) == {"real", "augmented"}
    assert told["verdict"]
    for comparison in told["comparisons"].values():
        for arm in comparison["arms"].values():
            low, high = arm["auroc"]["ci95"]
            assert low <= arm["auroc"]["value"] <= high
