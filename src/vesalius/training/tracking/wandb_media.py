"""What W&B draws by itself: curves, confusion matrices and scatter plots as data, and images of the worst answers.

No table names a sample or a patient: `row` is the place in `predictions/<split>.csv`, 0 being the first, so that only
who has the run folder can look them up.
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
from vesalius.training.tracking.base import Answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS: tuple[Split, ...] = ("val", "test")
_SIDE = 256  # pixels of an image in a table
_POINTS = 1_000  # of a scatter plot

Charts = dict[str, Any]


def charts(answers: Answers, decision: Decision) -> Charts:
    """Curves and counts of classes, or truth against prediction of quantities, by `<split>/<name>`."""
    told: Charts = {}
    for split in SPLITS:
        table = answers.predictions.get(split)
        if table is None:
            continue
        if table.columns.str.startswith("prob/").any():
            told |= {f"{split}/{name}": chart for name, chart in _of_classes(answers, split, decision).items()}
        elif table.columns.str.startswith("pred/").any():
            told |= {f"{split}/scatter/{name}": _scatter(table, name) for name in answers.facts.classes}
    return told


def worst_images(answers: Answers, decision: Decision) -> Charts:
    """A table a split: images of the worst answers, what they show and what was said; none where none is wrong."""
    told: Charts = {}
    for split in SPLITS:
        table = answers.predictions.get(split)
        if table is None:
            continue
        worst = find_worst_errors(table, task=answers.facts.task, classes=answers.facts.classes, decision=decision)
        if worst.empty:
            continue
        images = [wandb.Image(image) for image in _pictures(answers.images(split, worst.index.to_numpy()))]
        rows = zip(images, worst.index.tolist(), worst.to_numpy().tolist(), strict=True)
        data: list[Iterable[Any]] = [[image, row, *values] for image, row, values in rows]
        told[f"{split}/worst"] = wandb.Table(columns=["image", "row", *worst.columns], data=data)
    return told


def pictures(figures: "Mapping[str, Figure]", folder: Path, *, images: bool) -> Charts:
    """Figures by `figures/<name>`; those that the run folder holds already need not be drawn again.

    Args:
        figures: by name.
        folder: where they may lie as PNG.
        images: whether to show those with pixels of patients' images.
    """
    told: Charts = {}
    for name, figure in figures.items():
        if not images and name not in WITHOUT_PIXELS:
            continue
        path = folder / f"{name}.png"
        told[f"figures/{name}"] = wandb.Image(Image.open(path) if path.is_file() else figure)
    return told


def _of_classes(answers: Answers, split: Split, decision: Decision) -> Charts:
    facts = answers.facts
    p = read_predictions(answers.predictions[split], task=facts.task, classes=facts.classes, decision=decision)
    confusion = _table(confusion_table(p), {"true": "Actual", "predicted": "Predicted", "count": "nPredictions"})
    told = {"confusion_matrix": _chart("confusion_matrix/v1", confusion, {}, "Confusion matrix")}
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
            told[name] = _chart("area-under-curve/v0", _table(curve[list(axes.values())]), axes, title)
    return told


def _scatter(table: pd.DataFrame, name: str) -> Any:
    chosen = table.iloc[np.unique(np.linspace(0, len(table) - 1, _POINTS).astype(np.int64))]
    points = pd.DataFrame({"true": chosen[f"target/{name}"], "predicted": chosen[f"pred/{name}"]})
    return _chart("scatter/v0", _table(points), {"x": "true", "y": "predicted"}, name)


def _table(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> Any:
    named = table.rename(columns=dict(names or {}))
    rows: list[Iterable[Any]] = [list(row) for row in named.itertuples(index=False)]
    return wandb.Table(columns=list(named.columns), data=rows)


def _chart(kind: str, table: Any, fields: Mapping[str, str], title: str) -> Any:
    """A chart that W&B's server draws of a table in one of its own ways."""
    fields = dict(fields) or {name: name for name in table.columns}
    return wandb.plot_table(f"wandb/{kind}", table, fields, {"title": title})


def _pictures(images: NDArray[Any]) -> list[Image.Image]:
    told = []
    for pixels in (displayable(images) * 255).round().astype(np.uint8):
        picture = Image.fromarray(pixels)
        picture.thumbnail((_SIDE, _SIDE))
        told.append(picture)
    return told
