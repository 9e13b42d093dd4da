"""Two processes that share each batch train as one process does, and count every sample once."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError

pytestmark = pytest.mark.xdist_group("ddp_runs")  # its runs are made once

# Neither BatchNorm nor dropout, whose results depend on how a batch is divided.
PLAIN = """
from torch import nn

class Plain(nn.Sequential):
    def __init__(self, in_channels, num_outputs):
        super().__init__(
            nn.Conv2d(in_channels, 12, 5, 2), nn.GroupNorm(3, 12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(216, num_outputs),
        )
"""
# Batches that two devices cannot halve, a smaller last one, classes that weigh, and everything random switched on.
HARD = [
    "data=lesions",
    "data.source.patients=60",
    "data.source.slices=2",
    "data.source.image_size=32",
    "data/augment=standard",
    "data.batch_size=15",
    "data.eval_batch_size=7",
    "model.loss.class_weights=[1,2,3,4]",
    "~model.net",
    "+model.net={_target_: plain.Plain, _partial_: true}",
    "callbacks=ema",
    "model.optimizer.lr=0.02",
    "trainer.max_epochs=3",
    "trainer.gradient_clip_val=0.5",
    "trainer.precision=32",
    "logger=none",
]


@pytest.fixture(scope="module")
def train(tmp_path_factory, warm_vesalius_in, fresh_vesalius_in):
    """Run `vesalius train` with a net of the user's own, in a folder of the test module's own."""
    place = tmp_path_factory.mktemp("ddp")
    (place / "plain.py").write_text(PLAIN)

    def run(name: str, *overrides: str, fresh: bool = False) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(place))
            vesalius_in = fresh_vesalius_in if fresh else warm_vesalius_in
            done = vesalius_in(place, "train", *overrides, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        return place / name

    return run


@pytest.fixture(scope="module")
def one(train):
    return train("one", *HARD, "trainer=cpu")


@pytest.fixture(scope="module", params=["forked", pytest.param("fresh", marks=pytest.mark.slow)])
def two(train, request):
    return train(request.param, *HARD, "trainer=ddp_cpu", fresh=request.param == "fresh")


def test_losses_and_metrics_are_those_of_one_process(one, two):
    histories = [pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (one, two)]
    assert len(histories[0]) == 3
    pd.testing.assert_frame_equal(*histories, rtol=1e-5, atol=1e-5)
    predictions = [pd.read_csv(folder / "predictions/test.csv") for folder in (one, two)]
    pd.testing.assert_frame_equal(*predictions, rtol=1e-4, atol=1e-5)


def test_the_validation_loss_is_the_mean_over_its_samples(two):
    monitor, history = json.loads((two / "metrics.json").read_text())["monitor"], pd.read_csv(two / "history.csv")
    table = pd.read_csv(two / "predictions/val.csv")
    target = table["target"].to_numpy()
    losses = -np.log(table.filter(like="prob/").to_numpy()[np.arange(len(target)), target])
    assert history["val/loss"][monitor["epoch"]] == pytest.approx(np.average(losses, weights=1 + target), abs=1e-5)


def test_each_sample_counts_once(two):
    split = pd.read_csv(two / "split.csv", dtype=str)
    for name in ("val", "test"):
        table = pd.read_csv(two / "predictions" / f"{name}.csv", dtype={"sample_id": str})
        assert sorted(table["sample_id"]) == sorted(split.loc[split["split"] == name, "sample_id"])
    metrics = json.loads((two / "metrics.json").read_text())
    assert metrics["test"]["auroc"]["n"] == (split["split"] == "test").sum()
    # What was measured while training, over both devices, is what the table of the best epoch gives.
    monitor, history = metrics["monitor"], pd.read_csv(two / "history.csv")
    assert history[monitor["name"]][monitor["epoch"]] == pytest.approx(metrics["val"]["auroc"]["value"], abs=1e-6)
    assert history["val/accuracy"][monitor["epoch"]] == pytest.approx(metrics["val"]["accuracy"]["value"], abs=1e-6)


def test_validation_samples_are_dealt_out_and_too_few_are_refused():
    overrides = ["data=lesions", "data.source.patients=20", "data.source.image_size=28", "data.eval_batch_size=5"]
    data = build(load_config("train", overrides)["data"], "data")
    data.setup()
    parts = []
    for rank in range(3):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, training=False)
        parts += [batch["index"] for batch in data.val_dataloader()]
    assert torch.equal(torch.cat(parts).sort().values, data.rows("val"))
    data.trainer = SimpleNamespace(global_rank=0, world_size=6)
    with pytest.raises(InputError, match=r"raise data\.eval_batch_size"):
        data.val_dataloader()


def test_ranks_log_the_config_that_they_agreed_on(two):
    logs = [(two / "logs" / f"rank{rank}.log").read_text() for rank in (0, 1)]
    hashes = [next(line.split("config ")[1] for line in log.splitlines() if "config " in line) for log in logs]
    assert hashes[0] == hashes[1]
    assert "batch of 15 = 1 x 8 + 1 x 7" in logs[0]


SMALL = ["data.source.patients=60", "data.batch_size=15", "trainer.max_epochs=2", "trainer.precision=32", "logger=none"]
LESIONS = ["data=lesions", "data.source.slices=2", "data.source.image_size=28", "data.eval_batch_size=6", *SMALL]
ENCODER = ["~model.net.encoder", "+model.net.encoder={_target_: plain.Plain, _partial_: true}", "model.net.dropout=0"]
FAMILIES = {
    "autoencoder": [*LESIONS, "model=article_autoencoder", "model.noise=0.5", "data/augment=standard"],
    "gan": [
        *LESIONS,
        "model=article_gan",
        "data.channels=1",
        "model.n_critic=2",
        "model.conditional=true",
        "model.loss.gradient_penalty=10",
        "+model.augment={_target_: vesalius.models.DifferentiableAugment, brightness: 0.3}",
        "+model.augment.mirror=0.5",
        "trainer.accumulate_grad_batches=2",
    ],
    "lstm": [
        *("data=perfusion", "model=lstm", "data.frames=6", "data.sampling=balanced", *ENCODER, *SMALL),
        "trainer.accumulate_grad_batches=2",
    ],
}


@pytest.mark.proof
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_holds_for_every_family(family, train):
    folders = [
        train(f"{family}_{name}", *FAMILIES[family], f"trainer={name}", fresh=True) for name in ("cpu", "ddp_cpu")
    ]
    histories = [pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in folders]
    print(f"{family}:\n{histories[0]}\n{histories[1]}")
    pd.testing.assert_frame_equal(*histories, rtol=1e-5, atol=1e-5)
