"""What all trackers share, without any of them."""

import json
from typing import Any

from vesalius.training.tracking.base import Tracker, flat_metrics, model_name, source_name, trackers_of

M = {"value": 0.9, "ci95": [0.8, 0.95], "n": 80, "groups": 40, "method": "cluster bootstrap", "no_skill": 0.5}


def test_every_number_of_metrics_json_has_a_flat_key():
    metrics = {
        "task": "binary",
        "monitor": {"name": "val/auroc", "best": 0.91, "epoch": 3},
        "test": {"auroc": M, "recall/sick": {**M, "value": 0.7}},
        "baselines": {"majority": {"auroc": {**M, "value": 0.5}}},
        "evidence_classes": ["sick"],
    }
    flat = flat_metrics(metrics)
    assert flat["test/auroc"] == 0.9
    assert (flat["test/auroc/ci95_low"], flat["test/auroc/ci95_high"]) == (0.8, 0.95)
    assert (flat["test/auroc/n"], flat["test/auroc/groups"], flat["test/auroc/no_skill"]) == (80, 40, 0.5)
    assert flat["test/recall/sick"] == 0.7
    assert flat["baselines/majority/auroc"] == 0.5
    assert (flat["monitor/best"], flat["monitor/epoch"], flat["task"]) == (0.91, 3, "binary")
    assert "bootstrap" not in json.dumps(flat)
    assert all(isinstance(value, str | int | float) for value in flat.values())


def test_a_metric_that_could_not_be_computed_has_its_reason():
    missing = {**M, "value": None, "ci95": None, "reason": "one patient only"}
    flat = flat_metrics({"test": {"auroc": missing}})
    assert flat["test/auroc/reason"] == "one patient only"
    assert not {"test/auroc", "test/auroc/ci95_low"} & set(flat)


def test_a_class_called_like_a_part_of_a_metric_keeps_its_number():
    for order in (["recall", "recall/n"], ["recall/n", "recall"]):
        values = {"recall": M, "recall/n": {**M, "value": 0.25}}
        assert flat_metrics({"test": {name: values[name] for name in order}})["test/recall/n"] == 0.25


def test_a_model_is_named_by_its_module_and_net():
    net = {"_target_": "vesalius.models.nets.SmallResNet"}
    assert model_name({"model": {"_target_": "vesalius.models.CNNClassifier", "net": net}}) == (
        "CNNClassifier/SmallResNet"
    )
    torchvision = {"_target_": "vesalius.models.nets.TorchvisionNet", "architecture": "resnet18"}
    assert model_name({"model": {"_target_": "a.CNNClassifier", "net": torchvision}}) == "CNNClassifier/resnet18"
    assert model_name({"model": {"_target_": "a.GAN", "generator": {"_target_": "b.Residual"}}}) == "GAN/Residual"
    assert model_name({}) == ""


def test_data_are_named_by_their_set_or_their_kind():
    assert source_name({"data": {"source": {"_target_": "a.MedMNIST", "name": "breastmnist"}}}) == "breastmnist"
    assert source_name({"data": {"source": {"_target_": "a.ImageFolder", "root": "/patients"}}}) == "ImageFolder"


class Recorder(Tracker):
    """Keeps what it receives."""

    label = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def begin(self, folder, config, name, task=None):
        self.told.append(("begin", name))

    def log_epoch(self, row):
        self.told.append(row)

    def show(self, name, figure):
        self.told.append((name, self.epoch))

    def finish(self, metrics, figures, answers=None):
        self.told.append("finish")


def test_an_epoch_is_one_row_and_lightnings_own_loggers_may_stand_next_to_it(tmp_path):
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.loggers import CSVLogger

    from vesalius.training.tracking.base import TrackEpochs

    class Line(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            loss = self.layer(batch).square().mean()
            self.log("train/loss", loss, on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/loss", self.layer(batch).square().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = torch.utils.data.DataLoader(torch.ones(4, 1))
    recorder, other = Recorder(), CSVLogger(tmp_path)
    assert trackers_of([recorder, other]) == [recorder]
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=[recorder, other],
        callbacks=[TrackEpochs()],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Line(), loader, loader)
    assert [row["epoch"] for row in recorder.told] == [0, 1, 2]
    assert all({"step", "train/loss", "val/loss"} < set(row) for row in recorder.told)
    assert [row["step"] for row in recorder.told] == [4, 8, 12]
    assert recorder.epoch == 2
