"""Repeats taken together: on which scale, which are pooled, how classes are decided, and why some cannot be paired."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from report_maker import finish
from run_maker import CLASSES, predictions, write_baseline, write_run
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.formatting import format_metric
from vesalius.report.content import content_of, parts_of
from vesalius.runs.find import find_runs


def report_content(path) -> dict:
    collected = find_runs(path)
    (part,) = content_of(collected, parts_of(collected))["parts"]
    return part


def change(run, **content) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | content))


def entry(value, half, **more):
    return {"value": value, "ci95": [value - half, value + half], "n": 80, "groups": 40, "no_skill": 3.0, **more}


def test_folds_of_each_seed_of_the_data_are_averaged(tmp_path):
    values = []
    for seed in range(3):
        patients = np.random.default_rng(seed).permutation(40)
        whole = predictions(1.5, seed)
        for fold in range(4):
            held_out = whole[whole["group_id"].astype(int).isin(patients[fold * 10 : fold * 10 + 10])]
            values.append(roc_auc_score(held_out["target"], held_out["prob/sick"]))
            run = write_run(tmp_path / str(4 * seed + fold), held_out, data__seed=seed, data__fold=fold)
            finish(run, [f"data.seed={seed}", f"data.fold={fold}"], 0.8, baseline=None)
    (arm,) = report_content(tmp_path)["arms"]
    assert arm["test"]["value"] == pytest.approx(np.mean(values))
    assert arm["test"]["groups"] == 40


def tuned(run, table, threshold) -> None:
    metrics = classification_metrics(table, task="binary", classes=CLASSES, decision=threshold)
    monitor = {"name": "val/balanced_accuracy", "mode": "max", "best": 0.6, "epoch": 3}
    change(run, test=metrics, decision={"rule": "youden", "threshold": threshold}, monitor=monitor)


def test_each_run_decides_by_its_own_threshold_in_arms_and_differences(tmp_path):
    def score(table, threshold):
        return balanced_accuracy_score(table["target"], table["prob/sick"] > threshold)

    runs = [("a", 1.5, 0, 0.2), ("b", 1.4, 0, 0.3), ("b", 1.4, 1, 0.7)]
    values: dict[str, list[float]] = {"a": [], "b": []}
    for number, (model, quality, seed, threshold) in enumerate(runs):
        table = predictions(quality, seed)
        values[model].append(score(table, threshold))
        config = {"seed": seed, "model__kind": model, "monitor__name": "val/balanced_accuracy"}
        run = finish(write_run(tmp_path / str(number), table, **config), [f"model={model}"], 0.6, baseline=None)
        tuned(run, table, threshold)
    arms = {arm["arm"]: arm for arm in report_content(tmp_path)["arms"]}
    assert arms["b"]["test"]["value"] == pytest.approx(np.mean(values["b"]))
    assert arms["a"]["test"]["value"] == pytest.approx(values["a"][0])
    (difference,) = (arm["difference"]["value"] for arm in arms.values() if "difference" in arm)
    assert abs(difference) == pytest.approx(abs(values["a"][0] - values["b"][0]))


def test_folds_keep_their_own_thresholds_when_they_are_put_together(tmp_path):
    message, truth = [], []
    for fold, threshold in enumerate((0.3, 0.7)):
        table = predictions(1.5, fold, patients=12, first=12 * fold)
        message.append(table["prob/sick"] > threshold)
        truth.append(table["target"])
        run = write_run(tmp_path / str(fold), table, data__fold=fold, monitor__name="val/balanced_accuracy")
        tuned(finish(run, [f"data.fold={fold}"], 0.6, baseline=None), table, threshold)
    (arm,) = report_content(tmp_path)["arms"]
    assert arm["test"]["value"] == pytest.approx(balanced_accuracy_score(pd.concat(truth), pd.concat(message)))


def write_folds(folder, *, monitor="val/auroc", offsets=(-2.0, 0.0, 2.0), patients=24):
    """A cross-validation whose models answer on scales of their own, with two baselines, one lucky in one fold."""
    tables: dict[str, list[pd.DataFrame]] = {"model": [], "logistic_pca": [], "logistic_pixels": []}
    for fold, offset in enumerate(offsets):
        own = {
            "model": predictions(2.0, fold, patients=patients, first=patients * fold),
            "logistic_pca": predictions(1.0, 40 + fold, patients=patients, first=patients * fold),
            "logistic_pixels": predictions(
                3.0 if fold == 0 else 0.0, 80 + fold, patients=patients, first=patients * fold
            ),
        }
        for name, table in own.items():
            sick = 1 / (1 + (1 / table["prob/sick"] - 1) * np.exp(-offset))
            tables[name].append(table.assign(**{"prob/sick": sick, "prob/healthy": 1 - sick}))
        run = write_run(folder / str(fold), tables["model"][-1], data__fold=fold, monitor__name=monitor)
        for name in ("logistic_pca", "logistic_pixels"):
            write_baseline(run, name, tables[name][-1])
        finish(run, [f"data.fold={fold}"], 0.9 - fold / 10, baseline=None)
        change(run, monitor={"name": monitor, "mode": "max", "best": 0.9 - fold / 10, "epoch": 3})
    return tables


def test_the_headline_takes_model_and_baselines_over_the_same_folds(tmp_path):
    means = {
        name: np.mean([roc_auc_score(table["target"], table["prob/sick"]) for table in of_folds])
        for name, of_folds in write_folds(tmp_path).items()
    }
    part = report_content(tmp_path)
    (arm,) = part["arms"]
    assert arm["test"]["value"] == pytest.approx(means["model"])
    assert arm["baseline"]["value"] == pytest.approx(max(means["logistic_pca"], means["logistic_pixels"]))
    assert arm["baseline"]["groups"] == arm["test"]["groups"] == 72
    name = arm["baseline"]["name"]
    assert f"3 runs reach a mean test auroc of {format_metric(arm['test'])}" in part["headline"]
    assert f"best cheap baseline {name} {format_metric(arm['baseline'])}" in part["headline"]
    assert any("mean of each fold's own" in note for note in part["notes"])


def test_the_headline_does_not_call_samples_of_all_folds_a_mean(tmp_path):
    tables = write_folds(tmp_path, monitor="val/balanced_accuracy")
    part = report_content(tmp_path)
    (arm,) = part["arms"]
    for entry, name in ((arm["test"], "model"), (arm["baseline"], arm["baseline"]["name"])):
        whole = pd.concat(tables[name])
        assert entry["value"] == pytest.approx(balanced_accuracy_score(whole["target"], whole["prob/sick"] > 0.5))
    assert "3 runs together reach a test balanced_accuracy of" in part["headline"]
    assert not any("mean of each fold" in note for note in part["notes"])


def test_folds_of_one_patient_each_have_a_reason_in_place_of_an_auroc(tmp_path):
    write_folds(tmp_path, offsets=(0.0,) * 6, patients=1)
    part = report_content(tmp_path)
    assert part["arms"][0]["test"]["value"] is None
    assert part["arms"][0]["baseline"] is None
    for text in (part["headline"], " ".join(part["notes"])):
        assert "3 of 6 folds have no sample of class sick" in text
        assert "use fewer folds" in text


def test_the_true_reason_why_arms_cannot_be_paired_is_given(tmp_path):
    for name, configs, tables in (
        ("seeds", ({"seed": 0}, {"seed": 1}), ({}, {})),
        ("patients", ({}, {}), ({}, {"first": 100})),
        ("task", ({}, {}), ({}, {})),
    ):
        for number, (config, table) in enumerate(zip(configs, tables, strict=True)):
            path = tmp_path / name / str(number)
            run = write_run(path, predictions(1.0, number, **table), model__kind=f"m{number}", **config)
            finish(run, [f"model=m{number}"], 0.6 + number / 10, baseline=None)
            if name == "task":
                change(run, task="synthesis", test={"frechet_distance": entry(4.0, 1.0, method="jackknife")})
    reasons = {
        "seeds": "no seed and fold in common",
        "patients": "same patients",
        "task": "the task synthesis are not paired",
    }
    for name, words in reasons.items():
        content = report_content(tmp_path / name)
        assert words in content["arms"][1]["verdict"]
        assert content["arms"][1]["difference"]["value"] is None
        assert not any(other in content["arms"][1]["verdict"] for other in set(reasons.values()) - {words})


def test_the_method_of_generators_names_no_test_patients_of_their_own(tmp_path):
    for seed in range(2):
        run = finish(write_run(tmp_path / str(seed), predictions(1.0, 0), seed=seed), [f"seed={seed}"], 0.6)
        change(run, task="synthesis", test={"frechet_distance": entry(4.0 + seed, 1.0, method="jackknife")})
    assert "patients" not in report_content(tmp_path)["arms"][0]["test"]["method"]


def test_half_a_cross_validation_is_ranked_by_the_folds_that_all_have_finished(tmp_path):
    best = {("a", 0): 0.9, ("a", 1): 0.9, ("a", 2): 0.5, ("a", 3): 0.5, ("b", 0): 0.8, ("b", 1): 0.8}
    for number, ((model, fold), value) in enumerate(best.items()):
        table = predictions(1.0, fold, patients=12, first=12 * fold)
        run = write_run(tmp_path / str(number), table, model__kind=model, data__fold=fold)
        finish(run, [f"model={model}", f"data.fold={fold}"], value, baseline=None)
    part = report_content(tmp_path)
    assert [(arm["arm"], arm["validation"]) for arm in part["arms"]] == [("a", 0.9), ("b", 0.8)]
    assert any("2 of 4 seeds and folds" in note for note in part["notes"])


def test_finished_runs_without_a_monitored_value_are_not_called_unfinished(tmp_path):
    run = write_run(tmp_path / "0", predictions(1.0, 0))
    assert (run / "metrics.json").is_file()
    headline = report_content(tmp_path)["headline"]
    assert "No finished run has a value of val/auroc" in headline
    (run / "metrics.json").write_text("[]")
    assert "No finished run can be read" in report_content(tmp_path)["headline"]
