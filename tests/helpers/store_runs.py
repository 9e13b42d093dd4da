"""Writes the small runs under tests/stored_runs: `python tests/helpers/store_runs.py`, from the repository root.

They are written once per format of run folders and kept: later versions must go on opening them
(`tests/contract/test_stored_runs.py`). Of each family there are two folders: `finished`, and `interrupted` as it was
after the first of its two epochs.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.runs.run_folder import Interrupted, RunFolder

STORED = Path(__file__).parents[1] / "stored_runs"
PHANTOM = ["data.source.patients=48", "data.source.slices=1", "data.source.image_size=28", "data.batch_size=12"]
FAMILIES = {
    "cnn": [*PHANTOM, "model.net.widths=[4,8]", "model.net.blocks=1"],
    "lstm": [
        "data=perfusion",
        "data.source.patients=48",
        "data.batch_size=12",
        "data.frames=4",
        "model=lstm",
        "model.net.encoder.widths=[4]",
        "model.net.encoder.blocks=1",
        "model.net.hidden_size=8",
        "evaluation.evidence=false",
    ],
    "autoencoder": [
        *PHANTOM,
        "model=autoencoder",
        "model/encoder=small_resnet",
        "model.net.encoder.widths=[4,8]",
        "model.net.encoder.blocks=1",
        "model.net.decoder.width=4",
        "model.net.decoder.blocks=1",
        "model.net.latent_dim=4",
    ],
    "gan": [
        *PHANTOM,
        "data.image_size=16",
        "model=gan",
        "model.generator.width=4",
        "model.generator.most=8",
        "model.generator.latent_dim=8",
        "model.critic.width=4",
        "model.critic.most=8",
        "model.classifier.net.widths=[4,8]",
    ],
}
COMMON = ["trainer=cpu", "trainer.precision=32", "trainer.max_epochs=2", "logger=none", "evaluation.baselines=false"]


class StopBeforeSecondEpoch(Callback):
    """Interrupts a training as a signal would."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise Interrupted(130)


def store(family: str, folder: Path) -> None:
    """Train a run of two epochs, and keep it as it was between them and at its end."""
    overrides = [*COMMON, *FAMILIES[family], "name=stored"]
    stop = "+callbacks.stop._target_=store_runs.StopBeforeSecondEpoch"
    begun = RunFolder.create(folder / "interrupted", load_config("train", [*overrides, stop]), overrides)
    with contextlib.suppress(Interrupted):
        train(begun.path)
    config = load_config("train", overrides)
    again = RunFolder.create(folder / "config", config, overrides)
    (again.path / "config.yaml").replace(begun.path / "config.yaml")
    shutil.rmtree(again.path)
    shutil.copytree(begun.path, folder / "finished")
    train(folder / "finished")
    for path in (*folder.glob("*/figures"), *folder.glob("*/logs"), *folder.glob("*/samples")):
        shutil.rmtree(path)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in sys.argv[1:] or FAMILIES:
        shutil.rmtree(STORED / name, ignore_errors=True)
        store(name, STORED / name)
