"""`vesalius report` and `vesalius compare` give one folder of runs the same numbers, whatever the task."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from report_maker import finish
from run_maker import CLASSES, predictions, rewrite_run, write_run
from vesalius.config.facts import Task
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.report.content import content_of, parts_of
from vesalius.runs.arms import arms_by
from vesalius.runs.find import find_finished, find_runs
from vesalius.studies.compare import compare

#: What a run of this task has in its `metrics.json`: without labels, images are reconstructed or generated.
RESULTS = {task: [task] for task in get_args(Task)} | {"unlabelled": ["reconstruction", "synthesis"]}
METRICS = {"regression": "mae", "reconstruction": "psnr", "synthesis": "frechet_distance"}


def table_of(task: str, quality: float, seed: int) -> pd.DataFrame:
    """Test predictions of a model of this task, the same samples whatever the quality."""
    random, samples = np.random.default_rng([seed, round(quality * 10)]), predictions(1.0, 0)
    table, truth = samples[["sample_id", "group_id", "target"]].copy(), np.arange(len(samples)) % 3
    noise = random.normal(size=(len(table), 3)) / quality
    if task == "regression":
        table["target/age"] = truth + 0.1 * np.arange(len(table))
        return table.drop(columns="target").assign(**{"pred/age": table["target/age"] + noise[:, 0]})
    if task == "reconstruction":
        return table.assign(
            psnr=20 + quality + noise[:, 0], ssim=0.8 + 0.01 * noise[:, 1], mse=0.01 * np.exp(noise[:, 2])
        )
    if task == "synthesis":
        return table.assign(recalled=1, covered=(noise[:, 0] < 0.5).astype(int))
    if task == "binary":
        return predictions(quality, seed)
    if task == "multilabel":
        for at, name in enumerate(("red", "green", "blue")):
            table[f"target/{name}"] = (truth != at).astype(int)
            table[f"prob/{name}"] = 1 / (1 + np.exp(1 - 2 * table[f"target/{name}"] - noise[:, at]))
        return table.drop(columns="target")
    logits = np.eye(3)[truth] + noise
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return table.assign(
        target=truth, **{f"prob/{name}": shares[:, at] for at, name in enumerate(("low", "mid", "high"))}
    )


def write_arms(folder: Path, task: str, seeds: int) -> None:
    """Two arms, the better one named `strong`."""
    for number, (arm, seed) in enumerate((arm, seed) for arm in ("weak", "strong") for seed in range(seeds)):
        quality = {"weak": 0.8, "strong": 2.0}[arm]
        run = write_run(folder / str(number), predictions(1.0, 0), seed=seed, model__kind=arm)
        rewrite_run(run, table_of(task, quality, seed), task)
        finish(run, [f"model.kind={arm}", f"seed={seed}"], quality / 4, baseline=None)


def check_agreement(folder: Path, metric: str) -> dict:
    """Compare what the two verbs compute for the arms in a folder; the reported difference."""
    found = find_runs(folder)
    (part,) = content_of(found, parts_of(found))["parts"]
    best, other = part["arms"]
    assert (best["arm"], other["arm"], part["metric"], part["notes"]) == ("strong", "weak", metric, [])
    runs, left_out = find_finished([str(folder)])
    content = compare(arms_by(runs, "model.kind"), metric=metric, by="model.kind", reference="strong")
    assert left_out == []
    entries = {name: arm[metric] for name, arm in content["arms"].items()}
    assert {arm["arm"]: arm["test"] for arm in part["arms"]} == entries
    assert other["difference"] == content["arms"]["weak"][f"{metric}_difference"]
    assert other["verdict"] == content["arms"]["weak"]["verdict"]
    return other["difference"]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("task", [task for name in get_args(Task) for task in RESULTS[name]])
def test_report_and_compare_have_the_same_values_intervals_and_methods(tmp_path, task, seeds):
    write_arms(tmp_path, task, seeds)
    difference = check_agreement(tmp_path, METRICS.get(task, "auroc"))
    assert (difference["value"] is None) == (task == "synthesis")
    assert (difference["ci95"] is None) == (task == "synthesis")


@pytest.mark.parametrize("seeds", [1, 2])
def test_both_decide_classes_as_the_runs_did(tmp_path, seeds):
    write_arms(tmp_path, "binary", seeds)
    for path in tmp_path.iterdir():
        threshold, results = 0.2 + 0.1 * int(path.name), json.loads((path / "metrics.json").read_text())
        table = pd.read_csv(path / "predictions" / "test.csv")
        results["test"] = classification_metrics(table, task="binary", classes=CLASSES, decision=threshold)
        results["decision"] = {"rule": "youden", "threshold": threshold}
        results["monitor"]["name"] = "val/balanced_accuracy"
        (path / "metrics.json").write_text(json.dumps(results))
    assert check_agreement(tmp_path, "balanced_accuracy")["ci95"] is not None
