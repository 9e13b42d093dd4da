"""Predictions of a trained model as a table."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.datasets import Batch
from vesalius.data.samples import Split, subgroup_columns, target_columns
from vesalius.metrics.subgroups import subgroup_values


def inference_device(trainer: Mapping[str, Any]) -> torch.device:
    """The one device to predict on, as the trainer config asks; training may have used several."""
    accelerator = torch.accelerator.current_accelerator()
    if trainer.get("accelerator") == "cpu" or accelerator is None or not torch.accelerator.is_available():
        return torch.device("cpu")
    return accelerator


def predict(
    model: pl.LightningModule,
    data: ImageDataModule,
    split: Split,
    facts: Facts,
    device: torch.device,
    view: Callable[[Batch], Batch] | None = None,
) -> pd.DataFrame:
    """The predictions table of a split, each sample once, in 32 bits.

    Args:
        model: a finished model.
        data: set up.
        split: of the samples to predict.
        facts: of the data that the model was trained on.
        device: where to compute.
        view: applied to each batch first; for series, one of `vesalius.data.datamodules.series_ablations`.

    Returns:
        `sample_id`, `group_id`, target column(s), and `prob/<class>` for each class, or `pred/<target>` for
        `regression`; rows in the table's order.
    """
    key = "values" if facts.task == "regression" else "probabilities"
    model = model.to(device).eval()
    rows, outputs = [], []
    with torch.inference_mode():
        for position, batch in enumerate(data.loader(split)):
            on_device = {name: tensor.to(device) for name, tensor in batch.items()}
            output = model.predict_step(on_device if view is None else view(on_device), position)
            rows.append(output["index"].cpu().numpy())
            outputs.append(output[key].double().cpu().numpy())
    return predictions_table(data, np.concatenate(rows), np.concatenate(outputs), facts)


def predictions_table(
    data: ImageDataModule, rows: NDArray[np.int64], outputs: NDArray[np.float64], facts: Facts
) -> pd.DataFrame:
    """Samples with their patients, targets, subgroups and what was predicted for them.

    Args:
        data: set up.
        rows: (N,) of `data.table`.
        outputs: (N, K) probabilities or continuous values.
        facts: of the data that the model was trained on.
    """
    kept = data.table.iloc[rows]
    table = kept[["sample_id", "group_id", *target_columns(kept)]]
    table = pd.concat([table, subgroup_values(kept, subgroup_columns(kept))], axis=1).reset_index(drop=True)
    prefix = "pred" if facts.task == "regression" else "prob"
    return pd.concat([table, pd.DataFrame(outputs, columns=[f"{prefix}/{name}" for name in facts.classes])], axis=1)
