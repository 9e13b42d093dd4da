"""A job of a sweep on images named after patients, stopped and resumed; W&B's own tool reads its logs back."""

import base64
import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

import leet
from identity_scan import find_identities
from vesalius.runs.redaction import without_paths
from vesalius.runs.sweep_folder import SweepFolder

pytestmark = pytest.mark.xdist_group("tracked_runs")  # its runs are made once

PEOPLE = [f"Doe^Jane{number:02d}" for number in range(40)]
STOP = """
from pytorch_lightning.callbacks import Checkpoint
from pathlib import Path
from vesalius.runs.run_folder import Interrupted

class Stop(Checkpoint):
    \"\"\"Stands for a SIGTERM after the second epoch of the first attempt.\"\"\"

    def on_train_epoch_end(self, trainer, pl_module):
        once = Path(trainer.default_root_dir) / "stopped"
        if trainer.current_epoch == 1 and not once.exists():
            once.touch()
            raise Interrupted(143)
"""


def write_images(root: Path) -> None:
    """Two images a person; those of `sick` are brighter in the middle."""
    generator = np.random.default_rng(0)
    for number, person in enumerate(PEOPLE):
        label = ("healthy", "sick")[number % 2]
        (root / label).mkdir(parents=True, exist_ok=True)
        for part in range(2):
            pixels = generator.integers(60, 200, (28, 28))
            pixels[10:18, 10:18] += 40 * (number % 2)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / label / f"{person}_{part}.png")


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def place(tmp_path_factory, vesalius_in):
    place = tmp_path_factory.mktemp("place")
    write_images(place / "Archive of Doctor Plantagenet" / "images")
    (place / "stopper.py").write_text(STOP)
    SweepFolder.create(place / "my sweep", verb="train", arguments=[], axes={}, sweeper="basic")
    overrides = ["data=image_folder", "data.source.root='Archive of Doctor Plantagenet/images'", "data.batch_size=16"]
    overrides += ["data.source.group_pattern='^(.*)_'", "data.image_size=28", "trainer=cpu", "trainer.max_epochs=3"]
    overrides += ["model=cnn", "logger.wandb.tags=[mine]", "+callbacks.stop._target_=stopper.Stop"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(place))
        stopped = vesalius_in(place, "train", *overrides, "hydra.run.dir='my sweep/0'")
        assert stopped.returncode == 143, stopped.stderr
        resumed = vesalius_in(place, "train", "resume='my sweep/0'")
        assert resumed.returncode == 0, resumed.stderr
    (place / "said.txt").write_text(resumed.stdout)
    return place


@pytest.fixture(scope="module")
def run(place):
    return place / "my sweep" / "0"


@pytest.fixture(scope="module")
def logs(run):
    """Records of both attempts."""
    found = [leet.records(log) for log in sorted(run.glob("wandb/offline-run-*/run-*.wandb"))]
    assert len(found) == 2
    return found


def test_both_attempts_are_the_same_run_with_the_frozen_config(run, logs):
    config = without_paths(yaml.safe_load((run / "config.yaml").read_text()))
    for told in logs:
        (begun,) = leet.of_type(told, "run")
        assert begun["run_id"] == (run / "wandb" / "id").read_text()
        assert (begun["run_group"], begun["job_type"]) == ("my sweep", "CNNClassifier/SmallResNet")
        assert begun["tags"] == ["ImageFolder", "binary", "mine"]
        assert not begun.get("host")
        sent = begun["config"]["update"]
        assert {key: value for key, value in sent.items() if key != "_wandb"} == config
        for more in leet.of_type(told, "config"):  # how to draw charts, and nothing else
            assert all(key.startswith("_wandb.") for key in more["update"])
    assert [leet.of_type(told, "exit")[0].get("exit_code", 0) for told in logs] == [1, 0]


def test_there_is_one_row_an_epoch_and_it_is_that_of_history_csv(run, logs):
    rows = [row for told in logs for row in leet.epochs(told)]
    history = pd.read_csv(run / "history.csv")
    assert [row["epoch"] for row in rows] == history["epoch"].tolist() == [0, 1, 2]
    for row, expected in zip(rows, history.drop(columns="seconds").to_dict("records"), strict=True):
        assert {key: row[key] for key in expected} == pytest.approx(expected)


def test_the_summary_is_metrics_json_of_the_best_checkpoint(run, logs):
    metrics, told = json.loads((run / "metrics.json").read_text()), leet.summary(logs[-1])
    splits = {f"{split}/": metrics[split] for split in ("val", "test")}
    splits |= {f"baselines/{arm}/": entry for arm, entry in metrics["baselines"].items()}
    compared = 0
    for prefix, entries in splits.items():
        for name, metric in entries.items():
            if metric["value"] is not None:
                assert told[prefix + name] == metric["value"]
                assert [told[f"{prefix}{name}/ci95_{end}"] for end in ("low", "high")] == metric["ci95"]
                assert told[f"{prefix}{name}/no_skill"] == metric["no_skill"]
                compared += 1
    assert compared > 20
    best = pd.read_csv(run / "history.csv").set_index("epoch").loc[metrics["monitor"]["epoch"]]
    assert told["train/loss"] == pytest.approx(best["train/loss"])


def test_curves_and_counts_are_those_of_the_predictions(run, logs):
    table = pd.read_csv(run / "predictions" / "test.csv")
    curve, counts = (table_of(run, f"test/{name}_table") for name in ("roc", "confusion_matrix"))
    area = auc(curve["fpr"], curve["tpr"])
    assert area == pytest.approx(roc_auc_score(table["target"], table["prob/sick"]))
    said = table[["prob/healthy", "prob/sick"]].to_numpy().argmax(axis=1)
    assert counts["nPredictions"].tolist() == confusion_matrix(table["target"], said).ravel().tolist()
    drawn = {key for more in leet.of_type(logs[-1], "config") for key in more["update"]}
    assert "_wandb.visualize.test/roc" in drawn
    summary = leet.summary(logs[-1])
    assert {"figures/calibration.path", "figures/test_images.path"} <= set(summary)


def test_worst_errors_are_wrong_predictions(run):
    table, worst = pd.read_csv(run / "predictions" / "val.csv"), table_of(run, "val/worst")
    said = table[["prob/healthy", "prob/sick"]].to_numpy().argmax(axis=1)
    wrong = np.flatnonzero(said != table["target"])
    assert set(worst["row"]) <= set(wrong)
    assert len(worst) == min(16, len(wrong)) > 0


def test_artifacts_are_the_checkpoint_and_the_split_of_these_data(place, run, logs):
    kept = {entry["type"]: entry for entry in leet.of_type(logs[-1], "artifact") if entry["type"] != "run_table"}
    assert set(kept) == {"model", "split"}
    fingerprint = json.loads((run / "provenance.json").read_text())["data"]
    for entry in kept.values():
        assert json.loads(entry["metadata"])["data_fingerprint"] == fingerprint
        (file,) = entry["manifest"]["contents"]
        assert (place / file["local_path"]).is_file()
        assert not Path(file["local_path"]).is_absolute()
    (file,) = kept["model"]["manifest"]["contents"]
    expected = hashlib.md5((run / "checkpoints" / "best.ckpt").read_bytes()).digest()
    assert base64.b64decode(file["digest"]) == expected
    assert "best" in kept["model"]["aliases"]


def test_one_line_sends_both_attempts(place):
    (line,) = [line for line in (place / "said.txt").read_text().splitlines() if "wandb sync" in line]
    command = shlex.split(line.partition(": ")[2])
    assert len(command) == 4
    done = subprocess.run([sys.executable, "-m", *command, "--dry-run"], cwd=place, capture_output=True, text=True)
    assert "Would sync 2 run(s)" in done.stdout + done.stderr
    assert len(list((place / "my sweep" / "wandb").iterdir())) == 2
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", "my sweep/wandb"],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert "Would sync 2 run(s)" in done.stdout + done.stderr


def test_no_name_and_no_folder_of_the_users_is_in_it(run):
    planted = [*PEOPLE, "Plantagenet"]
    assert find_identities(run / "wandb", planted) == []
    assert find_identities(run / "split.csv", planted)  # names are there to be found


def table_of(run: Path, name: str) -> pd.DataFrame:
    """A table that the finished run logged."""
    (file,) = run.glob(f"wandb/offline-run-*/files/media/table/{name}_*.table.json")
    content = json.loads(file.read_text())
    return pd.DataFrame(content["data"], columns=content["columns"])
