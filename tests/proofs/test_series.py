"""The figures of image series in docs/results.md, printed by the commands that it names (`make proof`)."""

import json
import statistics
from pathlib import Path

import pandas as pd
import pytest

from vesalius.config.facts import Facts
from vesalius.evaluation.scoring import score_table
from vesalius.training.checkpoints import load_checkpoint

SHARED = Path(__file__).parents[2].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is absent")


@pytest.fixture
def sweep(vesalius, tmp_path):
    """Run a sweep and give each run's folder, metrics and seconds."""

    def run(*overrides):
        done = vesalius("train", "-m", "logger=none", *overrides, timeout=3600)
        assert done.returncode == 0, done.stderr
        folders = sorted(path.parent for path in tmp_path.glob("runs/*/*/*/metrics.json"))
        metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
        seconds = [json.loads((folder / "state.json").read_text())["seconds"] for folder in folders]
        return folders, metrics, seconds

    return run


def said(metric):
    low, high = metric["ci95"]
    return f"{metric['value']:.3f} [{low:.3f}, {high:.3f}]"


@pytest.mark.proof
@pytest.mark.parametrize("model", ["lstm", "gru"])
def test_the_perfusion_phantom_needs_time_and_a_network_that_reads_it(sweep, model):
    _, runs, seconds = sweep(f"experiment=perfusion_{model}", "seed=0,1,2")
    for metrics, taken in zip(runs, seconds, strict=True):
        evidence = metrics["evidence"]
        shuffled = evidence["time_shuffled"]["auroc_difference"]
        print(
            f"perfusion_{model}: test auroc {said(metrics['test']['auroc'])}, {taken:.0f} s; enhancing classes: model "
            f"{said(evidence['model']['auroc'])}, one frame {said(evidence['single_frame']['auroc'])}, shuffled "
            f"{said(evidence['time_shuffled']['auroc'])}, model minus shuffled {said(shuffled)}"
        )
        assert metrics["test"]["auroc"]["value"] >= 0.97
        assert evidence["single_frame"]["auroc"]["value"] <= 0.65
        assert shuffled["value"] >= 0.10
        assert shuffled["ci95"][0] > 0
        assert taken <= 240


@pytest.mark.proof
def test_the_time_to_peak_is_predicted(sweep):
    _, runs, seconds = sweep("experiment=perfusion_peak", "seed=0,1,2")
    for metrics, taken in zip(runs, seconds, strict=True):
        r2, mae = metrics["test"]["r2"], metrics["test"]["mae"]
        print(f"perfusion_peak: test r2 {said(r2)}, mae {said(mae)} s, in {taken:.0f} s")
        assert r2["value"] >= 0.9


@pytest.mark.proof
@needs_data
def test_adrenal_glands_as_series_of_slices(sweep):
    _, runs, seconds = sweep("experiment=adrenal_slices", f"data.source.root={SHARED / 'medmnist'}", "seed=0,1,2")
    for metrics, taken in zip(runs, seconds, strict=True):
        linear = metrics["baselines"]["logistic_pca"]["auroc"]
        print(f"adrenal_slices: test auroc {said(metrics['test']['auroc'])}, PCA-64 + LR {said(linear)}, {taken:.0f} s")
        assert taken <= 600
    mean = statistics.mean(metrics["test"]["auroc"]["value"] for metrics in runs)
    print(f"mean {mean:.3f}")
    assert mean >= 0.838


@pytest.mark.proof
@needs_data
def test_what_a_person_saw_is_told_from_a_run_left_out(sweep):
    overrides = [f"data.source.root={SHARED / 'haxby2001'}", "data.fold=range(12)", "evaluation.evidence=false"]
    folders, _, _ = sweep("experiment=haxby_runs", *overrides, "evaluation.baselines=false")
    pooled = pd.concat([pd.read_csv(folder / "predictions/test.csv") for folder in folders], ignore_index=True)
    facts = Facts.from_dict(load_checkpoint(folders[0] / "checkpoints/best.ckpt")["facts"])
    accuracy = score_table(pooled, facts)["accuracy"]
    print(f"haxby_runs: accuracy {said(accuracy)} of {len(pooled)} series in {accuracy['groups']} runs")
    assert len(pooled) == 96
    assert accuracy["value"] > 65 / 96
