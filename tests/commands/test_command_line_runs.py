"""Whole runs as a user starts, stops, resumes, sweeps and evaluates them."""

import json
import os

import pandas as pd
import pytest
import torch
import yaml

from small_runs import SMALL

STOP = """
import os
import signal
import time
from pathlib import Path
from pytorch_lightning.callbacks import Callback

class Stop(Callback):
    \"\"\"In the second epoch of the first attempt, a SIGTERM to the command, whose process started this one.\"\"\"

    def on_train_epoch_start(self, trainer, pl_module):
        once = Path(trainer.default_root_dir) / "stopped"
        if trainer.current_epoch == 1 and not once.exists():
            once.touch()
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)
"""


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def run_folders(root):
    return sorted(path.parent for path in root.glob("runs/**/config.yaml") if "evaluations" not in path.parts)


def test_train_then_evaluate_gives_the_same_numbers(vesalius, tmp_path):
    trained = vesalius("train", *SMALL, "trainer.max_epochs=2", "name=first")
    assert trained.returncode == 0, trained.stderr
    assert "auroc" in trained.stdout
    (folder,) = run_folders(tmp_path)
    assert folder.parent.name == "first"
    assert str(folder) in trained.stdout.replace("\n", "")
    assert not list(folder.glob("checkpoints/*-v1.ckpt"))

    judged = vesalius("evaluate", f"run={folder}")
    assert judged.returncode == 0, judged.stderr
    assert "Equal to the run's own test metrics." in judged.stdout
    (again,) = folder.glob("evaluations/*/metrics.json")
    assert json.loads(again.read_text())["test"] == json.loads((folder / "metrics.json").read_text())["test"]

    elsewhere = vesalius("evaluate", f"run={folder}", "data=lesions", *SMALL[:3], "data.source.seed=5")
    assert elsewhere.returncode == 0, elsewhere.stderr
    other = max(folder.glob("evaluations/*/predictions/test.csv"), key=lambda path: path.stat().st_mtime)
    assert len(pd.read_csv(other)) == 64  # all of the new data is test data

    unlike = vesalius("evaluate", f"run={folder}", "data=lesions", "data.source.patients=32", "data.source.slices=2")
    assert unlike.returncode == 2
    assert "data.image_size=28" in unlike.stderr

    done = vesalius("train", f"resume={folder}")
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr


def test_a_run_that_ends_within_an_epoch_is_evaluated_at_its_last_step(vesalius, tmp_path):
    done = vesalius("train", *SMALL, "data.batch_size=8", "trainer.max_steps=7", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["step"].iloc[-1] == 7
    assert history["step"].iloc[0] < 7
    assert history["val/auroc"].notna().all()
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 7


def test_a_stopped_run_records_it_and_continues(vesalius, tmp_path, monkeypatch):
    (tmp_path / "stopper.py").write_text(STOP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    stopped = vesalius("train", *SMALL, "trainer.max_epochs=3", "+callbacks.stop._target_=stopper.Stop")
    assert stopped.returncode == 143
    assert "Traceback" not in stopped.stderr
    (folder,) = run_folders(tmp_path)
    assert json.loads((folder / "state.json").read_text())["state"] == "interrupted"

    changed = vesalius("train", f"resume={folder}", "seed=3")
    assert changed.returncode == 2
    assert "init_from" in changed.stderr

    resumed = vesalius("train", f"resume={folder}")
    assert resumed.returncode == 0, resumed.stderr
    state = json.loads((folder / "state.json").read_text())
    assert (state["state"], state["attempt"]) == ("done", 2)
    assert pd.read_csv(folder / "history.csv")["epoch"].tolist() == list(range(3))
    assert run_folders(tmp_path) == [folder]


@pytest.mark.slow
def test_a_failing_job_does_not_end_a_sweep(vesalius, tmp_path):
    swept = vesalius("train", "-m", *SMALL, "trainer.max_epochs=1", "data.source.patients=4,32")
    assert swept.returncode == 1
    assert "data.source.patients=4" in swept.stderr
    (finished,) = [path for path in run_folders(tmp_path) if (path / "metrics.json").is_file()]
    assert yaml.safe_load((finished / "config.yaml").read_text())["data"]["source"]["patients"] == 32


def test_the_data_of_a_refused_config_is_never_touched(vesalius, tmp_path):
    done = vesalius("train", "+model.net.widht=3", "trainer.max_epochs=many", "monitor.name=val/auc")
    assert done.returncode == 2
    assert "expected a whole number" in done.stderr
    assert "widht" in done.stderr
    assert not run_folders(tmp_path)


@pytest.mark.parametrize("given", ["true", "false"])
def test_init_from_starts_a_new_run_from_anothers_weights(vesalius, tmp_path, given):
    if given == "false":
        done = vesalius("train", *SMALL, "init_from=nowhere")
        assert done.returncode == 2
        assert "nowhere is not a run folder" in done.stderr
        return
    first = vesalius("train", *SMALL, "trainer.max_epochs=1")
    (folder,) = run_folders(tmp_path)
    second = vesalius("train", *SMALL, "trainer.max_epochs=1", f"init_from={folder}", "model.optimizer.lr=1e-12")
    assert first.returncode == second.returncode == 0, second.stderr
    losses = [pd.read_csv(path / "history.csv")["train/loss"][0] for path in run_folders(tmp_path)]
    assert losses[1] < losses[0]
