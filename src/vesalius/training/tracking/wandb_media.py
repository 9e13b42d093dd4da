"""Charts that W&B draws by itself from data, and images of the worst errors.

No table names a sample or a patient: `row` is the place in `predictions/<split>.csv`, 0 being the first, so that only
somebody with the run folder can find them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import wandb
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.samples import Split
from vesalius.figures.canvas import displayable
from vesalius.metrics.classification.confusion import confusion_table
from vesalius.metrics.classification.curves import precision_recall_table, roc_table
from vesalius.metrics.predictions import Decision, read_predictions
from vesalius.metrics.worst_errors import find_worst_errors
from vesalius.runs.redaction import WITHOUT_PIXELS
from vesalius.training.tracking.base import Outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS: tuple[Split, ...] = ("val", "test")
_SIDE = 256  # pixels of an image in a table
_POINTS = 1_000  # of a scatter plot

Charts = dict[str, Any]


def charts(outputs: Outputs, decision: Decision) -> Charts:
    """Curves and confusion matrices of classes, or scatter plots of continuous targets, by `<split>/<name>`."""
    found: Charts = {}
    for split in SPLITS:
        table = outputs.predictions.get(split)
        if table is None:
            continue
        if table.columns.str.startswith("prob/").any():
            found |= {f"{split}/{name}": chart for name, chart in _class_charts(outputs, split, decision).items()}
        elif table.columns.str.startswith("pred/").any():
            found |= {f"{split}/scatter/{name}": _scatter(table, name) for name in outputs.facts.classes}
    return found


def worst_images(outputs: Outputs, decision: Decision) -> Charts:
    """One table per split: images of the worst errors with true and predicted targets; none where none is wrong."""
    tables: Charts = {}
    for split in SPLITS:
        table = outputs.predictions.get(split)
        if table is None:
            continue
        worst = find_worst_errors(table, task=outputs.facts.task, classes=outputs.facts.classes, decision=decision)
        if worst.empty:
            continue
        images = [wandb.Image(image) for image in _pictures(outputs.images(split, worst.index.to_numpy()))]
        rows = zip(images, worst.index.tolist(), worst.to_numpy().tolist(), strict=True)
        data: list[Iterable[Any]] = [[image, row, *values] for image, row, values in rows]
        tables[f"{split}/worst"] = wandb.Table(columns=["image", "row", *worst.columns], data=data)
    return tables


def pictures(figures: "Mapping[str, Figure]", folder: Path, *, images: bool) -> Charts:
    """Figures by `figures/<name>`; those in the run folder are not drawn again.

    Args:
        figures: by name.
        folder: that may hold them as PNG.
        images: whether to include those with pixels of patients' images.
    """
    found: Charts = {}
    for name, figure in figures.items():
        if not images and name not in WITHOUT_PIXELS:
            continue
        path = folder / f"{name}.png"
        found[f"figures/{name}"] = wandb.Image(Image.open(path) if path.is_file() else figure)
    return found


def _class_charts(outputs: Outputs, split: Split, decision: Decision) -> Charts:
    facts = outputs.facts
    p = read_predictions(outputs.predictions[split], task=facts.task, classes=facts.classes, decision=decision)
    confusion = _table(confusion_table(p), {"true": "Actual", "predicted": "Predicted", "count": "nPredictions"})
    found = {"confusion_matrix": _chart("confusion_matrix/v1", confusion, {}, "Confusion matrix")}
    for name, curve, axes, title in (
        ("roc", roc_table(p), {"class": "class", "x": "fpr", "y": "tpr"}, "ROC"),
        (
            "precision_recall",
            precision_recall_table(p),
            {"class": "class", "x": "recall", "y": "precision"},
            "Precision and recall",
        ),
    ):
        if not curve.empty:
            found[name] = _chart("area-under-curve/v0", _table(curve[list(axes.values())]), axes, title)
    return found


def _scatter(table: pd.DataFrame, name: str) -> Any:
    chosen = table.iloc[np.unique(np.linspace(0, len(table) - 1, _POINTS).astype(np.int64))]
    points = pd.DataFrame({"true": chosen[f"target/{name}"], "predicted": chosen[f"pred/{name}"]})
    return _chart("scatter/v0", _table(points), {"x": "true", "y": "predicted"}, name)


def _table(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> Any:
    named = table.rename(columns=dict(names or {}))
    rows: list[Iterable[Any]] = [list(row) for row in named.itertuples(index=False)]
    return wandb.Table(columns=list(named.columns), data=rows)


def _chart(kind: str, table: Any, fields: Mapping[str, str], title: str) -> Any:
    """One of the charts that W&B's server draws from a table."""
    fields = dict(fields) or {name: name for name in table.columns}
    return wandb.plot_table(f"wandb/{kind}", table, fields, {"title": title})


def _pictures(images: NDArray[Any]) -> list[Image.Image]:
    found = []
    for pixels in (displayable(images) * 255).round().astype(np.uint8):
        picture = Image.fromarray(pixels)
        picture.thumbnail((_SIDE, _SIDE))
        found.append(picture)
    return found
