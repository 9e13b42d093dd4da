"""A run that its sweep gave up: the request, how training finds it, and the state of the folder afterwards."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from run_maker import predictions, write_run
from vesalius.runs.prune_request import request_pruning
from vesalius.runs.run_folder import PRUNE, Interrupted, Pruned, RunFolder, write_json
from vesalius.training.stopping import PruneOnRequest


@pytest.fixture
def run(tmp_path):
    """A run folder."""
    return RunFolder(write_run(tmp_path / "sweep" / "0", predictions(1.0, 0)))


class Line(pl.LightningModule):
    """A straight line; asks for its own end in its second epoch."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.layer, self.epochs = folder, torch.nn.Linear(1, 1), 0

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def on_train_epoch_end(self):
        self.epochs += 1
        if self.epochs == 2:
            (self.folder / PRUNE).write_text("median pruner: worse than others")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)), batch_size=2)


def test_training_stops_after_the_epoch_in_which_it_was_asked(run):
    model = Line(run.path)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=5,
        callbacks=[PruneOnRequest()],
        default_root_dir=str(run.path),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(Pruned) as stopped, run.attempt():
        trainer.fit(model)
    assert model.epochs == 2
    assert stopped.value.exit_code == 143
    assert run.state["state"] == "pruned"
    assert run.state["reason"] == "median pruner: worse than others"


def test_all_ranks_stop_on_what_rank_zero_saw(tmp_path):
    """Rank 1 would find the file, rank 0 has not: neither stops."""
    said = []

    def rank(number, root, seen):
        strategy = SimpleNamespace(broadcast=lambda reason: said.append(reason) or seen)
        zero = number == 0
        return SimpleNamespace(is_global_zero=zero, world_size=2, strategy=strategy, default_root_dir=str(root))

    (tmp_path / PRUNE).write_text("too late")
    PruneOnRequest().on_train_epoch_end(rank(1, tmp_path, None), None)
    with pytest.raises(Pruned, match="from rank 0"):
        PruneOnRequest().on_train_epoch_end(rank(1, tmp_path / "elsewhere", "from rank 0"), None)
    with pytest.raises(Pruned):
        PruneOnRequest().on_train_epoch_end(rank(0, tmp_path, "too late"), None)
    assert said == [None, None, "too late"]


def test_the_sweeps_signal_is_not_taken_for_the_users(run):
    with pytest.raises(Interrupted), run.attempt():
        raise Interrupted(143)
    assert (run.state["state"], run.state["reason"]) == ("interrupted", "SIGTERM")
    with pytest.raises(Interrupted):
        _ask_and_stop(run)
    assert (run.state["state"], run.state["reason"]) == ("pruned", "given up")


def _ask_and_stop(run):
    with run.attempt():
        (run.path / PRUNE).write_text("given up")
        raise Interrupted(143)


def test_an_old_request_does_not_stop_a_new_attempt(run):
    (run.path / PRUNE).write_text("given up")
    with run.attempt():
        assert not (run.path / PRUNE).exists()
    assert run.state["state"] == "done"


def test_the_signal_reaches_only_the_process_of_this_run(run, tmp_path):
    """The process that works on another folder stays, even where its number stands in this one's state."""
    sleep = [sys.executable, "-c", "import time; time.sleep(60)", "vesalius"]
    with (
        subprocess.Popen([*sleep, str(run.path)]) as mine,
        subprocess.Popen([*sleep, str(tmp_path / "other")]) as other,
    ):
        write_json(run.path / "state.json", {"state": "running", "pid": other.pid})
        request_pruning(run.path, "given up")
        time.sleep(0.2)
        assert other.poll() is None
        write_json(run.path / "state.json", {"state": "running", "pid": mine.pid})
        request_pruning(run.path, "given up")
        assert mine.wait(10) == -signal.SIGTERM
        os.kill(other.pid, signal.SIGKILL)
    assert (run.path / PRUNE).read_text() == "given up"


def test_a_run_that_does_not_work_is_only_asked(run):
    write_json(run.path / "state.json", {"state": "running", "pid": 2**22 + 1})
    request_pruning(run.path, "given up")
    write_json(run.path / "state.json", {"state": "done"})
    request_pruning(run.path, "given up")
    assert (run.path / PRUNE).read_text() == "given up"
