"""Charts of what a classifier's decisions are worth: net benefit, and accuracy where the rest is left to a person."""

from collections.abc import Mapping
from typing import Any

from vesalius.metrics.formatting import format_number
from vesalius.report.charts import Chart, Series

_MOST_CLASSES = 6
_BAND = "95 % interval"


def decision_charts(results: Mapping[str, Any], number: int) -> list[Chart]:
    """The charts of a run that has such parts; none of one that does not.

    Args:
        results: its `metrics.json`, as `vesalius.runs.reading` returns it.
        number: of the run in the report, part of the names of the charts.
    """
    curves = list((results.get("decision_curve") or {}).items())[:_MOST_CLASSES]
    charts = [_net_benefit(name, curve, f"net-benefit-{number}-{at}") for at, (name, curve) in enumerate(curves)]
    if curve := results.get("abstention"):
        kept, accuracy = curve["kept"], curve["accuracy"]
        title, labels = "Accuracy where the rest is left to a person", ("share kept, the surest", "accuracy")
        series = _with_band("accuracy", kept, accuracy)
        charts.append(Chart(f"abstention-{number}", title, *labels, series, x_range=(0.0, 1.0), note=_note(curve)))
    return charts


def _net_benefit(name: str, curve: Mapping[str, Any], chart: str) -> Chart:
    at, model, everyone = curve["thresholds"], curve["model"], curve["treat_all"]["value"]
    top = max(model["high"])
    bottom = -0.35 * abs(top) - 0.01
    drawn = [place for place, value in enumerate(everyone) if value >= bottom] or [0]
    all_series = Series("treat all", [at[place] for place in drawn], [everyone[place] for place in drawn])
    series = [*_with_band("model", at, model), all_series, Series("treat none", [at[0], at[-1]], [0.0, 0.0])]
    bounds: Any = {"x_range": (0.0, 1.0), "y_range": (bottom, 1.08 * abs(top) + 0.01)}
    return Chart(
        chart, f"Net benefit: {name}", "threshold probability", "net benefit", series, note=_note(curve), **bounds
    )


def _with_band(name: str, x: list[float], curve: Mapping[str, list[float]]) -> list[Series]:
    """A line, and the two ends of its interval."""
    order = sorted(range(len(x)), key=x.__getitem__)
    ends = [[curve[end][place] for place in order] for end in ("value", "low", "high")]
    rising = [x[place] for place in order]
    notes = [f"[{format_number(low)},{format_number(high)}]" for low, high in zip(ends[1], ends[2], strict=True)]
    line = Series(name, rising, ends[0], notes=notes)
    return [
        line,
        *(Series(f"{_BAND}, {end}", rising, y, group=_BAND) for end, y in zip(("low", "high"), ends[1:], strict=True)),
    ]


def _note(curve: Mapping[str, Any]) -> str:
    groups = curve.get("groups")
    count = groups if isinstance(groups, int) else max(groups or [0])
    return f"95 % intervals over {count} test patients"
