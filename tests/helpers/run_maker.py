"""Finished runs as `vesalius train` leaves them, without any training: predictions of a made-up model."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.reconstruction import reconstruction_metrics
from vesalius.metrics.regression import regression_metrics

CLASSES = ["healthy", "sick"]
_known: dict[bytes, dict[str, Any]] = {}  # intervals cost more than all else, and many tests make the same runs


def predictions(quality: float, seed: int, *, patients: int = 40, first: int = 0, decimals: int = 6) -> pd.DataFrame:
    """Two samples a patient, every other patient sick; the larger `quality`, the higher the AUROC."""
    patient = np.repeat(np.arange(first, first + patients), 2)
    target = patient % 2
    logit = quality * (target - 0.5) + np.random.default_rng([seed, round(quality * 100)]).normal(size=len(target))
    sick = np.round(1 / (1 + np.exp(-logit)), decimals)
    return pd.DataFrame(
        {
            "sample_id": [f"{who:03d}_{part}" for part, who in enumerate(patient)],
            "group_id": [f"{who:03d}" for who in patient],
            "target": target,
            "prob/healthy": 1 - sick,
            "prob/sick": sick,
        }
    )


def write_run(path: Path, table: pd.DataFrame, *, seed: int = 0, state: str = "done", **config: Any) -> Path:
    """A run folder with these test predictions; `config` adds to a small one, dots in its keys written as `__`."""
    frozen: dict[str, Any] = {"name": path.parent.name, "seed": seed, "monitor": {"name": "val/auroc"}}
    frozen |= {"data": {"seed": seed}, "model": {"_target_": "vesalius.models.CNNClassifier"}}
    frozen |= {"init_from": None}
    for key, value in config.items():
        *parents, leaf = key.split("__")
        node = frozen
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    (path / "predictions").mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(frozen))
    (path / "state.json").write_text(json.dumps({"state": state}))
    table.to_csv(path / "predictions" / "test.csv", index=False)
    metrics = binary_metrics(table)
    (path / "metrics.json").write_text(json.dumps({"schema": 1, "task": "binary", "test": metrics}))
    return path


def binary_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Test metrics of predictions for `CLASSES`."""
    key = table.to_csv().encode()
    if key not in _known:
        _known[key] = classification_metrics(table, task="binary", classes=CLASSES)
    return copy.deepcopy(_known[key])


def write_baseline(run: Path, name: str, table: pd.DataFrame) -> None:
    """Test predictions and metrics of a cheap model."""
    folder = run / "predictions" / "baselines"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    results = json.loads((run / "metrics.json").read_text())
    no_skill = next(iter(results["test"].values()))["no_skill"]
    results.setdefault("baselines", {})[name] = metrics_of(table, results["task"], no_skill)
    (run / "metrics.json").write_text(json.dumps(results))


def rewrite_run(run: Path, table: pd.DataFrame, task: str, no_skill: float = 0.5) -> None:
    """Turn a run into one of another task, with these test predictions."""
    table.to_csv(run / "predictions" / "test.csv", index=False)
    results = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**results, "task": task, "test": metrics_of(table, task, no_skill)}))


def metrics_of(table: pd.DataFrame, task: str, no_skill: float = 0.5) -> dict[str, Any]:
    """Test metrics as a run of this task has them; of generators, made up."""
    names = [column.partition("/")[2] for column in table.columns if column.startswith(("prob/", "pred/"))]
    if task == "synthesis":
        entry = {"value": 4.0 + table["covered"].mean(), "ci95": [3.0, 6.0], "n": 80, "groups": 40, "no_skill": 70.0}
        return {"frechet_distance": {**entry, "method": "jackknife"}}
    if task == "reconstruction":
        return reconstruction_metrics(table, no_skill=dict.fromkeys(("psnr", "ssim", "mse"), no_skill))
    if task == "regression":
        means = [table[f"target/{name}"].mean() for name in names]
        metrics = regression_metrics(table, names=names, no_skill=means)
        return {name: {**entry, "no_skill": no_skill} for name, entry in metrics.items()}
    return (
        binary_metrics(table)
        if (task, names) == ("binary", CLASSES)
        else classification_metrics(table, task=task, classes=names)
    )
