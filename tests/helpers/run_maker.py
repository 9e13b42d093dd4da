"""Finished runs as `vesalius train` leaves them, without any training: predictions of a made-up model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vesalius.metrics.classification import classification_metrics

CLASSES = ["healthy", "sick"]


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
    metrics = classification_metrics(table, task="binary", classes=CLASSES)
    (path / "metrics.json").write_text(json.dumps({"schema": 1, "task": "binary", "test": metrics}))
    return path


def write_baseline(run: Path, name: str, table: pd.DataFrame) -> None:
    """Test predictions of a cheap model."""
    folder = run / "predictions" / "baselines"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
