"""The report as one HTML page that needs no network; every name in it is escaped."""

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from vesalius.config.diagnose import format_list
from vesalius.config.errors import InputError
from vesalius.metrics.decision.summary import summarize_decision
from vesalius.metrics.formatting import (
    describe_extractor,
    format_metric,
    format_number,
    format_with_no_skill,
    summarize_synthetic_images,
)
from vesalius.metrics.subgroups import describe_suppressed, patient_count
from vesalius.report.charts import Chart, Series, draw, interval_bar
from vesalius.report.content import Part
from vesalius.report.details import Details, details_of
from vesalius.report.importance import grid_importance, grid_keys
from vesalius.report.pictures import HIDDEN, Budget, add_thumbnails, figures_of, read_asset
from vesalius.report.tables import columns_of, shows_arms, to_json
from vesalius.runs.differences import label_differences
from vesalius.runs.find import FoundRuns
from vesalius.runs.redaction import text_was_found
from vesalius.runs.run import Run

logger = logging.getLogger("vesalius")

_DIFF_RUNS, _DIFF_KEYS, _DETAILED = 16, 80, 24
_NO_GRID = "Importance takes a full grid: every combination of values, finished equally often."
_EPOCHS, _POINTS = 300, 6_000  # of a run, and of all runs of a chart


def page_of(collected: FoundRuns, parts: Sequence[Part], content: Mapping[str, Any], *, images: bool = True) -> str:
    """The page as text.

    Args:
        collected: the runs.
        parts: the same by task.
        content: `content_of` of these.
        images: whether to show figures, and the images of worst errors.
    """
    charts: list[Chart] = []

    def draw_chart(chart: Chart) -> Markup:
        charts.append(chart)
        return draw(chart)

    budget = Budget()
    sections = [
        _section(part, of_part, at, budget, images)
        for at, (part, of_part) in enumerate(zip(parts, content["parts"], strict=True))
    ]
    body = _template().render(
        draw_chart=draw_chart,
        content=content,
        sections=sections,
        study=_study(collected, parts),
        diff=_diff(collected.runs),
        origin=_origin(collected.runs),
        refused=budget.refused,
        style=Markup(read_asset("page.css")),
        script=Markup(read_asset("page.js")),
        data=Markup("<!--data-->"),
    )
    # The charts are known once the template has drawn them.
    data = to_json({**content, "charts": {chart.name: chart.data for chart in charts}})
    return body.replace("<!--data-->", data)


@functools.cache
def _template() -> Template:
    """The template, compiled once."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(read_asset))
    environment.filters |= {"metric": format_metric, "with_no_skill": format_with_no_skill, "number": format_number}
    environment.globals |= {"interval_bar": interval_bar}
    return environment.get_template("page.html.j2")


def _section(part: Part, content: Mapping[str, Any], number: int, budget: Budget, images: bool) -> dict[str, Any]:
    """Values for the template: one part of the report."""
    keys, metrics = columns_of(content)
    runs = _runs(part, number, budget, images)
    entries = [row["test"][part.metric] for row in content["rows"] if part.metric in row["test"]]
    entries += [arm["test"] for arm in content["arms"] if arm["test"]]
    ends = [end for entry in entries if entry["ci95"] for end in entry["ci95"]] or [0.0, 1.0]
    return {
        "part": content,
        "title": part.task.replace("_", " ") or "runs",
        "columns": keys,
        "metrics": metrics,
        "low": min(ends),
        "high": max(ends),
        "arms": shows_arms(content),
        "curves": _curves(part, number),
        "runs": runs,
        "detailed": {entry["at"] for entry in runs},
        "undetailed": sum(bool(row["test"]) for row in content["rows"]) - len(runs),
    }


def _curves(part: Part, number: int) -> list[Chart]:
    """The monitored metric and the losses of all runs, over epochs; an arm has one colour."""
    of_run = {id(run): arm.name for arm in part.arms for run in arm.runs if len(part.arms) > 1}
    columns = dict.fromkeys(name for run in part.runs for row in run.history for name in row)
    wanted = dict.fromkeys([part.monitor, "val/loss", "train/loss"])
    runs = [run for run in part.runs if run.history]
    most = min(_EPOCHS, max(2, _POINTS // max(1, len(runs))))
    charts = []
    for at, name in enumerate(name for name in wanted if name in columns):
        series = [_curve(run, name, of_run.get(id(run)), most, best=name == part.monitor) for run in runs]
        series = [one for one in series if one.x]
        marked = "ring: best epoch" if name == part.monitor else ""
        charts.append(Chart(f"curve-{number}-{at}", name, "epoch", name, series, marked=marked))
    return charts


def _curve(run: Run, name: str, group: str | None, most: int, *, best: bool) -> Series:
    """At most `most` points of a run's history, and the best and last epoch."""
    known = [(row.get("epoch", float(at)), row[name]) for at, row in enumerate(run.history) if name in row]
    step = max(1, -(-len(known) // most))
    at_best = run.best[1] if best and run.best else None
    kept = [pair for at, pair in enumerate(known) if at % step == 0 or at == len(known) - 1 or pair[0] == at_best]
    x, y = [pair[0] for pair in kept], [pair[1] for pair in kept]
    return Series(run.name, x, y, group=group, mark=x.index(at_best) if at_best in x else None)


def _runs(part: Part, number: int, budget: Budget, images: bool) -> list[dict[str, Any]]:
    """Details of the best finished runs, in the order of the leaderboard; the best run takes its pictures first."""
    finished = [(at, run) for at, run in enumerate(part.runs) if run.results is not None]
    best = part.best
    sign = -1 if part.mode == "max" else 1
    finished.sort(key=lambda pair: (pair[1] is not best, sign * (pair[1].best or (sign * math.inf,))[0]))
    shown = []
    for at, run in finished[:_DETAILED]:
        try:
            details = details_of(run, number * 10_000 + at)
        except InputError as error:
            logger.warning("%s: %s", run.name, error)
            part.notes.append(f"{run.name}: {error}")
            details = Details()
        hidden = HIDDEN if run.folder and text_was_found(run.folder.path) else None
        why = (add_thumbnails(run, details.worst, budget) if run is best else hidden) if images else None
        figures = figures_of(run, budget) if images else []
        shown.append({"at": at, "run": run, "details": details, "figures": figures, "why": why, **_tables(run)})
        shown[-1]["series"] = run.folder is not None and (run.folder.figures / "test_series.png").is_file()
    return sorted(shown, key=lambda entry: entry["at"])


def _tables(run: Run) -> dict[str, Any]:
    """All numbers of a run: metrics with those of the baselines, and further measurements."""
    results = run.results or {}
    test = results["test"]
    overall = [name for name in test if "/" not in name]
    per_class = [name for name in test if "/" in name]
    more: list[dict[str, Any]] = []
    for title in ("evidence", "anomaly"):
        if results.get(title):
            more.append(_entries(title if title == "evidence" else "anomaly score", results[title]))
    for part, arms in (results.get("probes") or {}).items():
        more.append(_entries(f"probes: {part} of labels", arms))
    more += [_subgroups(column, values) for column, values in (results.get("subgroups") or {}).items()]
    return {
        "overall": overall,
        "per_class": per_class,
        "test": test,
        "baselines": results.get("baselines") or {},
        "more": more,
        "sentences": [*filter(None, [describe_extractor(results)]), *_sentences(results)],
    }


def _sentences(results: Mapping[str, Any]) -> list[str]:
    return [*summarize_decision(results), *summarize_synthetic_images(results)]


def _entries(title: str, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm if "/" not in name))
    return {"title": title, "columns": names, "rows": arms, "notes": []}


def _subgroups(column: str, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics by the values of a column; each value names its patients."""
    rows = {f"{value} ({patient_count(entries)} patients)": entries for value, entries in values.items()}
    return {**_entries(f"by {column}", rows), "notes": describe_suppressed(values)}


def _study(collected: FoundRuns, parts: Sequence[Part]) -> dict[str, Any] | None:
    """Importance of keys, in a sampler's study or in a grid, and the progress of the trials."""
    study = collected.sweep.get("study")
    if not study:
        return _grid(parts, swept=bool(collected.sweep))
    ranked = sorted(study["importance"].items(), key=lambda pair: -pair[1])
    of = study["objectives"][0] if study["objectives"] else "the objective"
    return {
        "title": "Study",
        "best": study.get("best"),
        "front": study["front"],
        "objectives": study["objectives"],
        "importance": ranked,
        "importance_of": f"share of the variance of {of} between trials",
        "why": None if ranked else "Importance takes at least four finished trials with different results.",
        "chart": _trials(collected.runs),
    }


def _grid(parts: Sequence[Part], *, swept: bool) -> dict[str, Any] | None:
    """Importance of the keys of a sweep without a sampler; None for one key only, or several tasks."""
    (part, *others) = parts
    if others or len(grid_keys(part)) < 2:
        return None
    importance = grid_importance(part)
    if not (importance or swept):
        return None
    return {
        "title": "Which keys matter",
        "best": None,
        "front": [],
        "objectives": [],
        "importance": importance,
        "importance_of": f"share of the variance of the best {part.monitor} between runs that a key explains by itself",
        "why": None if importance else _NO_GRID,
        "chart": None,
    }


def _trials(runs: Sequence[Run]) -> Chart | None:
    """Chart of what each trial reached on validation; a pruned one, until it was stopped."""
    name, mode = next((run.monitor for run in runs if run.config), ("", "max"))
    reached: dict[str, list[tuple[float, float]]] = {"done": [], "pruned": []}
    for run in runs:
        if run.state in reached and run.name.isdigit() and run.best is not None:
            reached[run.state].append((float(run.name), run.best[0]))
    if not reached["done"]:
        return None
    trials, values = zip(*reached["done"], strict=True)
    best = (np.maximum if mode == "max" else np.minimum).accumulate(values).tolist()
    lines = [Series("best so far", trials, best), Series("done", trials, values, points=True)]
    if reached["pruned"]:
        trials, values = zip(*reached["pruned"], strict=True)
        lines.append(Series("pruned", trials, values, points=True))
    return Chart("study", f"{name} of each trial", "trial", name, lines)


def _diff(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Keys in which the frozen configs differ, with their values."""
    shown = [run for run in runs if run.config][:_DIFF_RUNS]
    keys = label_differences(shown) if len(shown) > 1 else {}
    if not keys:
        return None
    rows = [(key, [value.strip('"') for value in values]) for key, values in keys.items()][:_DIFF_KEYS]
    left_out = len(keys) - len(rows)
    return {
        "runs": [run.name for run in shown],
        "rows": rows,
        "left_out": left_out,
        "more_runs": sum(bool(run.config) for run in runs) - len(shown),
    }


def _origin(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Code, packages, hardware and data of the runs; all values where runs differ."""
    origins = [run.provenance for run in runs if run.provenance]

    def every(read: Any) -> str:
        values = dict.fromkeys(str(text) for one in origins if (text := read(one)))
        return format_list(values, most=4, separator="; ")

    rows = [
        ("commit", every(_commit)),
        ("packages", every(lambda one: ", ".join(f"{name} {v}" for name, v in one.get("packages", {}).items()))),
        ("python", every(lambda one: one.get("python"))),
        ("hardware", every(_hardware)),
        ("data fingerprint", every(lambda one: one.get("data"))),
    ]
    if len(origins) == 1:
        rows.append(("command", " ".join(map(str, origins[0].get("command") or []))))
    return [(name, text) for name, text in rows if text]


def _commit(one: Mapping[str, Any]) -> str:
    code = one.get("code") or {}
    changed = " with uncommitted changes" if code.get("uncommitted") else ""
    return f"{code['commit']}{changed}" if code.get("commit") else ""


def _hardware(one: Mapping[str, Any]) -> str:
    hardware = one.get("hardware") or {}
    gpus = ", ".join(map(str, hardware.get("gpus") or [])) or "no GPU"
    return (
        f"{hardware.get('system')} {hardware.get('machine')}, {hardware.get('cores')} cores, {gpus}" if hardware else ""
    )
