"""Sweeps as they lie on disk, without any training, for tests of the report."""

import json
from pathlib import Path

import pandas as pd
import yaml

from run_maker import binary_metrics, predictions, write_baseline, write_run

MODELS = {"cnn": 0.8, "resnet18": 2.0, "vgg16": 1.2}


def write_history(run: Path, best: float, epochs: int = 10) -> None:
    """Validation AUROC rises to `best` at the last epoch but one."""
    values = [best * (at + 1) / (epochs - 1) for at in range(epochs - 1)] + [best * 0.99]
    rows = [(at, at * 5, 1 / (at + 1), value, 2 / (at + 1), 0.1) for at, value in enumerate(values)]
    columns = ["epoch", "step", "train/loss", "val/auroc", "val/loss", "seconds"]
    pd.DataFrame(rows, columns=columns).to_csv(run / "history.csv", index=False)


def finish(run: Path, overrides: list[str], best: float, *, baseline: float | None = 0.6) -> Path:
    """What else a finished run has: overrides, history, monitor, baselines."""
    (run / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    write_history(run, best)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["monitor"] = {"name": "val/auroc", "mode": "max", "best": best, "epoch": 8}
    if baseline is not None:
        table = predictions(baseline, 77)
        write_baseline(run, "logistic_pca", table)
        metrics["baselines"] = {"logistic_pca": binary_metrics(table)}
    (run / "metrics.json").write_text(json.dumps(metrics))
    state = {"state": "done", "attempt": 1, "seconds": 12.3, "reason": None}
    (run / "state.json").write_text(json.dumps(state))
    return run


def write_sweep(path: Path, *, seeds: int = 3, models: dict[str, float] | None = None) -> Path:
    """Models x seeds, all done, with a `sweep.json`."""
    jobs = []
    for model, quality in (models or MODELS).items():
        for seed in range(seeds):
            number, overrides = len(jobs), [f"model={model}", f"seed={seed}"]
            run = write_run(path / str(number), predictions(quality, seed), seed=seed, model__kind=model)
            finish(run, overrides, 0.5 + quality / 10 + seed / 1000)
            jobs.append({"number": number, "overrides": overrides, "state": "done"})
    content = {"schema": 1, "verb": "train", "arguments": [], "axes": {}, "sweeper": "basic", "jobs": jobs}
    (path / "sweep.json").write_text(json.dumps(content))
    return path
