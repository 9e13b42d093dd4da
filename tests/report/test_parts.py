"""Charts, details and pictures of the report by themselves."""

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from sklearn.linear_model import LinearRegression

from report_maker import finish, write_sweep
from run_maker import predictions, rewrite_run, write_run
from vesalius.commands.report import write_report
from vesalius.data.sources.lesions import Lesions
from vesalius.metrics.formatting import format_metric, format_number
from vesalius.report.charts import Chart, Series, draw, interval_bar, ticks
from vesalius.report.content import content_of, parts_of
from vesalius.report.details import details_of
from vesalius.report.importance import grid_importance
from vesalius.report.page import page_of
from vesalius.report.pictures import Budget, add_thumbnails, figures_of
from vesalius.report.tables import plain
from vesalius.runs.find import FoundRuns, find_runs
from vesalius.terminal import command_console


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.93, 0.997), (-3, 1200), (1e-7, 3e-7), (0, 59)])
def test_ticks_are_few_round_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low <= value <= high for value in found)
    assert np.allclose(np.diff(found), found[1] - found[0])


def test_a_line_goes_through_its_points():
    svg = str(draw(Chart("c", "t", "x", "y", [Series("s", [0, 1, 2], [0.0, float("nan"), 4.0])], y_range=(0, 4))))
    x0, x1, _, _, left, right, top, bottom = map(float, re.search(r'data-frame="([^"]+)"', svg)[1].split())
    assert (x0, x1) == (0, 2)
    (path,) = re.findall(r'<path d="M([^"]+)"', svg)
    points = [tuple(map(float, point.split())) for point in path.split("L")]
    assert points == [(left, bottom), (right, top)]


def test_one_exploded_loss_does_not_flatten_all_others():
    values = [1.0 + 0.1 * (at % 3) for at in range(60)]
    values[3] = 1e6
    svg = str(draw(Chart("c", "t", "x", "y", [Series("s", list(range(60)), values)])))
    _, _, _, high, *_ = map(float, re.search(r'data-frame="([^"]+)"', svg)[1].split())
    assert high < 2


def test_names_in_a_chart_are_escaped():
    svg = str(draw(Chart("c", "<b>", "x", '"y"', [Series("<s>", [0, 1], [0, 1])])))
    assert "<b>" not in svg
    assert "<s>" not in svg


def test_an_interval_bar_shows_value_ends_and_floor_in_order():
    entry = {"value": 0.8, "ci95": [0.7, 0.85]}
    svg = str(interval_bar(entry, 0.4, 1.0, 0.5))
    floor = float(re.search(r'class="no-skill" x1="([\d.]+)"', svg)[1])
    low, high = (float(end) for end in re.search(r'class="whisker" x1="([\d.]+)" x2="([\d.]+)"', svg).groups())
    middle = float(re.search(r'cx="([\d.]+)"', svg)[1])
    assert floor < low < middle < high
    assert str(interval_bar({"value": None, "ci95": None}, 0, 1, 0.5)) == ""
    assert "no-skill" not in str(interval_bar(entry, 0.6, 1.0, 0.5))


def _details(path):
    (run,) = find_runs(path).runs
    return details_of(run, 0)


def test_the_worst_errors_are_the_surest_wrong_answers(tmp_path):
    table = predictions(0.5, 0)
    finish(write_run(tmp_path, table), [], 0.8)
    found = [entry["sample_id"] for entry in _details(tmp_path).worst]
    for_truth = np.where(table["target"] == 1, table["prob/sick"], table["prob/healthy"])
    wrong = table[for_truth < 0.5].assign(chance=for_truth[for_truth < 0.5])
    assert found == wrong.sort_values("chance")["sample_id"].head(12).tolist()


def test_calibration_points_are_shares_of_right_answers(tmp_path):
    table = predictions(0.5, 0)
    finish(write_run(tmp_path, table), [], 0.8)
    (points,) = next(chart for chart in _details(tmp_path).charts if "calibration" in chart.name).series
    sure = table[["prob/healthy", "prob/sick"]].max(axis=1)
    right = (table["prob/sick"] > 0.5) == (table["target"] == 1)
    counts = [int(note.split()[0]) for note in points.notes]
    assert sum(counts) == len(table)
    assert np.dot(counts, points.y) == pytest.approx(right.sum())
    assert np.dot(counts, points.x) == pytest.approx(sure.sum())


def test_quantities_get_a_scatter_and_the_largest_errors(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.normal(size=60)
    table = predictions(1, 0).head(60)[["sample_id", "group_id"]].assign(**{"target/age": true})
    table["pred/age"] = true + rng.normal(size=60)
    run = finish(write_run(tmp_path, predictions(1, 0)), [], 0.8, baseline=None)
    table.to_csv(run / "predictions/test.csv", index=False)
    metrics = json.loads((run / "metrics.json").read_text())
    entry = {"value": 1.0, "ci95": [0.5, 1.5], "n": 60, "groups": 30, "method": "m", "no_skill": 2.0}
    (run / "metrics.json").write_text(json.dumps({**metrics, "task": "regression", "test": {"mae": entry}}))
    details = _details(tmp_path)
    (points,) = details.charts[0].series
    assert (list(points.x), list(points.y)) == (table["target/age"].tolist(), table["pred/age"].tolist())
    worst = (table["pred/age"] - table["target/age"]).abs().idxmax()
    assert details.worst[0]["sample_id"] == table["sample_id"][worst]
    write_report(tmp_path, images=True, console=command_console())
    assert "scatter-0-0" in (tmp_path / "report.html").read_text()


def test_labels_that_go_together_are_counted_one_by_one(tmp_path):
    rng = np.random.default_rng(1)
    table = predictions(1, 0)[["sample_id", "group_id"]]
    for name in ("a", "b"):
        table = table.assign(**{f"target/{name}": rng.integers(0, 2, 80), f"prob/{name}": rng.random(80)})
    run = finish(write_run(tmp_path, predictions(1, 0)), [], 0.8, baseline=None)
    table.to_csv(run / "predictions/test.csv", index=False)
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "task": "multilabel"}))
    counts = _details(tmp_path).matrix.counts
    for name, row in zip("ab", counts, strict=True):
        has, yes = table[f"target/{name}"] == 1, table[f"prob/{name}"] > 0.5
        assert row.tolist() == [
            (has & yes).sum(),
            (has & ~yes).sum(),
            (~has & yes).sum(),
            (~has & ~yes).sum(),
        ]


@pytest.fixture
def with_data(tmp_path):
    """A run on phantoms, its predictions about real sample ids."""
    source = {"_target_": "vesalius.data.sources.Lesions", "patients": 16, "slices": 1, "image_size": 32}
    table = predictions(0.3, 0, patients=8)
    samples = Lesions(patients=16, slices=1, image_size=32).samples()
    table["sample_id"], table["group_id"] = samples["sample_id"].to_numpy(), samples["group_id"].to_numpy()
    run = finish(write_run(tmp_path / "run", table, data__source=source), [], 0.8, baseline=None)
    fingerprint = Lesions(patients=16, slices=1, image_size=32).fingerprint()
    (run / "provenance.json").write_text(json.dumps({"data": fingerprint}))
    return run


def test_worst_errors_come_with_their_images_from_the_data(with_data):
    (run,) = find_runs(with_data).runs
    worst = details_of(run, 0).worst
    assert add_thumbnails(run, worst, Budget()) is None
    assert worst
    assert all(entry["image"].startswith("data:image/") for entry in worst)
    source = Lesions(patients=16, slices=1, image_size=32)
    row = source.samples().set_index("sample_id", drop=False).loc[worst[0]["sample_id"]]
    shown = Image.open(io.BytesIO(base64.b64decode(worst[0]["image"].partition(",")[2])))
    pixels, image = np.asarray(shown.convert("L"), float), source.load(row.to_dict())[0].astype(float)
    assert np.corrcoef(pixels.ravel(), image.ravel())[0, 1] > 0.98


def test_images_are_left_out_where_the_data_are_others_or_gone(with_data):
    (with_data / "provenance.json").write_text(json.dumps({"data": "another"}))
    (run,) = find_runs(with_data).runs
    worst = details_of(run, 0).worst
    assert "The data have changed" in add_thumbnails(run, worst, Budget())
    run.config["data"]["source"] = {"_target_": "vesalius.data.sources.ImageFolder", "root": "/gone/jones"}
    reason = add_thumbnails(run, worst, Budget())
    assert "cannot be read" in reason
    assert "jones" not in reason
    assert not any("image" in entry for entry in worst)


@pytest.mark.parametrize("audit", ['{"findings": [{"check": "text_in_pixels", "samples": ["p1_s0"]}]}', "[]", "{"])
def test_where_text_was_found_no_pixels_are_shown_and_the_page_says_why(with_data, audit):
    (run,) = find_runs(with_data).runs
    for folder, names in (("figures", ("test_images", "roc", "latent_map")), ("samples", ("0001",))):
        (with_data / folder).mkdir()
        for name in names:
            Image.new("RGB", (50, 50)).save(with_data / folder / f"{name}.png")
    assert {figure["title"] for figure in figures_of(run, Budget())} == {"test images", "latent map", "0001"}
    (with_data / "audit.json").write_text(audit)
    assert [figure["title"] for figure in figures_of(run, Budget())] == ["latent map"]
    worst = details_of(run, 0).worst
    assert "text in pixels" in add_thumbnails(run, worst, Budget())
    assert not any("image" in entry for entry in worst)
    write_report(with_data, images=True, console=command_console())
    page = (with_data / "report.html").read_text()
    assert page.count("data:image/") == 1
    assert "signs of text in pixels" in page


@pytest.mark.parametrize("images", [True, False])
def test_the_page_names_rows_and_no_samples(tmp_path, images):
    table = predictions(0.5, 0)
    table["sample_id"] = "Doe^Jane_" + table["sample_id"]
    finish(write_run(tmp_path / "0", table), [], 0.8)
    write_report(tmp_path, images=images, console=command_console())
    page = (tmp_path / "report.html").read_text()
    assert "Doe^Jane" not in page
    rows = [int(row) for row in re.findall(r"<b>row (\d+)</b>", page)]
    named = [entry["sample_id"] for entry in _details(tmp_path).worst]
    assert table["sample_id"].iloc[rows].tolist() == named != []


def test_pictures_are_scaled_down_and_stop_at_the_budget(tmp_path):
    run = finish(write_run(tmp_path / "run", predictions(1, 0)), [], 0.8)
    noise = np.random.default_rng(0).integers(0, 255, (900, 2400, 3), dtype=np.uint8)
    (run / "figures").mkdir()
    for name in ("a", "b", "roc"):
        Image.fromarray(noise).save(run / "figures" / f"{name}.png")
    (run / "figures" / "broken.png").write_bytes(b"half a pict")
    (read,) = find_runs(run).runs
    budget = Budget()
    found = figures_of(read, budget)
    assert [figure["title"] for figure in found] == ["a", "b"]  # the page draws the ROC curve itself
    size = Image.open(io.BytesIO(base64.b64decode(found[0]["uri"].partition(",")[2]))).size
    assert size == (1000, 375)
    small = Budget(left=len(found[0]["uri"]) + 10)
    assert len(figures_of(read, small)) == 1
    assert small.refused == 1


def test_no_images_on_request(with_data):
    (with_data / "figures").mkdir()
    Image.new("RGB", (50, 50)).save(with_data / "figures" / "test_images.png")
    for images in (True, False):
        write_report(with_data, images=images, console=command_console())
        assert ("data:image/" in (with_data / "report.html").read_text()) == images


def test_a_study_shows_importance_and_its_trials(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=2)
    content = json.loads((path / "sweep.json").read_text())
    content["study"] = {"best": 3, "importance": {"model.optimizer.lr": 0.25, "data.batch_size": 0.75}}
    (path / "sweep.json").write_text(json.dumps(content))
    (path / "5/metrics.json").unlink()
    (path / "5/state.json").write_text(json.dumps({"state": "pruned", "reason": "median"}))
    write_report(path, images=False, console=command_console())
    page = (path / "report.html").read_text()
    assert page.index("data.batch_size") < page.index("model.optimizer.lr")
    data = json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.S)[1])
    lines = {one["name"]: one for one in data["charts"]["study"]["series"]}
    assert lines["best so far"]["y"] == pd.Series(lines["done"]["y"]).cummax().tolist()
    assert lines["pruned"]["x"] == [5]


def test_a_study_says_of_which_objective_its_importance_is_and_which_trials_none_beats(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=2)
    content = json.loads((path / "sweep.json").read_text())
    objectives = [{"name": "val/auroc", "mode": "max"}, {"name": "val/loss", "mode": "min"}]
    content["study"] = {"objectives": objectives, "best": None, "front": [1, 3], "importance": {"lr": 0.3}}
    (path / "sweep.json").write_text(json.dumps(content))
    write_report(path, images=False, console=command_console())
    page = (path / "report.html").read_text()
    assert "variance of val/auroc between trials" in page
    assert "trials that no other beats in all of val/auroc, val/loss: 1, 3." in page


def test_a_full_grid_tells_the_share_of_each_key(tmp_path):
    path = write_sweep(tmp_path / "sweep")
    (part,) = parts_of(find_runs(path))
    content = dict(grid_importance(part))
    # An oracle: how much of the variance a linear model of the key's dummies explains.
    reached = np.array([run.best[0] for run in part.runs])
    for key, levels in (("model", part.keys["model"]), ("seed", [run.seed for run in part.runs])):
        dummies = pd.get_dummies(pd.Series(levels).astype(str)).to_numpy(float)
        assert content[key] == pytest.approx(LinearRegression().fit(dummies, reached).score(dummies, reached))
    assert 0.99 < sum(content.values()) <= 1
    write_report(path, images=False, console=command_console())
    assert "between runs that a key explains by itself" in (path / "report.html").read_text()
    shutil.rmtree(path / "4")
    (part,) = parts_of(find_runs(path))
    assert grid_importance(part) == []
    write_report(path, images=False, console=command_console())
    assert "Importance takes a full grid" in (path / "report.html").read_text()


def test_every_number_is_shown_with_its_interval_and_no_skill_value(tmp_path):
    run = finish(write_run(tmp_path / "0", predictions(1, 0)), [], 0.8)
    metrics = json.loads((run / "metrics.json").read_text())
    entry = {"value": 0.7, "ci95": [0.6, 0.8], "n": 80, "groups": 40, "method": "m", "no_skill": 0.512}
    arms = {"latent": {"auroc": entry}}
    few = {"auroc": entry, "ece": {**entry, "value": None, "ci95": None, "reason": "suppressed: 4 patients"}}
    (run / "metrics.json").write_text(
        json.dumps(
            {**metrics, "probes": {"5%": arms}, "evidence": arms, "anomaly": arms, "subgroups": {"site": {"west": few}}}
        )
    )
    console = Console(width=200, record=True, file=io.StringIO())
    write_report(tmp_path, images=False, console=console)
    assert (tmp_path / "report.html").read_text().count("(no skill .512)") == 4
    assert "west (40 patients)" in (tmp_path / "report.html").read_text()
    assert "west: ece suppressed: 4 patients." in (tmp_path / "report.html").read_text()
    row = next(line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| 0 "))
    test = metrics["test"]
    assert f"(no skill {format_number(test['accuracy']['no_skill'])})" in row
    message, cheap = console.export_text(), metrics["baselines"]["logistic_pca"]["auroc"]
    assert f"logistic_pca {format_metric(cheap)}" in message
    assert "no skill" in message


@pytest.mark.parametrize(
    "text", ["[x](javascript:alert)", "_u_ *v* `w` ~~x~~", "&lt;b&gt;", "<b>", "a|b\\", "![i](u) # h"]
)
def test_markdown_shows_what_was_written(text):
    from markdown_it import MarkdownIt

    assert plain(".705 [.609,.790] logistic_pca") == ".705 [.609,.790] logistic_pca"
    (content,) = re.findall(r"<p>(.*)</p>", MarkdownIt().enable("strikethrough").render(plain(text)))
    assert html.unescape(content) == text
    assert not re.findall("<[a-z]", content)


def test_very_many_long_runs_make_no_long_page(tmp_path):
    (run,) = find_runs(finish(write_run(tmp_path / "one", predictions(1, 0)), [], 0.8)).runs
    rng = np.random.default_rng(0)
    history = [{"epoch": at, "val/auroc": rng.random(), "val/loss": rng.random()} for at in range(300)]
    runs = [replace(run, name=str(at), history=history, overrides={"lr": str(at)}) for at in range(240)]
    runs = [replace(run, config={**run.config, "lr": at}) for at, run in enumerate(runs)]
    collected = FoundRuns(tmp_path, runs, {}, [])
    parts = parts_of(collected)
    assert len(page_of(collected, parts, content_of(collected, parts), images=False)) < 3_000_000


def test_of_very_many_runs_the_best_on_validation_are_shown_in_detail(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=1, models={f"m{at}": 0.1 * at for at in range(30)})
    write_report(path, images=False, console=command_console())
    page = (path / "report.html").read_text()
    found = [int(name) for name in re.findall(r'<details id="run-0-(\d+)"', page)]
    assert found == list(range(6, 30))  # model m29 has the highest validation AUROC
    assert [int(name) for name in re.findall(r'href="#run-0-(\d+)"', page)] == found
    assert "6 more are only in the leaderboard" in page


@pytest.mark.parametrize("task", ["multiclass", "ordinal"])
def test_classes_have_the_same_details_whether_they_are_ordered_or_not(tmp_path, task):
    run = finish(write_run(tmp_path, predictions(0.5, 0)), [], 0.8, baseline=None)
    rewrite_run(run, predictions(0.5, 0), task)
    details = _details(tmp_path)
    assert [chart.name.partition("-")[0] for chart in details.charts] == ["roc", "calibration"]
    assert details.matrix is not None
    assert len(details.worst) == 12
