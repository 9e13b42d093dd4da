"""The figures of docs/results.md, printed by the commands that it names (`make proof`)."""

import json
import statistics
from pathlib import Path

import pandas as pd
import pytest

MEDMNIST = Path(__file__).parents[2].parent / "shared/data/medmnist"
BREAST = ["data.source.name=breastmnist", f"data.source.root={MEDMNIST}"]
needs_medmnist = pytest.mark.skipif(not MEDMNIST.is_dir(), reason="the shared data folder is absent")


def finished(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("runs/**/metrics.json") if "evaluations" not in path.parts)


def figures(folder: Path) -> tuple[float, list[float], float]:
    """Test AUROC, its interval, and the seconds that the epochs took."""
    auroc = json.loads((folder / "metrics.json").read_text())["test"]["auroc"]
    return auroc["value"], auroc["ci95"], pd.read_csv(folder / "history.csv")["seconds"].sum()


@pytest.mark.proof
def test_the_demo_needs_a_network_and_has_one(vesalius, tmp_path):
    done = vesalius("train", timeout=600)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    (folder,) = finished(tmp_path)
    value, (low, high), seconds = figures(folder)
    baselines = json.loads((folder / "metrics.json").read_text())["baselines"]
    linear = max(baselines[arm]["auroc"]["value"] for arm in ("logistic_pixels", "logistic_pca"))
    print(
        f"lesions_cnn: test auroc {value:.3f} [{low:.3f}, {high:.3f}], best linear model {linear:.3f}, {seconds:.0f} s"
    )
    assert value >= 0.97
    assert low >= 0.95
    assert linear < 0.80
    assert seconds < 120


@pytest.mark.proof
@needs_medmnist
def test_breast_ultrasound_over_three_seeds(vesalius, tmp_path):
    done = vesalius("train", "-m", "experiment=medmnist_fast", *BREAST, "seed=0,1,2", timeout=900)
    assert done.returncode == 0, done.stderr
    values = []
    for folder in finished(tmp_path):
        value, (low, high), seconds = figures(folder)
        print(f"medmnist_fast: test auroc {value:.3f} [{low:.3f}, {high:.3f}], {seconds:.0f} s of training")
        assert seconds < 60
        values.append(value)
    print(f"mean of {len(values)} seeds: {statistics.mean(values):.3f}, sd {statistics.stdev(values):.3f}")
    assert statistics.mean(values) >= 0.90


@pytest.mark.proof
@needs_medmnist
def test_the_official_recipe_beside_it(vesalius, tmp_path):
    done = vesalius("train", "experiment=medmnist_official", *BREAST, timeout=3600)
    assert done.returncode == 0, done.stderr
    value, (low, high), seconds = figures(finished(tmp_path)[0])
    print(f"medmnist_official: test auroc {value:.3f} [{low:.3f}, {high:.3f}], {seconds:.0f} s of training")
    assert low <= 0.901 <= high  # the published mean of three runs (Yang et al. 2023)
