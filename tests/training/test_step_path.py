"""What keeps training fast, without a clock: no Python for each sample, metrics that are computed once per epoch."""

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from small_runs import SMALL, train_in
from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.models.epoch_metrics.classification import ClassificationMetrics

EPOCHS = 3
LESIONS = [override for override in SMALL if override.startswith("data.")]


def python_calls(work):
    """How many Python functions some work enters."""
    calls = Counter()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls["call"]


@pytest.fixture
def data_of(cache_dir):
    """The datamodule of a config, set up as in training."""

    def make(batch_size, *overrides):
        config = load_config("train", ["trainer=cpu", f"data.batch_size={batch_size}", *overrides])
        data = build(config["data"], "data")
        data.setup()
        data.trainer = SimpleNamespace(training=True, current_epoch=0, global_rank=0, world_size=1)
        return data

    return make


@pytest.mark.parametrize(
    "family",
    [
        ["model=cnn", *LESIONS],
        ["model=autoencoder", *LESIONS],
        ["model=gan", *LESIONS],
        ["data=perfusion", "model=lstm", "data.source.patients=24"],
    ],
    ids=["cnn", "autoencoder", "gan", "series"],
)
def test_a_larger_batch_enters_no_more_python_functions(data_of, family):
    def calls(batch_size):
        data = data_of(batch_size, *family)
        data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)  # what is built once
        seen = []

        def first_batch():
            batch = next(iter(data.train_dataloader()))
            seen.append(len(data.on_after_batch_transfer(batch, 0)["index"]))

        count = python_calls(first_batch)
        assert seen == [batch_size]
        return count

    assert calls(4) == calls(12)


def test_metrics_are_computed_once_per_epoch_and_only_from_validation_batches(monkeypatch, tmp_path):
    calls = Counter()

    def count(name):
        method = getattr(ClassificationMetrics, name)

        def counted(self, *arguments):
            calls[name] += 1
            return method(self, *arguments)

        monkeypatch.setattr(ClassificationMetrics, name, counted)

    count("compute")
    count("update")
    train_in(tmp_path / "run", [*SMALL, "data.batch_size=4", f"trainer.max_epochs={EPOCHS}", "model.net.widths=[8]"])
    assert calls == {"compute": EPOCHS, "update": EPOCHS}  # one batch of validation, eleven of training
