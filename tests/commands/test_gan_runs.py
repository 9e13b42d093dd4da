"""GANs as a user trains them: over two processes with mixed precision, stopped and resumed."""

import json
import os

import pandas as pd
import pytest
import torch

SMALL = ["data=lesions", "data.source.patients=40", "data.source.slices=3", "data.source.image_size=28"]
TWO = ["data.batch_size=15", "logger=none", "trainer=ddp_cpu", "trainer.precision=bf16"]
WIDTHS = ["model.generator.width=8", "model.critic.width=8"]
PRESETS = {"gan": WIDTHS, "dcgan": WIDTHS, "article_gan": ["data.channels=1"]}

STOPPER = """
from pathlib import Path
from pytorch_lightning.callbacks import Callback

class Stopper(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if Path("stop").exists() and trainer.current_epoch == 1 and batch_idx == 2:
            raise RuntimeError("stopped on purpose")
"""


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def check(folder, epochs):
    """What each run holds; its metrics."""
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"real", "augmented", "pca_gaussian"} == set(metrics["baselines"])
    assert metrics["extractor"]["name"] == "random"
    history = pd.read_csv(folder / "history.csv")
    # A step of the generator a batch, however many processes share it.
    batches = -(-int((pd.read_csv(folder / "split.csv")["split"] == "train").sum()) // 15)
    assert history["step"].tolist() == [batches * (epoch + 1) for epoch in range(epochs)]
    assert (folder / "logs" / "rank1.log").is_file()
    assert len(list((folder / "samples").glob("epoch_*.png"))) == epochs
    return metrics


@pytest.mark.parametrize(
    "model", [name if name == "gan" else pytest.param(name, marks=pytest.mark.slow) for name in PRESETS]
)
def test_each_preset_trains_over_two_processes(vesalius, tmp_path, model):
    done = vesalius(
        "train", *SMALL, *TWO, f"model={model}", *PRESETS[model], "trainer.max_epochs=1", "hydra.run.dir=run"
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path / "run", epochs=1)


@pytest.mark.proof
def test_two_processes_that_are_stopped_and_resumed_end_as_if_they_never_were(vesalius, tmp_path, monkeypatch):
    """The preset with everything: normalisation, a classifier, random changes; batches of 15 cannot be halved."""
    (tmp_path / "stopper.py").write_text(STOPPER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    given = [
        *SMALL,
        *TWO,
        "trainer.max_epochs=2",
        "model=gan",
        *PRESETS["gan"],
        "+callbacks.stopper={_target_: stopper.Stopper}",
    ]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = vesalius("train", *given, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    metrics = check(whole, epochs=2)
    (tmp_path / "stop").touch()
    assert vesalius("train", *given, "hydra.run.dir=stopped").returncode == 1
    (tmp_path / "stop").unlink()
    resumed = vesalius("train", "resume=stopped")
    assert resumed.returncode == 0, resumed.stderr
    one, other = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, stopped))
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(other[part], one[part], rtol=0, atol=0)
    assert json.loads((stopped / "metrics.json").read_text()) == metrics
