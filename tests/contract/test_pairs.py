"""What every pair of model and data promises: equal seeds are equal, resumed is uninterrupted, no pickle."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from sketches import real_figures
from small_runs import train_in
from vesalius.commands.train import train
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.runs.redaction import without_paths
from vesalius.runs.run_folder import RunFolder
from vesalius.training import session
from vesalius.training.checkpoints import load_checkpoint, restore_model

# One entry a model family, and one for each other kind of net over time: the data,
# and overrides that train two epochs in seconds with everything random on.
PAIRS = {
    "cnn": (
        "medmnist",
        ["data/augment=standard", "data.sampling=balanced", "data.batch_size=16", "model.net.dropout=0.3"],
    ),
    "probe": ("medmnist", ["model=probe", "model.preprocess.image_size=32", "data.train_fraction=0.5"]),
    "finetune_lora": (
        "medmnist",
        ["model=finetune_lora", "model.preprocess.image_size=32", "model.net.dropout=0.2", "data.batch_size=16"],
    ),
    "lstm": (
        "perfusion",
        [
            "data/augment=standard",
            "data.sampling=balanced",
            "data.batch_size=12",
            "data.frames=8",
            "model=lstm",
            "model.net.layers=2",
            "model.net.dropout=0.3",
        ],
    ),
    "transformer": (
        "perfusion",
        ["data/augment=standard", "data.batch_size=12", "data.frames=8", "model=transformer", "model.net.dropout=0.3"],
    ),
    "attention": (  # over the features of a frozen encoder, computed once
        "perfusion",
        [
            "data/augment=none",
            "data.batch_size=12",
            "data.frames=8",
            "model=attention",
            "model.finetune.freeze=all",
            "model.cache_features=true",
            "model.net.dropout=0.3",
        ],
    ),
    "autoencoder": (
        "lesions",
        [
            "data/augment=standard",
            "data.batch_size=8",
            "data.source.image_size=28",
            "model=denoising_autoencoder",
            "model/encoder=small_resnet",
            "model.net.latent_dim=4",
        ],
    ),
    "vicreg": (
        "lesions",
        [
            "data/augment=standard",
            "data.batch_size=8",
            "data.source.image_size=28",
            "model=vicreg",
            "model.net.latent_dim=4",
            "model.net.encoder.widths=[8,16]",
        ],
    ),
    "gan": (
        "lesions",
        [
            "data/augment=standard",
            "data.sampling=balanced",
            "data.batch_size=8",
            "data.image_size=16",
            "model=gan",
            "model.generator.width=8",
            "model.critic.width=8",
            "model.n_critic=2",
            "model.loss.r1=1.0",
            "model/schedule=cosine",
            "trainer.gradient_clip_val=1.0",
            "trainer.accumulate_grad_batches=2",
            "callbacks=default",
        ],
    ),
}
COMMON = ["callbacks=ema", "trainer=cpu", "trainer.max_epochs=2", "logger=none"]
#: What comes after the test metrics, and costs more than two epochs of so little.
NO_EXTRAS = ["evaluation.baselines=false", "evaluation.probes=false", "evaluation.evidence=false"]


def _group(family):
    return pytest.mark.xdist_group(f"pair_{family}")  # its whole run is made once


def _marks(family):
    """One family stands for all in `make test`; the others, half a minute each, are in `make test-all`."""
    return [_group(family)] if family == "cnn" else [_group(family), pytest.mark.slow]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=_marks(name)) for name in sorted(PAIRS)])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def overrides(family, data_overrides):
    data, chosen = PAIRS[family]
    return [f"data={data}", *data_overrides[data], *COMMON, *chosen]


@pytest.fixture(scope="module")
def whole(family, overrides, tmp_path_factory):
    """A finished run of the family, which no test changes."""
    with real_figures():
        return train_in(tmp_path_factory.mktemp(family) / "whole", overrides)


def checkpoint(folder, name="last"):
    return torch.load(folder.checkpoints / f"{name}.ckpt", weights_only=True)


def weights(folder, name="last"):
    return checkpoint(folder, name)["state_dict"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_gives_another_run(overrides, whole, run_training):
    other = run_training([*overrides, *NO_EXTRAS, "seed=1"], "other")
    assert not equal(weights(other), weights(whole))
    assert other.metrics["test"] != whole.metrics["test"]


def test_equal_seeds_give_equal_runs_also_where_one_is_stopped_and_resumed(
    overrides, whole, run_training, monkeypatch, tmp_path
):
    class Stop(RuntimeError):
        pass

    last_epoch = int(pd.read_csv(whole.path / "history.csv")["epoch"].max())

    class Stopper(session.EpochProgress):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == last_epoch and batch_idx == last_epoch:
                raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(session, "EpochProgress", Stopper)
        with pytest.raises(Stop):
            run_training(overrides, "stopped")
    folder = RunFolder(tmp_path / "stopped")
    assert folder.state["state"] == "failed"
    train(folder.path)
    assert folder.state["attempt"] == 2
    assert equal(weights(folder), weights(whole))
    assert equal(weights(folder, "best"), weights(whole, "best"))
    for name in ("optimizer_states", "lr_schedulers"):
        resumed, uninterrupted = checkpoint(folder)[name], checkpoint(whole)[name]
        assert len(uninterrupted) == (3 if "model=gan" in overrides else 1)
        torch.testing.assert_close(resumed, uninterrupted, rtol=0, atol=0)
    resumed, uninterrupted = (
        {name: state for name, state in checkpoint(run)["callbacks"].items() if name.startswith("Checkpoint")}
        for run in (folder, whole)
    )
    assert len(uninterrupted) == 2
    assert resumed == uninterrupted
    assert folder.metrics == whole.metrics
    histories = [pd.read_csv(run.path / "history.csv").drop(columns="seconds") for run in (folder, whole)]
    pd.testing.assert_frame_equal(*histories)


def test_a_checkpoint_is_plain_and_rebuilds_its_model(whole):
    for name in ("best", "last"):
        checkpoint = load_checkpoint(whole.checkpoints / f"{name}.ckpt")
        assert checkpoint["config"] == without_paths(whole.config)
        assert str(whole.path) not in json.dumps(checkpoint["callbacks"], default=str)
    model, facts = restore_model(checkpoint), Facts.from_dict(checkpoint["facts"])
    frames = [] if facts.sequence_length is None else [3]
    image = torch.zeros(2, *frames, facts.channels, *facts.image_size, dtype=torch.uint8)
    if model.output_kind == "samples":
        assert model.sample(torch.zeros(2, dtype=torch.int64), torch.Generator()).shape == image.shape
    else:
        assert model(image).shape == (image.shape if model.output_kind == "reconstructions" else (2, facts.num_classes))


def test_the_run_folder_holds_what_the_design_promises(whole):
    for name in ("config.yaml", "overrides.yaml", "state.json", "provenance.json", "split.csv", "history.csv"):
        assert (whole.path / name).is_file(), name
    metrics = whole.metrics
    assert {"schema", "task", "monitor", "val", "test", "baselines"} <= set(metrics)
    for split in ("val", "test"):
        table = pd.read_csv(whole.predictions / f"{split}.csv")
        assert {"sample_id", "group_id", "target"} < set(table.columns)
        assert table["sample_id"].is_unique
        for name, entry in metrics[split].items():
            assert {"value", "ci95", "n", "groups", "method", "no_skill"} <= set(entry), name
    monitor = metrics["monitor"]
    history = pd.read_csv(whole.path / "history.csv")[monitor["name"]] * (1 if monitor["mode"] == "max" else -1)
    assert abs(monitor["best"]) == pytest.approx(abs(history.max()))
    assert monitor["epoch"] == int(np.argmax(history))


def test_a_run_that_is_refused_leaves_no_folder(overrides, run_training, tmp_path):
    with pytest.raises(InputError, match="weight_decy"):
        run_training([*overrides, "+model.optimizer.weight_decy=1"], "refused")
    wrong = "data.source.root=nowhere" if "data=medmnist" in overrides else "data.source.patients=1"
    with pytest.raises(InputError, match=r"patients|breastmnist"):
        run_training([*overrides, wrong], "no_data")
    assert not (tmp_path / "refused").exists()
    assert not (tmp_path / "no_data").exists()


@pytest.mark.parametrize("family", [pytest.param("cnn", marks=_group("cnn"))], indirect=True)
def test_numbers_are_those_of_scikit_learn_and_medmnist(whole):
    from medmnist.evaluator import getACC, getAUC
    from sklearn import metrics as oracle

    table, metrics = pd.read_csv(whole.predictions / "test.csv"), whole.metrics["test"]
    target, chances = table["target"].to_numpy(), table.filter(like="prob/").to_numpy()
    predicted = chances.argmax(1)
    expected = {
        "auroc": oracle.roc_auc_score(target, chances[:, 1]),
        "average_precision": oracle.average_precision_score(target, chances[:, 1]),
        "accuracy": oracle.accuracy_score(target, predicted),
        "balanced_accuracy": oracle.balanced_accuracy_score(target, predicted),
        "recall": oracle.recall_score(target, predicted, average="macro", zero_division=0),
        "precision": oracle.precision_score(target, predicted, average="macro", zero_division=0),
        "f1": oracle.f1_score(target, predicted, average="macro", zero_division=0),
    }
    for name, value in expected.items():
        assert metrics[name]["value"] == pytest.approx(value, abs=1e-6), name
    assert metrics["auroc"]["value"] == pytest.approx(getAUC(target[:, None], chances[:, 1:], "binary-class"), abs=1e-6)
    assert metrics["accuracy"]["value"] == pytest.approx(
        getACC(target[:, None], chances[:, 1:], "binary-class"), abs=1e-6
    )


def test_shuffled_labels_teach_nothing(run_training):
    overrides = ["data=lesions", "data.source.patients=120", "data.source.slices=2", "data.source.image_size=28"]
    overrides += ["trainer=cpu", "trainer.max_epochs=3", "logger=none", "data.shuffle_labels=true"]
    overrides += NO_EXTRAS
    low, high = run_training(overrides).metrics["test"]["auroc"]["ci95"]
    assert low < 0.5 < high
