"""Image series from the command line: a dynamic DICOM study, and quantities."""

import json

import pytest

from dicom_maker import write_cohort

SMALL = ["trainer=cpu", "logger=none", "data.batch_size=8", "model.net.hidden_size=8", "model.net.input_size=8"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def metrics_of(folder, pattern="runs/*/*/metrics.json"):
    return json.loads(next(folder.glob(pattern)).read_text())


def test_a_dynamic_dicom_study_trains_end_to_end_and_is_evaluated_again_alike(vesalius, tmp_path):
    root = write_cohort(tmp_path / "study", patients=24, slices=2, phases=4).parent
    study = [f"data.source.root={root / 'files'}", f"data.source.labels={root / 'labels.csv'}"]
    study += ["data.source.target=finding", "data.source.unit=time_series", "data.image_size=24"]
    done = vesalius("train", "data=dicom", "model=gru", "trainer.max_epochs=1", *study, *SMALL)
    assert done.returncode == 0, done.stderr
    metrics = metrics_of(tmp_path)
    assert metrics["test"]["auroc"]["n"] == 2 * metrics["test"]["auroc"]["groups"]  # two slice positions a patient
    assert {"model", "time_shuffled", "single_frame", "first_frames/4", "frames_dropped/50"} <= set(metrics["evidence"])
    assert {"logistic_mean_over_time", "logistic_curve_statistics"} <= set(metrics["baselines"])
    assert "auroc_difference" in metrics["evidence"]["time_shuffled"]
    run = next(tmp_path.glob("runs/*/*/metrics.json")).parent
    again = vesalius("evaluate", f"run={run}")
    assert again.returncode == 0, again.stderr
    assert "Equal to the run's own test metrics." in again.stdout


def test_a_quantity_is_predicted_with_errors_and_intervals(vesalius, tmp_path):
    data = ["data=perfusion", "data.source.target=time_to_peak", "data.source.patients=64"]
    monitor = ["monitor.name=val/rmse", "monitor.mode=min"]
    done = vesalius("train", "model=gru", "trainer.max_epochs=1", *data, *monitor, *SMALL)
    assert done.returncode == 0, done.stderr
    metrics = metrics_of(tmp_path)
    assert metrics["task"] == "regression"
    assert set(metrics["baselines"]) >= {"mean_target", "ridge_pixels", "ridge_curve_statistics"}
    for name in ("mae", "rmse", "r2"):
        low, high = metrics["test"][name]["ci95"]
        assert low < metrics["test"][name]["value"] < high
    assert metrics["test"]["r2"]["no_skill"] == pytest.approx(0, abs=0.5)
    figures = {path.stem for path in tmp_path.glob("runs/*/*/figures/*.png")}
    assert {"scatter", "test_series", "evidence", "history"} <= figures


@pytest.mark.slow
def test_the_next_points_of_a_curve_are_predicted_each_with_its_error(vesalius, tmp_path):
    small = ["data.source.patients=64", "data.source.horizon=2", "trainer.max_epochs=1", "evaluation.evidence=false"]
    done = vesalius("train", "experiment=perfusion_next_points", *small, *SMALL)
    assert done.returncode == 0, done.stderr
    assert {"mae/enhancement_1", "mae/enhancement_2", "r2"} <= set(metrics_of(tmp_path)["test"])


def test_what_a_task_does_not_log_cannot_be_monitored(vesalius, tmp_path):
    data = ["data=perfusion", "data.source.target=time_to_peak", "data.source.patients=32"]
    done = vesalius("train", "model=gru", *data, *SMALL)
    assert done.returncode == 2
    assert "monitor.name=val/auroc: there is no such metric of this task" in done.stderr
    assert not list(tmp_path.glob("runs/*/*"))
    done = vesalius("train", "model=gru", *data, *SMALL, "monitor.name=val/mae")
    assert "set monitor.mode=min" in done.stderr


def test_images_and_series_go_with_their_own_models(vesalius):
    done = vesalius("train", "model=gru", "data.source.patients=16")
    assert done.returncode == 2
    assert "choose model=cnn" in done.stderr
    done = vesalius("train", "data=perfusion", "data.source.patients=16")
    assert done.returncode == 2
    assert "choose model=lstm" in done.stderr
