"""A report of made-up runs: its numbers, against independent ones; and what it does with runs that are not done."""

import csv
import html
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, confusion_matrix, roc_auc_score, roc_curve

from report_maker import finish, write_history, write_sweep
from run_maker import predictions, write_run
from vesalius.commands.report import write_report
from vesalius.config.errors import InputError
from vesalius.metrics.comparison.arms import combine
from vesalius.metrics.comparison.repeats import repeated_difference, repeated_metric
from vesalius.metrics.formatting import format_metric, format_with_no_skill
from vesalius.metrics.intervals.transforms import Scale
from vesalius.report.content import content_of, parts_of
from vesalius.report.tables import leaderboard
from vesalius.runs.find import find_runs
from vesalius.terminal import command_console

KIND = {"metric": "auroc", "task": "binary", "classes": ["healthy", "sick"]}


def report_content(path: Path) -> dict:
    collected = find_runs(path)
    return content_of(collected, parts_of(collected))


def page_data(page: str) -> dict:
    """What the page holds as JSON."""
    (text,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.S)
    return json.loads(text)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    path = write_sweep(tmp_path_factory.mktemp("runs") / "2026-11-23_10-00-00-aaaa")
    write_report(path, images=True, console=command_console())
    return path


@pytest.fixture(scope="module")
def page(sweep) -> str:
    return (sweep / "report.html").read_text()


def test_numbers_equal_those_recomputed_from_the_predictions(sweep, page):
    data = page_data(page)
    (part,) = data["parts"]
    assert len(part["rows"]) == 9
    for row in part["rows"]:
        table = pd.read_csv(sweep / row["run"] / "predictions/test.csv")
        values = {name: entry["value"] for name, entry in row["test"].items()}
        assert values["auroc"] == pytest.approx(roc_auc_score(table["target"], table["prob/sick"]))
        assert values["average_precision"] == pytest.approx(
            average_precision_score(table["target"], table["prob/sick"])
        )
        assert values["accuracy"] == pytest.approx(accuracy_score(table["target"], table["prob/sick"] > 0.5))
        cheap = pd.read_csv(sweep / row["run"] / "predictions/baselines/logistic_pca.csv")
        assert row["baseline"]["value"] == pytest.approx(roc_auc_score(cheap["target"], cheap["prob/sick"]))
        assert row["seconds"] == 12.3


def test_seeds_are_taken_together_and_arms_paired(sweep, page):
    (part,) = page_data(page)["parts"]
    assert [arm["arm"] for arm in part["arms"]] == ["resnet18", "vgg16", "cnn"]  # best on validation first
    tables = {
        name: [predictions(quality, seed) for seed in range(3)]
        for name, quality in {"cnn": 0.8, "resnet18": 2.0, "vgg16": 1.2}.items()
    }
    for arm in part["arms"]:
        values = [roc_auc_score(table["target"], table["prob/sick"]) for table in tables[arm["arm"]]]
        assert arm["test"]["value"] == pytest.approx(np.mean(values))
        whole = repeated_metric(tables[arm["arm"]], **KIND)
        assert arm["test"]["ci95"] == pytest.approx(whole["ci95"])
    other = part["arms"][2]["difference"]
    expected = repeated_difference(tables["cnn"], tables["resnet18"], **KIND, differences=3)
    assert (other["value"], other["ci95"]) == (pytest.approx(expected["value"]), pytest.approx(expected["ci95"]))
    assert other["ci95"][0] < repeated_difference(tables["cnn"], tables["resnet18"], **KIND)["ci95"][0]
    assert "No evidence of a gain: auroc of cnn minus that of resnet18" in part["arms"][2]["verdict"]
    assert any("differences of all 3 pairs of arms are widened" in note for note in part["notes"])


def test_the_headline_is_of_the_best_on_validation_not_on_test(tmp_path):
    for number, (quality, best) in enumerate([(3.0, 0.6), (0.5, 0.9)]):
        run = write_run(tmp_path / str(number), predictions(quality, 0), model__kind=f"m{number}")
        finish(run, [f"model=m{number}"], best)
    (part,) = report_content(tmp_path)["parts"]
    assert part["headline"].startswith("Best by val/auroc: m1, with a test auroc of")
    value = part["rows"][1]["test"]["auroc"]["value"]
    assert f"{value:.3f}".lstrip("0") in part["headline"]
    for words in ("no skill .500", "best cheap baseline logistic_pca", "40 test patients, 80 samples"):
        assert words in part["headline"]


def test_the_headline_says_so_where_the_best_on_validation_lacks_the_metric(tmp_path):
    for number in range(2):
        run = write_run(tmp_path / str(number), predictions(1.0, 0), model__kind=f"m{number}")
        finish(run, [f"model=m{number}"], 0.6 + number / 10)
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test"]["auroc"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    (part,) = report_content(tmp_path)["parts"]
    assert part["headline"] == "Best by val/auroc: m1, which has no test auroc (2 done)."


def test_folds_are_put_together_so_that_each_patient_counts_once(tmp_path):
    parts = []
    for fold in range(4):
        table = predictions(1.5, fold, patients=12, first=12 * fold)
        parts.append(table)
        run = write_run(tmp_path / str(fold), table, data__fold=fold, data__folds=4)
        finish(run, [f"data.fold={fold}", "data.folds=4"], 0.8, baseline=None)
    (part,) = report_content(tmp_path)["parts"]
    (arm,) = part["arms"]
    of_folds = [roc_auc_score(table["target"], table["prob/sick"]) for table in parts]
    assert arm["test"]["value"] == pytest.approx(np.mean(of_folds))
    assert (arm["test"]["groups"], arm["test"]["n"]) == (48, 96)


def test_seeds_with_test_patients_of_their_own_are_compared_seed_by_seed(tmp_path):
    values: dict[str, list[float]] = {"a": [], "b": []}
    for number, (model, seed) in enumerate([(model, seed) for model in "ab" for seed in range(3)]):
        table = predictions({"a": 1.0, "b": 2.0}[model], seed, first=5 * seed)
        values[model].append(roc_auc_score(table["target"], table["prob/sick"]))
        run = write_run(tmp_path / str(number), table, seed=seed, model__kind=model)
        finish(run, [f"model={model}", f"seed={seed}"], 0.7 if model == "a" else 0.8)
    (part,) = report_content(tmp_path)["parts"]
    best, other = part["arms"]
    assert best["test"]["value"] == pytest.approx(np.mean(values["b"]))
    assert other["difference"]["value"] == pytest.approx(np.mean(values["a"]) - np.mean(values["b"]))
    assert "own test patients" in best["test"]["method"]
    singles = [row["test"]["auroc"]["ci95"] for row in part["rows"] if row["values"]["model"] == "b"]
    assert best["test"]["ci95"][1] - best["test"]["ci95"][0] >= 0.9 * np.mean([high - low for low, high in singles])


def test_an_interval_of_separate_repeats_keeps_the_bounds_and_grows_with_their_spread():
    def entry(value, half):
        return {"value": value, "ci95": [value - half, value + half], "n": 9, "groups": 9, "no_skill": 0.5}

    share = Scale("logit", 0.0, 1.0)
    alike, apart = (
        combine([entry(value, 0.02) for value in values], share) for values in ([0.9] * 3, [0.8, 0.9, 0.97])
    )
    assert alike["ci95"] == pytest.approx([0.88, 0.92], abs=0.002)
    assert apart["ci95"][0] < 0.8
    assert 0.95 < apart["ci95"][1] < 1
    none = combine([{**entry(0.9, 0.1), "value": None, "ci95": None, "reason": "no sample"}, entry(0.8, 0.1)], share)
    assert (none["value"], none["reason"]) == (None, "no sample")


def test_cells_of_the_leaderboard_stand_below_their_names_whatever_the_metric(tmp_path):
    for number, state in enumerate(["failed", "interrupted"]):
        write_run(tmp_path / "unfinished" / str(number), predictions(1.0, number), seed=number, state=state)
    monitor = {"name": "val/recall/sick", "mode": "max"}
    run = write_run(tmp_path / "of_a_class" / "0", predictions(1.0, 0), monitor=monitor)
    finish(run, [], 0.8)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["monitor"] |= monitor
    (run / "metrics.json").write_text(json.dumps(metrics))
    for name in ("unfinished", "of_a_class"):
        (part,) = report_content(tmp_path / name)["parts"]
        head, _, *rows = (line.strip("| ").split(" | ") for line in leaderboard(part))
        assert {len(row) for row in rows} == {len(head)}
    content = dict(zip(head, rows[0], strict=True))
    assert content["recall/sick"] == format_metric(metrics["test"]["recall/sick"])
    assert content["accuracy"] == format_with_no_skill(metrics["test"]["accuracy"])
    write_report(tmp_path / "of_a_class", images=False, console=command_console())
    assert '<th class="num">recall/sick</th>' in (tmp_path / "of_a_class" / "report.html").read_text()


def test_a_half_finished_sweep_is_reported_as_far_as_it_is(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=1)
    states = {"1": "failed", "2": "interrupted"}
    for name, state in states.items():
        (path / name / "metrics.json").unlink()
        (path / name / "state.json").write_text(json.dumps({"state": state, "reason": "lost /home/jones/data/x.png"}))
    running = shutil.copytree(path / "2", path / "3")
    (running / "state.json").write_text(json.dumps({"state": "running", "pid": 2**22 + 1}))
    write_history(running, 0.7, epochs=4)
    (path / "4").mkdir()
    (path / "4" / "config.yaml").write_text("{broken")
    content = json.loads((path / "sweep.json").read_text())
    content["jobs"].append({"number": 5, "overrides": ["model=oops"], "state": "refused", "reason": "no such model"})
    (path / "sweep.json").write_text(json.dumps(content))
    write_report(path, images=True, console=command_console())
    page = (path / "report.html").read_text()
    data = page_data(page)
    assert "/home/jones" not in page
    rows = {row["run"]: row for part in data["parts"] for row in part["rows"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "0": "done", "1": "failed", "2": "interrupted", "3": "interrupted", "5": "refused"
    }  # fmt: skip
    assert rows["3"]["reason"] == "killed"
    assert rows["3"]["monitor"]["epoch"] == 2
    assert rows["5"]["values"] == {"model": "oops"}
    assert rows["1"]["test"] == {}
    assert any("4 is left out" in note for note in data["notes"])
    assert "1 done, 1 failed, 2 interrupted, 1 refused" in data["parts"][0]["headline"]


def test_nothing_finished_and_nothing_there(tmp_path):
    run = write_run(tmp_path / "sweep" / "0", predictions(1, 0), state="running")
    (run / "metrics.json").unlink()
    write_report(tmp_path / "sweep", images=True, console=command_console())
    assert "No run is finished yet" in (tmp_path / "sweep/report.html").read_text()
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(InputError, match="no such folder, or no training run in it"):
            find_runs(tmp_path / name)


def test_runs_of_several_tasks_stand_in_tables_of_their_own(tmp_path):
    finish(write_run(tmp_path / "cnn" / "0", predictions(1, 0)), ["model=cnn"], 0.8)
    run = finish(write_run(tmp_path / "gan", predictions(1, 0)), ["model=gan"], 0.1)
    entry = {"value": 4.0, "ci95": [3.0, 5.0], "n": 80, "groups": 40, "method": "jackknife", "no_skill": 70.0}
    arms = {
        name: {"frechet_distance": {**entry, "value": value}}
        for name, value in (("real", 0.1), ("pca_gaussian", 6.0), ("other", 9.0))
    }
    content = {"schema": 1, "task": "synthesis", "test": {"frechet_distance": entry}, "val": {}, "baselines": arms}
    content["monitor"] = {"name": "val/frechet_distance", "mode": "min", "best": 0.1, "epoch": 3}
    content["extractor"] = {"name": "cnn/9", "layer": "features", "dim": 64, "hash": "ab12"}
    content["two_sample"] = {**entry, "value": 0.7, "ci95": [0.6, 0.8], "no_skill": 0.5, "synthetic": 80}
    content["memorisation"] = {**content["two_sample"], "p_value": 0.0001, "flagged": True, "train": 300}
    (run / "metrics.json").write_text(json.dumps(content))
    write_report(tmp_path, images=True, console=command_console())
    text = (tmp_path / "report.html").read_text()
    for words in (
        "Images are compared by 64 features: cnn/9, features",
        "synthetic or real, by a linear",
        "nearer to training images than by chance",
    ):
        assert words in text
    data = page_data(text)
    by_task = {part["task"]: part for part in data["parts"]}
    assert set(by_task) == {"binary", "synthesis"}
    baseline = by_task["synthesis"]["rows"][0]["baseline"]
    assert baseline["name"] == "pca_gaussian"  # less is better, and other real images are no cheap model


def test_charts_hold_the_curves_of_the_runs(sweep, page):
    charts = page_data(page)["charts"]
    history = pd.read_csv(sweep / "4" / "history.csv")
    curve = next(one for one in charts["curve-0-0"]["series"] if one["name"] == "4")
    assert curve["y"] == pytest.approx(history["val/auroc"].tolist(), rel=1e-4)
    table = pd.read_csv(sweep / "4" / "predictions/test.csv")
    alarms, hits, _ = roc_curve(table["target"], table["prob/sick"])
    roc = charts["roc-4"]["series"][0]
    assert roc["x"] == pytest.approx(alarms.tolist(), rel=1e-4)
    assert roc["y"] == pytest.approx(hits.tolist(), rel=1e-4)
    counts = confusion_matrix(table["target"], table["prob/sick"] > 0.5)
    shown = re.search(r'id="run-0-4".*?<table class="matrix">(.*?)</table>', page, re.S)
    assert shown is not None
    assert [int(count) for count in re.findall(r">(\d+)</td>", shown[1])] == counts.ravel().tolist()


def test_the_page_is_small_and_asks_for_nothing(page):
    assert len(page.encode()) < 3_000_000
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'>]+""", page)
    assert not re.findall(r"@import|url\((?!#)", page)


def test_csv_and_markdown_tell_the_same(sweep):
    rows = list(csv.DictReader(io.StringIO((sweep / "report.csv").read_text())))
    content = {row["run"]: row for part in report_content(sweep)["parts"] for row in part["rows"]}
    assert len(rows) == 9
    for row in rows:
        entry = content[row["run"]]["test"]["auroc"]
        assert [float(row[f"test/auroc{end}"]) for end in ("", "/low", "/high")] == [entry["value"], *entry["ci95"]]
        assert (row["model"], row["state"]) == (content[row["run"]]["values"]["model"], "done")
    text = (sweep / "report.md").read_text()
    assert text.count("\n| ") >= 9 + 3 + 4
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()[4:15] if line.startswith("|")}
    assert len(widths) == 1


def test_hostile_names_stay_text(tmp_path):
    evil = "<script>alert(1)</script>|'\"&</table>"
    table = predictions(1.0, 0).rename(columns={"prob/sick": f"prob/{evil}"})
    table["sample_id"] = [f"{evil}{at}" for at in range(len(table))]
    run = write_run(tmp_path / "a|b<i>", predictions(1.0, 0), model__kind=evil)
    table.to_csv(run / "predictions/test.csv", index=False)
    finish(run, [f"model={evil}"], 0.8)
    other = finish(write_run(tmp_path / "plain", predictions(1.0, 1)), ["model=cnn"], 0.7)
    assert other.is_dir()
    write_report(tmp_path, images=True, console=command_console())
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "</table>0" not in page
    assert html.escape("a|b<i>") in page
    assert page_data(page)["parts"][0]["rows"][0]["run"] == "a|b<i>"
    assert "<script>" not in (tmp_path / "report.md").read_text()


def test_paths_of_the_user_are_not_passed_on(tmp_path):
    for number in range(2):
        run = write_run(tmp_path / str(number), predictions(1, number), init_from=f"/home/jones/runs/{number}")
        finish(run, [f"init_from=/home/jones/runs/{number}"], 0.8)
    write_report(tmp_path, images=True, console=command_console())
    for name in ("report.html", "report.csv", "report.md"):
        assert "/home/jones" not in (tmp_path / name).read_text()
