"""What comes once the last epoch is over: metrics, baselines, figures and the tracker's files."""

import json
import os
import subprocess
import sys
import time

import pytest

from grown_data import multilabel_predictions
from vesalius.metrics.classification.metrics import classification_metrics

SAMPLES, LABELS = 100_000, 14


@pytest.mark.benchmark
def test_metrics_of_a_large_test_set_take_a_minute_at_most(row):
    table = multilabel_predictions(SAMPLES, LABELS)
    started = time.perf_counter()
    metrics = classification_metrics(table, task="multilabel", classes=[str(k) for k in range(LABELS)])
    seconds = time.perf_counter() - started
    assert metrics["auroc"]["groups"] == SAMPLES
    row(f"metrics of {SAMPLES:,} test samples × {LABELS} labels, every interval", "s", [seconds], at_most=60)


@pytest.mark.benchmark
def test_what_follows_the_training_of_the_demo_takes_seconds(tmp_path, row):
    folder, environment = tmp_path / "run", {**os.environ, "VESALIUS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "vesalius.cli", "train", "trainer.max_epochs=1", f"hydra.run.dir={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seconds = json.loads((folder / "state.json").read_text())["parts"]["evaluation"]["seconds"]
    begun = (folder / "hashes.json").stat().st_mtime - seconds
    steps = {
        "predictions and baselines": "predictions/baselines/majority.csv",
        "metrics and analyses": "metrics.json",
        "figures": "figures/test_images.png",
        "the tracker": "hashes.json",
    }
    written = {step: (folder / file).stat().st_mtime - begun for step, file in steps.items()}
    row(
        "the demo after its training: metrics, baselines, figures, W&B offline",
        "s",
        [seconds],
        at_most=10,
        note="by the times of its files: " + ", ".join(f"{step} until {at:.1f} s" for step, at in written.items()),
    )
