"""The loss scaler of 16-bit training goes on where it was. A CPU trains in 16 bits too, if slowly."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vesalius.training.checkpoint_files import DurableCheckpoints

_SCALER = "MixedPrecision"


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return (self.net(batch[0]) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def train(place, epochs: int, start=None) -> dict:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=2)  # overflows, falls and grows
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
    )
    trainer.strategy.checkpoint_io = DurableCheckpoints()
    data = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    trainer.fit(Net(), DataLoader(TensorDataset(data), batch_size=4), ckpt_path=start)
    trainer.save_checkpoint(place)
    return torch.load(place, weights_only=True)


def test_a_resumed_scaler_is_the_one_that_was_stopped(tmp_path):
    whole = train(tmp_path / "whole.ckpt", 4)
    stopped = train(tmp_path / "stopped.ckpt", 2)
    resumed = train(tmp_path / "resumed.ckpt", 4, tmp_path / "stopped.ckpt")
    assert stopped[_SCALER]["scale"] != 2.0**24
    assert resumed[_SCALER] == whole[_SCALER] != stopped[_SCALER]
    for name, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value)
