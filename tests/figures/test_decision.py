"""Figures of decisions show what `metrics.json` holds."""

import pytest

from vesalius.figures import abstention_figure, decision_curve_figure

CURVE = {"value": [0.3, 0.2, 0.1], "low": [0.1, 0.1, -0.1], "high": [0.5, 0.4, 0.3]}
NET_BENEFIT = {"thresholds": [0.1, 0.2, 0.3], "model": CURVE, "treat_all": CURVE, "useful": [0.1]}


@pytest.mark.parametrize("classes", [1, 2, 5, 20])
def test_decision_curves_have_a_panel_for_each_class(classes):
    figure = decision_curve_figure({f"c{k}": NET_BENEFIT for k in range(classes)})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == min(classes, 12)
    for axes in shown:
        model, everyone, nobody = axes.get_lines()
        assert model.get_ydata().tolist() == CURVE["value"]
        assert everyone.get_xdata().tolist() == NET_BENEFIT["thresholds"]
        assert set(nobody.get_ydata()) == {0}


def test_the_abstention_curve_runs_from_all_samples_to_the_surest():
    figure = abstention_figure({"kept": [1.0, 0.5, 0.2], "accuracy": CURVE})
    (axes,) = figure.axes
    assert axes.get_xlim() == (1, 0)
    assert axes.get_lines()[0].get_ydata().tolist() == CURVE["value"]
