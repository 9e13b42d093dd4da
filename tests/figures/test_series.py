"""Figures of series and of ablations: drawn without an error, and they show what was asked for."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.figures.regression import scatter_figure
from vesalius.figures.series import (
    FRAMES_SHOWN,
    ablation_figure,
    filmstrip_figure,
    trajectory_figure,
)


def metric(value):
    low_high = None if value is None else [value - 0.1, value + 0.1]
    return {"auroc": {"value": value, "ci95": low_high, "n": 9, "groups": 9, "method": "m", "no_skill": 0.5}}


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def test_a_filmstrip_shows_first_and_last_frame_with_their_times():
    random = np.random.default_rng(0)
    series = [random.integers(0, 255, (length, 1, 6, 6)).astype(np.uint8) for length in (1, 5, 30)]
    times = [[10.0 * number for number in range(len(frames))] for frames in series]
    figure = filmstrip_figure(series, ["one", "five", "thirty"], times=times, wrong=[False, True, False])
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 1 + 5 + FRAMES_SHOWN
    assert {"0 s", "40 s", "290 s", "thirty"} <= texts(figure)


@pytest.mark.parametrize("with_curves", [True, False])
def test_ablations_are_drawn_as_arms_and_curves(with_curves):
    ablations = {"model": metric(0.9), "time_shuffled": metric(0.6), "absent": metric(None)}
    if with_curves:
        ablations |= {f"first_frames/{count}": metric(0.5 + count / 50) for count in (12, 2, 6)}
        ablations |= {"frames_dropped/50": metric(0.8)}
    figure = ablation_figure(ablations, "auroc")
    assert len(figure.axes) == (3 if with_curves else 1)
    assert {"time shuffled", "model"} <= texts(figure)
    if with_curves:
        assert list(figure.axes[1].lines[0].get_xdata()) == [2, 6, 12]


def test_a_scatter_has_a_panel_for_each_target():
    random = np.random.default_rng(1)
    names = ["peak", "slope", "late"]
    table = pd.DataFrame({f"{kind}/{name}": random.random(20) for kind in ("target", "pred") for name in names})
    figure = scatter_figure(table, names, {"r2/peak": metric(0.7)["auroc"]})
    assert len(figure.axes) == 3
    assert any(text.startswith("peak") and ".700" in text for text in texts(figure))
    np.testing.assert_allclose(figure.axes[1].collections[0].get_offsets()[:, 0], table["target/slope"])


def test_trajectories_stop_at_the_last_real_frame():
    states = np.random.default_rng(2).normal(size=(6, 9, 5))
    states[:3, 4:] = 1e6  # padding, which must not be seen
    figure = trajectory_figure(states, [4, 4, 4, 9, 9, 9], [0, 0, 0, 1, 1, 1], ["short", "long"])
    lines = [line for line in figure.axes[0].lines if line.get_label() in ("short", "long")]
    assert [len(line.get_xdata()) for line in lines] == [4, 9]
    assert np.abs(figure.axes[0].get_xlim()).max() < 100


def test_what_takes_nothing_from_a_series_is_not_among_the_arms():
    figure = ablation_figure({"model": metric(0.9), "without_duplicates": metric(0.8)}, "auroc")
    assert "model" in texts(figure)
    assert "without duplicates" not in texts(figure)


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression"])
def test_the_notebook_draws_growing_certainty_of_every_task(task, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    notebook = json.loads((Path(__file__).parents[2] / "notebooks" / "image_series.ipynb").read_text())
    (cell,) = [source for each in notebook["cells"] if "predict_steps" in (source := "".join(each["source"]))]
    steps = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4, 4, 2, 3, 1])
    target = {
        "binary": torch.tensor([0, 1, 1, 0, 1]),
        "multilabel": torch.tensor([[1.0, 0], [1, 1], [0, 0], [0, 1], [0, 0]]),
        "regression": torch.full((5, 2), 2.0),
    }[task]
    names = {
        "torch": torch,
        "model": SimpleNamespace(predict_steps=lambda batch: steps),
        "batch": {"target": target, "mask": torch.arange(4) < lengths[:, None]},
        "facts": SimpleNamespace(task=task, classes=("a", "b"), single_label=task == "binary"),
    }
    exec(cell, names)
    lines = [line.get_ydata() for line in names["axes"].lines]
    assert len(lines) == 2
    third = {  # after the third frame, which series 0, 1 and 3 have
        "binary": [steps[[0, 3], 2, 0].mean(), steps[[1], 2, 1].mean()],
        "multilabel": [steps[[0, 1], 2, 0].mean(), steps[[1, 3], 2, 1].mean()],
        "regression": list(2 - steps[[0, 1, 3], 2].mean(0)),
    }[task]
    np.testing.assert_allclose([line[2] for line in lines], third, rtol=1e-6)
