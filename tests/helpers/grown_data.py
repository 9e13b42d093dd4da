"""Data of any size for benchmarks: tables of predictions, folders of finished runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vesalius.metrics.classification.metrics import classification_metrics

STORED = Path(__file__).parents[1] / "stored_runs/cnn/finished"
#: Of each run of `write_sweep`.
TEST_IMAGES, EPOCHS = 400, 100
_SEEDS = 5


def multilabel_predictions(samples: int, labels: int) -> pd.DataFrame:
    """Labels of 2 to 30 % prevalence, probabilities with an AUROC of about .86; each sample has its own patient."""
    random = np.random.default_rng(0)
    truth = random.random((samples, labels)) < np.linspace(0.02, 0.3, labels)
    chances = 1 / (1 + np.exp(1.5 - 1.5 * truth - random.normal(size=truth.shape)))
    names = [f"s{number}" for number in range(samples)]
    table = {"sample_id": names, "group_id": names}
    table |= {f"target/{k}": truth[:, k].astype(int) for k in range(labels)}
    return pd.DataFrame(table | {f"prob/{k}": chances[:, k] for k in range(labels)})


def write_sweep(folder: Path, runs: int) -> None:
    """Finished runs in arms of five seeds."""
    metrics = json.loads((STORED / "metrics.json").read_text())
    names = [column[5:] for column in pd.read_csv(STORED / "predictions/test.csv") if column.startswith("prob/")]
    epochs = np.arange(EPOCHS)
    columns = {"epoch": epochs, "train/loss": 1 / (epochs + 1), "val/loss": 1 / (epochs + 2)}
    history = pd.DataFrame(columns | {metrics["monitor"]["name"]: epochs / (epochs + 10)}).to_csv(index=False)
    outcomes = [_outcome(metrics, names, seed) for seed in range(2 * _SEEDS)]
    config = yaml.safe_load((STORED / "config.yaml").read_text())
    for number in range(runs):
        run = folder / str(number)
        shutil.copytree(STORED, run, ignore=shutil.ignore_patterns("checkpoints"))
        config["seed"], config["trainer"]["max_epochs"] = number % _SEEDS, EPOCHS + number // _SEEDS
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        table, entries = outcomes[number % len(outcomes)]
        (run / "predictions/test.csv").write_text(table)
        (run / "metrics.json").write_text(entries)
        (run / "history.csv").write_text(history)


def _outcome(metrics: dict, names: list[str], seed: int) -> tuple[str, str]:
    """Test predictions of a run, and its `metrics.json`; all runs have the same patients."""
    truth = np.random.default_rng(0).integers(0, len(names), TEST_IMAGES)
    scores = np.random.default_rng(seed).normal(size=(TEST_IMAGES, len(names))) + 2 * np.eye(len(names))[truth]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    number = np.arange(TEST_IMAGES)
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in number], "group_id": [f"p{i // 2}" for i in number]})
    table = table.assign(target=truth, **{f"prob/{name}": shares[:, k] for k, name in enumerate(names)})
    test = classification_metrics(table, task=metrics["task"], classes=names)
    return table.to_csv(index=False), json.dumps({**metrics, "test": test})
