"""W&B as a guest: offline unless it can work at once, and never in the way."""

import base64
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import auc, roc_auc_score

import leet
from identity_scan import find_identities
from run_maker import predictions
from vesalius.config.facts import Facts
from vesalius.training.tracking.base import Outputs
from vesalius.training.tracking.wandb import WandbTracker, sync_line


def drawn() -> Figure:
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    return figure


def outputs() -> Outputs:
    """Of 80 samples; the image of each is as bright as its row."""
    facts = Facts("binary", ("healthy", "sick"), 1, (8, 8), 255.0, (1, 1), 2, (0.5,), (0.1,))
    table = predictions(1.0, seed=0)

    def images(split: str, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 8, 8)).astype(np.uint8)

    return Outputs(facts, {"test": table}, images)


def media_table(folder: Path, name: str) -> dict[str, Any]:
    """A table that was logged, as W&B would send it."""
    parent, _, stem = name.rpartition("/")
    (file,) = [
        *folder.rglob(f"media/table/{parent}/{stem}_table_*.table.json"),
        *folder.rglob(f"media/table/{parent}/{stem}_[0-9]*.table.json"),
    ]
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


def test_a_run_is_written_offline_with_config_metrics_and_figures(tmp_path: Path):
    tracker = WandbTracker(mode="offline", tags=["mine", "x" * 100])
    tracker.begin(tmp_path, {"seed": 7, "data": {"source": {"name": "breastmnist"}}}, "name", "binary")
    tracker.log_epoch({"epoch": 0, "train/loss": 0.7, "val/auroc": 0.5})
    tracker.epoch = 1
    tracker.show("samples", drawn())
    tracker.log_epoch({"epoch": 1, "train/loss": 0.6, "val/auroc": 0.6})
    tracker.finish({"test": {"auroc": {"value": 0.5, "ci95": [0.4, 0.6]}}}, {"roc": drawn(), "test_images": drawn()})
    told = leet.whole_log(tmp_path)
    (run,) = leet.of_type(told, "run")
    assert run["config"]["update"] | {"_wandb": None} == {
        "seed": 7,
        "data": {"source": {"name": "breastmnist"}},
        "_wandb": None,
    }
    assert run["tags"] == ["breastmnist", "binary", "mine", "x" * 64]
    assert "run_group" not in run
    assert not run.get("host")
    rows = leet.epochs(told)
    assert [(row["epoch"], row["val/auroc"]) for row in rows] == [(0, 0.5), (1, 0.6)]
    assert "samples.path" not in rows[0]
    assert "samples.path" in rows[1]
    assert leet.summary(told)["test/auroc/ci95_high"] == 0.6
    assert {"figures/roc.path", "figures/test_images.path"} <= set(leet.summary(told))


def test_without_images_nothing_shows_a_patient(tmp_path: Path):
    tracker = WandbTracker(mode="offline", images=False)
    tracker.begin(tmp_path, {}, "name")
    tracker.show("samples", drawn())
    tracker.finish({}, {"roc": drawn(), "test_images": drawn(), "anything_new": drawn()}, outputs())
    logged = {key.removesuffix(".path") for key in leet.summary(leet.whole_log(tmp_path)) if key.endswith(".path")}
    assert logged == {
        "figures/roc",
        *(f"test/{name}_table" for name in ("confusion_matrix", "roc", "precision_recall")),
    }
    assert not list(tmp_path.rglob("media/images/2*"))


def test_images_with_text_in_them_stay_here(tmp_path: Path):
    """The text may be a name."""
    (tmp_path / "audit.json").write_text('{"findings": [{"check": "text_in_pixels", "samples": ["a"]}]}')
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({}, {"roc": drawn(), "test_images": drawn()}, outputs())
    logged = set(leet.summary(leet.whole_log(tmp_path)))
    assert "figures/roc.path" in logged
    assert not {"figures/test_images.path", "test/worst.path"} & logged


def test_charts_hold_the_numbers_of_the_predictions_and_images_those_who_are_wrong(tmp_path: Path):
    given = outputs()
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({}, {}, given)
    test = given.predictions["test"]
    matrix = media_table(tmp_path, "test/confusion_matrix")
    counts = {(true, said): count for true, said, count in matrix["data"]}
    said = (test["prob/sick"] > 0.5).astype(int)
    assert counts["sick", "healthy"] == int(((test["target"] == 1) & (said == 0)).sum())
    assert sum(counts.values()) == len(test)
    roc = pd.DataFrame(media_table(tmp_path, "test/roc")["data"], columns=["class", "fpr", "tpr"])
    assert auc(roc["fpr"], roc["tpr"]) == pytest.approx(roc_auc_score(test["target"], test["prob/sick"]), abs=0.01)
    worst = media_table(tmp_path, "test/worst")
    assert worst["columns"] == ["image", "row", "true", "predicted", "probability"]
    wrong = test.index[test["target"] != said].tolist()
    rows = [row for _, row, *_ in worst["data"]]
    assert rows
    assert set(rows) <= set(wrong)
    # each picture is that of its row: grey values say which
    (kept,) = [a for a in leet.of_type(leet.whole_log(tmp_path), "artifact") if "worst" in a["name"]]
    files = {file["path"]: Path(file["local_path"]) for file in kept["manifest"]["contents"]}
    for image, row, *_ in json.loads(files["test/worst.table.json"].read_text())["data"]:
        assert np.asarray(Image.open(files[image["path"]])).mean() == row
    assert all(path.resolve().is_relative_to(tmp_path) for path in files.values())


def test_the_best_epoch_is_the_summary(tmp_path: Path):
    history = "epoch,step,train/loss,val/loss,seconds\n0,4,0.9,0.8,1\n1,8,0.5,0.4,1\n2,12,0.1,0.7,1\n"
    (tmp_path / "history.csv").write_text(history)
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    for epoch, loss in enumerate((0.9, 0.5, 0.1)):
        tracker.log_epoch({"epoch": epoch, "train/loss": loss})
    tracker.finish({"monitor": {"name": "val/loss", "epoch": 1}}, {})
    found = leet.summary(leet.whole_log(tmp_path))
    assert (found["train/loss"], found["val/loss"], found["monitor/epoch"]) == (0.5, 0.4, 1)


def test_a_job_of_a_sweep_has_a_group_and_a_place_among_the_others(tmp_path: Path):
    sweep = tmp_path / "learning rates"
    (sweep / "7").mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}")
    tracker = WandbTracker(mode="offline")
    tracker.begin(sweep / "7", {"model": {"_target_": "a.b.CNNClassifier", "net": {"_target_": "c.Net"}}}, "lesions")
    tracker.finish({}, {})
    (run,) = leet.of_type(leet.whole_log(sweep / "7"), "run")
    assert (run["run_group"], run["job_type"]) == ("learning rates", "CNNClassifier/Net")
    assert run["display_name"] == "lesions-7"
    (link,) = (sweep / "wandb").iterdir()
    assert not os.path.isabs(os.readlink(link))
    assert link.resolve().parent == (sweep / "7" / "wandb").resolve()


def test_artifacts_are_tied_to_the_data_and_name_nobody(tmp_path: Path):
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.write_bytes(b"weights" * 1000)
    (tmp_path / "provenance.json").write_text('{"data": "f1n9e7", "seed": 3}')
    split = "sample_id,group_id,split\nDoe_1.png,Doe^Jane,train\nDoe_2.png,Doe^Jane,train\nRoe_1.png,Roe^Max,test\n"
    (tmp_path / "split.csv").write_text(split)
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({"monitor": {"name": "val/auroc", "best": 0.9, "epoch": 4}}, {})
    told = {artifact["type"]: artifact for artifact in leet.of_type(leet.whole_log(tmp_path), "artifact")}
    assert set(told) == {"model", "split"}
    (file,) = told["model"]["manifest"]["contents"]
    assert base64.b64decode(file["digest"]) == hashlib.md5(best.read_bytes()).digest()
    assert "best" in told["model"]["aliases"]
    about = json.loads(told["model"]["metadata"])
    assert (about["data_fingerprint"], about["value"], about["epoch"]) == ("f1n9e7", 0.9, 4)
    assert json.loads(told["split"]["metadata"])["data_fingerprint"] == "f1n9e7"
    (file,) = told["split"]["manifest"]["contents"]
    assert Path(file["local_path"]).resolve().is_relative_to(tmp_path)
    lines = Path(file["local_path"]).read_text().split()
    assert lines == ["row,patient,split", "0,0,train", "1,0,train", "2,1,test"]
    assert find_identities(tmp_path / "wandb", ["Doe^Jane", "Roe^Max", "Doe_1.png"]) == []


def test_no_checkpoint_where_none_is_wanted(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    tracker = WandbTracker(mode="offline", checkpoint=False)
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({}, {})
    assert leet.of_type(leet.whole_log(tmp_path), "artifact") == []


def test_a_resumed_run_is_the_same_one_and_one_line_sends_all_of_it(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my run"
    folder.mkdir()
    for epoch in range(2):
        tracker = WandbTracker(mode="offline")
        tracker.begin(folder, {}, "name")
        tracker.log_epoch({"epoch": epoch, "train/loss": 0.1})
        if epoch == 0:
            tracker.finalize("failed")
            time.sleep(1.1)  # W&B names folders by the second
    tracker.finish({}, {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "wandb sync" in line]
    failed, command = (shlex.split(line.partition(": ")[2]) for line in lines)
    assert failed == command[:3]  # said of the attempt that failed too, which may be the last
    assert command[:2] == ["wandb", "sync"]
    logs = [leet.whole_log(Path(name)) for name in command[2:]]
    assert [leet.of_type(told, "run")[0]["run_id"] for told in logs] == [(folder / "wandb" / "id").read_text()] * 2
    assert [row["epoch"] for told in logs for row in leet.epochs(told)] == [0, 1]
    assert [leet.of_type(told, "exit")[0].get("exit_code", 0) for told in logs] == [1, 0]
    seen = subprocess.run([sys.executable, "-m", *command, "--dry-run"], capture_output=True, text=True, timeout=60)
    assert "Would sync 2 run(s)" in seen.stdout + seen.stderr
    for name in command[2:]:
        (log,) = Path(name).glob("*.wandb")
        log.with_suffix(".wandb.synced").touch()
    assert sync_line(folder) is None


def test_what_an_online_run_could_not_send_in_time_is_named(tmp_path: Path, monkeypatch, capsys):
    """As if W&B ran out of time at the end."""
    monkeypatch.chdir(tmp_path)
    init = wandb.init

    class Slow:
        def __init__(self, **options):
            self.run = init(**options)
            kept = Path(self.run.settings.sync_dir)
            online = kept.rename(kept.with_name("run-20300101_000000-abcd"))
            self.settings = SimpleNamespace(sync_dir=str(online), mode="online")

        def __getattr__(self, name):
            return getattr(self.run, name)

        def finish(self, exit_code):
            raise TimeoutError

    monkeypatch.setattr(wandb, "init", Slow)
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.finish({}, {})
    assert "wandb sync wandb/run-20300101_000000-abcd" in capsys.readouterr().out
    assert not tracker.failed


def test_a_tracker_that_fails_never_stops_the_run(tmp_path: Path, monkeypatch, caplog):
    def broken(**options):
        raise wandb.errors.CommError("no")

    monkeypatch.setattr(wandb, "init", broken)
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.log_epoch({"epoch": 0, "val/auroc": 0.5})
    tracker.finish({}, {})
    assert caplog.text.count("W&B is off") == 1


def test_no_path_of_the_users_is_sent(tmp_path: Path):
    config = {"data": {"source": {"root": "/home/me/patients", "files": ["/home/me/more"]}}, "init_from": None}
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, config, "name")
    tracker.finish({}, {})
    for path in tmp_path.glob("wandb/offline-run-*/**/*"):
        if path.is_file() and path.suffix != ".log":
            assert b"/home/me" not in path.read_bytes(), path
