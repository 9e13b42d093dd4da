"""Figures: they draw for every task, and show the numbers they are given."""

import io
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import auc, confusion_matrix

from vesalius.figures import classification as figures
from vesalius.metrics.classification.calibration import CalibrationGaps
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.predictions import read_predictions

TASKS = [("binary", 2), ("multiclass", 4), ("ordinal", 3), ("multilabel", 9)]


def names(count: int) -> list[str]:
    return [f"class {k}" for k in range(count)]


def table(task: str, count: int, samples: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    if task == "multilabel":
        truth = rng.integers(0, 2, (samples, count))
        probabilities = np.clip(0.4 * truth + 0.6 * rng.random((samples, count)), 0, 1)
        targets: dict[str, Any] = {f"target/{name}": truth[:, k] for k, name in enumerate(names(count))}
    else:
        target = np.arange(samples) % count
        probabilities = rng.random((samples, count)) + 0.5 * np.eye(count)[target]
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        targets = {"target": target}
    return pd.DataFrame(
        {
            "sample_id": range(samples),
            "group_id": range(samples),
            **targets,
            **{f"prob/{name}": probabilities[:, k] for k, name in enumerate(names(count))},
        }
    )


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


@pytest.mark.parametrize(("task", "count"), TASKS)
def test_every_task_draws(task: Any, count: int) -> None:
    data, classes = table(task, count), names(count)
    metrics = classification_metrics(data, task=task, classes=classes)
    for figure in (
        figures.confusion_matrix_figure(data, task=task, classes=classes),
        figures.roc_figure(data, task=task, classes=classes, metrics=metrics),
        figures.roc_figure(data, task=task, classes=classes),
        figures.reliability_figure(data, task=task, classes=classes, metrics=metrics),
    ):
        assert png(figure).startswith(b"\x89PNG")


def test_confusion_matrix_shows_the_counts() -> None:
    data = table("multiclass", 4)
    predicted = data[[f"prob/{name}" for name in names(4)]].to_numpy().argmax(axis=1)
    figure = figures.confusion_matrix_figure(data, task="multiclass", classes=names(4))
    shown = [int(text.get_text()) for text in figure.axes[0].texts]
    assert shown == confusion_matrix(data["target"], predicted).ravel().tolist()


def test_confusion_of_labels_adds_up() -> None:
    figure = figures.confusion_matrix_figure(table("multilabel", 9), task="multilabel", classes=names(9))
    shown = np.array([int(text.get_text()) for text in figure.axes[0].texts]).reshape(9, 4)
    assert (shown.sum(axis=1) == 60).all()


def test_area_under_the_drawn_curve_is_the_auroc_of_its_legend() -> None:
    data = table("multiclass", 4)
    metrics = classification_metrics(data, task="multiclass", classes=names(4))
    axes = figures.roc_figure(data, task="multiclass", classes=names(4), metrics=metrics).axes[0]
    chance, *curves = axes.get_lines()
    assert auc(*chance.get_data()) == 0.5
    assert len(curves) == 4
    for name, curve in zip(names(4), curves, strict=True):
        entry = metrics[f"auroc/{name}"]
        assert auc(*curve.get_data()) == pytest.approx(entry["value"])
        assert f"{entry['value']:.3f}"[1:] in str(curve.get_label())
        assert f"[{entry['ci95'][0]:.3f}"[2:] in str(curve.get_label())


def test_a_class_without_positives_has_no_curve() -> None:
    data = table("multiclass", 4)
    axes = figures.roc_figure(data[data["target"] != 1], task="multiclass", classes=names(4)).axes[0]
    assert len(axes.get_lines()) == 1 + 3


def test_reliability_of_the_drawn_bins_is_the_ece_without_its_chance_part() -> None:
    data = table("multiclass", 4).assign(group_id=lambda t: t["sample_id"])
    p = read_predictions(data, task="multiclass", classes=names(4))
    square = CalibrationGaps.of(p).mean_square(np.ones((1, len(data))))[0]
    axes, histogram = figures.reliability_figure(data, task="multiclass", classes=names(4)).axes
    confidence, accuracy = axes.get_lines()[1].get_data()
    counts = np.array([bar.get_height() for bar in histogram.patches])  # type: ignore[attr-defined]
    gaps, drawn = np.asarray(accuracy) - np.asarray(confidence), counts[counts > 0]
    # Squares of single samples' gaps, which chance alone makes positive, are left out.
    sure = data[[f"prob/{name}" for name in names(4)]].to_numpy()
    single = (sure.argmax(axis=1) == data["target"]) - sure.max(axis=1)
    own = np.bincount(np.ceil(sure.max(axis=1) * 15).astype(int) - 1, single**2, 15)
    own = own[own > 0]
    several = drawn > 1
    squares = ((drawn * gaps) ** 2 - own)[several] / (drawn - 1)[several]
    assert squares.sum() / drawn[several].sum() == pytest.approx(square)


def test_history_puts_losses_and_metrics_apart() -> None:
    history = pd.DataFrame(
        {
            "epoch": range(4),
            "train/loss": 1.0,
            "val/loss": [1, np.nan, 0.7, 0.6],
            "val/auroc": 0.8,
            "lr": 1e-3,
            "note": "x",
        }
    )
    figure = figures.history_figure(history)
    labels = [[str(line.get_label()) for line in axes.get_lines()] for axes in figure.axes]
    assert labels == [["train/loss", "val/loss"], ["val/auroc"]]
    assert len(figure.axes[0].get_lines()[1].get_xdata()) == 3  # type: ignore[arg-type]
    assert png(figures.history_figure(pd.DataFrame({"epoch": []})))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_image_grid_marks_the_wrong_ones(channels: int, dtype: str) -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, channels, 8, 8)).astype(dtype)
    true = ["cyst"] * 7
    figure = figures.image_grid_figure(images, true, ["cyst"] * 6 + ["nodule"], captions=list("abcdefg"))
    framed = [axes.spines["left"].get_visible() for axes in figure.axes]
    assert framed == [False] * 6 + [True] + [False] * 5
    assert figure.axes[6].get_title() == "nodule, not\ncyst"
    assert figure.axes[0].get_title() == "cyst"
    assert png(figure)


def test_integers_keep_their_range_and_floats_are_stretched() -> None:
    for images, expected in (
        (np.uint8([[[[51]]]]), 0.2),
        (np.uint16([[[[13107]]]]), 0.2),
        (np.float32([[[[-1, 3]]]]), 0),
    ):
        shown = figures.image_grid_figure(images, ["a"], ["a"]).axes[0].get_images()[0].get_array()
        assert shown is not None
        assert float(shown.flat[0]) == pytest.approx(expected)


def test_no_global_state_of_matplotlib_is_touched() -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = pyplot.get_fignums() if pyplot else []
    figures.roc_figure(table("binary", 2), task="binary", classes=names(2))
    assert (pyplot.get_fignums() if pyplot else []) == before
