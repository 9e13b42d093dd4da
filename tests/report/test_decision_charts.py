"""The page shows what a run's decisions are worth, of runs that have it."""

import json

from report_maker import finish
from run_maker import CLASSES, predictions, write_run
from vesalius.config.facts import Facts
from vesalius.evaluation.decision import DecisionOptions, fit_decision, score_decision
from vesalius.report.content import content_of, parts_of
from vesalius.report.details import details_of
from vesalius.report.page import page_of
from vesalius.runs.find import find_runs

CHARTS = ["Net benefit: sick", "Accuracy where the rest is left to a person"]


def write_both(path):
    """A run of today, and one of an older version without these parts."""
    for name in ("new", "old"):
        finish(write_run(path / name, predictions(1.5, 0)), [f"name={name}"], 0.8)
    facts = Facts("binary", tuple(CLASSES), 1, (8, 8), 255, (1, 1), 1, (0.0,), (1.0,))
    fitted = fit_decision(predictions(1.5, 1, first=40), facts, DecisionOptions("argmax"), "argmax")
    file = path / "new/metrics.json"
    metrics = json.loads(file.read_text())
    file.write_text(json.dumps(metrics | score_decision(predictions(1.5, 0), facts, fitted)))
    return path


def test_a_run_has_its_charts_and_sentences_and_an_older_one_has_none(tmp_path):
    collected = find_runs(write_both(tmp_path))
    by_name = {run.name: run for run in collected.runs}
    new, old = (details_of(by_name[name], at) for at, name in enumerate(("new", "old")))
    titles = [[chart.title for chart in one.charts] for one in (new, old)]
    assert titles[0] == titles[1] + CHARTS
    reliability = next(chart for chart in new.charts if chart.title == "Calibration")
    assert [one.name.split("  ")[0] for one in reliability.series] == ["before calibration", "after"]
    for chart in new.charts[-2:]:
        for series in chart.series:
            assert list(series.x) == sorted(series.x)
            assert len(series.x) == len(series.y) > 1
    parts = parts_of(collected)
    page = page_of(collected, parts, content_of(collected, parts), images=False)
    assert page.count("calibrated on validation (temperature") == 1
    for title in CHARTS:
        assert title in page
