"""Charts of the page, as SVG of our own.

A plotting library's script would be a third of the page's allowed size (Bokeh's is 1.3 MB), has its own ideas of dark
mode and print, and would be one more thing to keep up. These few charts take one short script for hovering
(`page.js`); without it they are still there. Colours come from the page's style sheet, by class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from vesalius.metrics.entry import MetricEntry, value_and_ends

_COLOURS, _DASHES = 7, 4
_DIGIT = 7.0  # width of a digit of a tick's label


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: shown on hovering.
        x: rising.
        y: as many values.
        group: series of one group share a colour and an entry of the legend; None: its name.
        mark: position of a point to mark, such as the best epoch.
        points: draw points, not a line.
        notes: a text for each point, shown on hovering.
        size: area of each point, between 0 and 1; None: all equal.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    group: str | None = None
    mark: int | None = None
    points: bool = False
    notes: Sequence[str] = ()
    size: Sequence[float] | None = None


@dataclass(frozen=True)
class Chart:
    """A chart of lines or points.

    Attributes:
        name: unique on the page; letters, digits and hyphens.
        title: above it.
        x_label: below the axis.
        y_label: next to it.
        series: its lines.
        diagonal: whether to draw the line where x and y are equal.
        x_range: lowest and highest value; None: those of the data.
        y_range: likewise.
        square: whether it is as high as wide.
        note: below the title.
        marked: meaning of the marked points.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series] = field(default_factory=list)
    diagonal: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    square: bool = False
    note: str = ""
    marked: str = ""

    @property
    def groups(self) -> list[str]:
        """Entries of the legend."""
        return list(dict.fromkeys(one.group or one.name for one in self.series))

    @property
    def data(self) -> dict[str, Any]:
        """The points and their texts, for the script that shows them on hovering."""
        keep = [
            {"name": one.name, "x": list(map(_short, one.x)), "y": list(map(_short, one.y)), "notes": list(one.notes)}
            for one in self.series
        ]
        return {"x": self.x_label, "y": self.y_label, "series": keep}


def tag(name: str, content: str | Markup = "", **attributes: Any) -> Markup:
    """An element; everything but `Markup` is escaped. An attribute loses its trailing underscore."""
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), pairs, content)


def draw(chart: Chart, *, width: int = 440, height: int = 270) -> Markup:
    """The chart as an `svg` element; the legend is the template's.

    Args:
        chart: at least one finite point.
        width: of the drawing, in its own units; the page scales it to the space available.
        height: in the same units; ignored for square charts.
    """
    if chart.square:
        width = height = 360
    x0, x1 = chart.x_range or _range([x for one in chart.series for x in one.x], pad=0.0)
    y0, y1 = chart.y_range or _robust([y for one in chart.series for y in one.y])
    labels = max(len(_number(value)) for value in ticks(y0, y1))
    left, right, top, bottom = max(62.0, 30.0 + _DIGIT * labels), width - 14.0, 12.0, height - 42.0
    scale = _Scale(x0, x1, y0, y1, left, right, top, bottom)
    clip = f"clip-{chart.name}"
    inside = [_line(one, at, chart.groups.index(one.group or one.name), scale) for at, one in enumerate(chart.series)]
    if chart.diagonal:
        low, high = max(x0, y0), min(x1, y1)
        ends = [(scale.x(value), scale.y(value)) for value in (low, high)]
        inside.insert(0, tag("path", class_="diagonal", d="M{} {}L{} {}".format(*ends[0], *ends[1])))
    box = tag("rect", x=left - 6, y=top - 6, width=right - left + 12, height=bottom - top + 12)
    parts = [
        tag("title", f"{chart.title}: {chart.y_label} over {chart.x_label}"),
        tag("defs", tag("clipPath", box, id=clip)),
        *_axes(scale, chart),
        tag("g", Markup("").join(inside), clip_path=f"url(#{clip})"),
        tag("circle", class_="cursor", r=5, cx=-20, cy=-20),
    ]
    frame = " ".join(f"{value:g}" for value in (x0, x1, y0, y1, left, right, top, bottom))
    return tag(
        "svg",
        Markup("").join(parts),
        class_="chart",
        role="img",
        tabindex=0,
        data_chart=chart.name,
        data_frame=frame,
        viewBox=f"0 0 {width} {height}",
    )


def interval_bar(metric: MetricEntry, low: float, high: float, no_skill: float | None) -> Markup:
    """A point with its interval on a short axis, and a tick at the no-skill value if it lies there.

    Args:
        metric: its entry.
        low: left end of the axis.
        high: right end.
        no_skill: the no-skill value.
    """
    width, middle = 150, 8
    if (known := value_and_ends(metric)) is None:
        return Markup("")
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(5 + (min(max(value, low), high) - low) / span * (width - 10), 1)

    parts = [tag("line", class_="rule", x1=5, x2=width - 5, y1=middle, y2=middle)]
    if no_skill is not None and low <= no_skill <= high:
        parts.append(tag("line", class_="no-skill", x1=at(no_skill), x2=at(no_skill), y1=1, y2=15))
    value, first, last = map(at, known)
    parts.append(tag("line", class_="whisker", x1=first, x2=last, y1=middle, y2=middle))
    parts.append(tag("circle", class_="dot", cx=value, cy=middle, r=4))
    return tag("svg", Markup("").join(parts), class_="bar", viewBox=f"0 0 {width} 16", width=width, height=16)


@dataclass(frozen=True)
class _Scale:
    """From data to drawing units."""

    x0: float
    x1: float
    y0: float
    y1: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        return round(self.left + (value - self.x0) / (self.x1 - self.x0) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        # A loss that exploded is drawn at the edge.
        place = self.bottom - (value - self.y0) / (self.y1 - self.y0) * (self.bottom - self.top)
        return round(min(max(place, -1000.0), 2000.0), 1)


def _line(one: Series, at: int, group: int, scale: _Scale) -> Markup:
    known = [(x, y) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
    style = f"series c{group % _COLOURS} d{group // _COLOURS % _DASHES}"
    parts: list[Markup] = []
    if one.points:
        sizes = one.size or [0.25] * len(one.x)
        parts = [
            tag("circle", cx=scale.x(x), cy=scale.y(y), r=round(2 + 7 * math.sqrt(size), 1))
            for x, y, size in zip(one.x, one.y, sizes, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        ]
    elif len(known) == 1:
        parts = [tag("circle", cx=scale.x(known[0][0]), cy=scale.y(known[0][1]), r=3)]
    elif known:
        path = "M" + "L".join(f"{scale.x(x):g} {scale.y(y):g}" for x, y in known)
        parts = [tag("path", d=path)]
    if one.mark is not None and math.isfinite(one.y[one.mark]):
        parts.append(tag("circle", class_="mark", cx=scale.x(one.x[one.mark]), cy=scale.y(one.y[one.mark]), r=4))
    return tag("g", Markup("").join(parts), class_=style, data_series=at, data_group=group)


def _axes(scale: _Scale, chart: Chart) -> list[Markup]:
    parts: list[Markup] = []
    for value in ticks(scale.y0, scale.y1):
        place = scale.y(value)
        parts.append(tag("line", class_="grid", x1=scale.left, x2=scale.right, y1=place, y2=place))
        parts.append(tag("text", _number(value), class_="tick", x=scale.left - 8, y=place + 4, text_anchor="end"))
    for value in ticks(scale.x0, scale.x1):
        place = scale.x(value)
        parts.append(tag("line", class_="axis", x1=place, x2=place, y1=scale.bottom, y2=scale.bottom + 4))
        parts.append(tag("text", _number(value), class_="tick", x=place, y=scale.bottom + 17, text_anchor="middle"))
    parts.append(tag("line", class_="axis", x1=scale.left, x2=scale.right, y1=scale.bottom, y2=scale.bottom))
    middle, half = (scale.left + scale.right) / 2, (scale.top + scale.bottom) / 2
    parts.append(tag("text", chart.x_label, class_="label", x=middle, y=scale.bottom + 35, text_anchor="middle"))
    turned = f"rotate(-90 14 {half:g})"
    parts.append(tag("text", chart.y_label, class_="label", x=14, y=half, text_anchor="middle", transform=turned))
    return parts


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _range(values: Sequence[float], pad: float) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    span = (high - low) or max(abs(high), 1.0) * 0.1
    if high == low:
        return low - span / 2, high + span / 2
    return low - pad * span, high + pad * span


def _robust(values: Sequence[float]) -> tuple[float, float]:
    """The range of the data, cut where a few values lie far above all others."""
    finite = sorted(value for value in values if math.isfinite(value))
    if len(finite) >= 20:
        low, high = finite[0], finite[int(0.95 * (len(finite) - 1))]
        if finite[-1] - low > 4 * (high - low) > 0:
            finite = [low, high + 0.3 * (high - low)]
    return _range(finite, pad=0.04)


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 else f"{value:.0e}"


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
