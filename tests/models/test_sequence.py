from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.models.classifier import CNNClassifier
from vesalius.models.finetune import Finetune
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.task import build_task_loss
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.series.attention import AttentionNet
from vesalius.models.nets.series.recurrent import RecurrentNet
from vesalius.models.nets.torchvision_net import TorchvisionNet
from vesalius.models.schedules import OneCycle
from vesalius.models.sequence import SequenceClassifier

ENCODER = partial(SmallResNet, widths=[4, 8], blocks=1)


def make_net(**options):
    return partial(RecurrentNet, **({"encoder": ENCODER, "input_size": 8, "hidden_size": 16} | options))


@pytest.fixture
def make_model(make_facts):
    def make(task="multiclass", *, classes=3, seed=0, lr=2e-2, net=None, **changes):
        facts = {"sequence_length": 6, "time_step": 2.0}
        if task == "regression":
            facts |= {"target_mean": (0.0,) * classes, "target_std": (20.0,) * classes}
        torch.manual_seed(seed)
        parts = {
            "net": net or make_net(),
            "loss": build_task_loss,
            "optimizer": partial(torch.optim.AdamW, lr=lr, fused=True),
            "preprocess": Preprocess,
            "schedule": OneCycle(),
        }
        return SequenceClassifier(make_facts(task, classes=classes, **facts), **(parts | changes))

    return make


def make_batches(count=6, size=16, *, task="multiclass", seed=1):
    """Two bright squares flash, one left and one right, at random frames: which came first, or neither did.

    Every class has the same frames in another order, but for the last, which has none; the lengths are random. The
    continuous target is ten times the number of frames from the left flash to the right one.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for number in range(count):
        image = torch.randint(0, 60, (size, 6, 1, 16, 16), generator=generator, dtype=torch.uint8)
        lengths = torch.randint(4, 7, (size,), generator=generator)
        target, gap = torch.randint(0, 3, (size,), generator=generator), torch.zeros(size)
        for row, label in enumerate(target.tolist()):
            early, late = sorted(torch.randperm(int(lengths[row]), generator=generator)[:2].tolist())
            if label < 2:
                left, right = (early, late) if label == 0 else (late, early)
                image[row, left, :, 4:12, :8] += 150
                image[row, right, :, 4:12, 8:] += 150
                gap[row] = 10.0 * (right - left)
        if task == "binary":
            target = target.clamp_max(1)
        if task == "multilabel":
            target = nn.functional.one_hot(target, 3).float()
        if task == "regression":
            target = gap[:, None]
        mask = torch.arange(6) < lengths[:, None]
        batches.append(
            {
                "image": image * mask[:, :, None, None, None],
                "mask": mask,
                "time": 2.0 * torch.arange(6.0).expand(size, -1),
                "length": lengths,
                "target": target,
                "index": torch.arange(size) + number * size,
            }
        )
    return batches


def loader(*arguments, **options):
    return DataLoader(make_batches(*arguments, **options), batch_size=None)


def make_trainer(folder, **changes):
    options = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 2,
    }
    return pl.Trainer(**(options | changes))


@pytest.mark.parametrize("cell", ["lstm", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("gru", "rnn"))])
def test_it_learns_the_order_of_two_events(make_model, tmp_path, cell):
    model = make_model(net=make_net(cell=cell))
    trainer = make_trainer(tmp_path, max_epochs=12, gradient_clip_val=1.0)
    trainer.fit(model, loader(10), loader(4, seed=2))
    assert set(trainer.callback_metrics) <= {*SequenceClassifier.METRICS, "lr"}
    assert trainer.callback_metrics["val/auroc"] > 0.95


@pytest.mark.parametrize("task", ["binary", "ordinal", "multilabel"])
def test_the_other_tasks_train_in_bfloat16_and_log_what_is_declared(make_model, tmp_path, task):
    model = make_model(task, classes=2 if task == "binary" else 3)
    trainer = make_trainer(tmp_path, precision="bf16-mixed")
    trainer.fit(model, loader(task=task), loader(2, task=task))
    names = {"train/loss", "val/loss", "val/auroc", "val/accuracy", "val/average_precision"}
    assert set(trainer.callback_metrics) == {*names, "lr"}
    assert names < set(SequenceClassifier.METRICS)


def test_it_learns_a_continuous_target_in_its_own_units(make_model, tmp_path):
    model = make_model("regression", classes=1, net=make_net(time_inputs=["elapsed"]))
    trainer = make_trainer(tmp_path, max_epochs=12, gradient_clip_val=1.0)
    trainer.fit(model, loader(10, task="regression"), loader(4, seed=2, task="regression"))
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert set(metrics) == {"train/loss", "val/loss", "val/mae", "val/rmse", "val/r2", "lr"}
    assert metrics["val/r2"] > 0.7
    batch = make_batches(1, 64, seed=3, task="regression")[0]
    with torch.inference_mode():
        output = model.eval().predict_step(batch)
    assert set(output) == {"index", "values"}
    assert float((output["values"] - batch["target"]).abs().mean()) == pytest.approx(metrics["val/mae"], rel=0.5)


class SaveAt(Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_a_checkpoint_is_plain_and_gives_the_same_predictions(make_model, tmp_path):
    model = make_model(finetune=Finetune(freeze=1))
    make_trainer(tmp_path, max_epochs=1, callbacks=[SaveAt(6, tmp_path / "last.ckpt")]).fit(model, loader())
    again = make_model(seed=1)
    again.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    batch = make_batches(1)[0]
    one, other = model.eval().predict_step(batch), again.eval().predict_step(batch)
    assert torch.equal(one["probabilities"], other["probabilities"])
    assert all(name.startswith("net.") for name in model.state_dict())


def test_predictions_do_not_depend_on_padding_or_on_the_batch(make_model):
    model, batch = make_model(net=make_net(bidirectional=True, time_inputs=["delta"])).eval(), make_batches(1)[0]
    whole = model.predict_step(batch)["probabilities"]
    for row in range(3):
        end = int(batch["length"][row])
        alone = {name: part[row : row + 1] for name, part in batch.items()}
        alone |= {name: alone[name][:, :end] for name in ("image", "mask", "time")}
        torch.testing.assert_close(model.predict_step(alone)["probabilities"][0], whole[row], atol=1e-5, rtol=0)


def test_predictions_over_time_end_with_the_prediction(make_model):
    for task in ("multiclass", "regression"):
        model, batch = make_model(task).eval(), make_batches(1)[0]
        steps, final = model.predict_steps(batch), model.predict_step(batch)[model.predicts]
        assert steps.shape == (16, 6, 3)
        torch.testing.assert_close(steps[:, -1], final)
        assert model.hidden_states(batch).shape == (16, 6, 16)


def test_series_without_mask_and_times_are_whole_and_regular(make_model):
    model, batch = make_model(net=make_net(time_inputs=["delta", "elapsed"])).eval(), make_batches(1)[0]
    every = torch.ones_like(batch["mask"])
    assert torch.equal(model(batch["image"]), model(batch["image"], every, batch["time"]))


def test_mirror_images_get_the_same_prediction_where_asked_for(make_model):
    batch = make_batches(1)[0]
    for flips, same in (([], False), (["horizontal"], True)):
        model = make_model(test_time_flips=flips).eval()
        nn.init.normal_(model.net.encoder.layers[0][0].residual[4].weight)
        mirrored = batch | {"image": batch["image"].flip(-1)}
        one, other = (model.predict_step(each)["probabilities"] for each in (batch, mirrored))
        assert ((one - other).abs().max() < 1e-6) == same


def make_cnn(make_facts, net=ENCODER, classes=5):
    torch.manual_seed(9)
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    return CNNClassifier(make_facts(classes=classes), net, ClassificationLoss, optimizer, Preprocess)


@pytest.mark.parametrize("classes", [3, 5])
def test_the_encoder_starts_from_a_cnn_run(make_model, make_facts, classes):
    cnn, model = make_cnn(make_facts, classes=classes), make_model(net=make_net(hidden_size=8))
    before = model.net.head.weight.clone()
    fresh = model.load_initial(cnn.state_dict())
    frames = torch.randn(2, 1, 16, 16)
    assert torch.equal(model.eval().net.encoder.features(frames), cnn.eval().net.features(frames))
    assert all(
        name.startswith(("net.encoder.head.", "net.recurrence.", "net.normalize.", "net.head.")) for name in fresh
    )
    assert torch.equal(model.net.head.weight, before)  # of the same shape as the cnn's with three classes


def test_a_run_starts_from_one_of_its_own_family_and_not_from_a_stranger(make_model, make_facts):
    one, other = make_model(seed=1), make_model(classes=4)
    assert other.load_initial(one.state_dict()) == ["net.head.weight", "net.head.bias"]
    stranger = make_cnn(make_facts, nn.Sequential(nn.Flatten(), nn.Linear(256, 5)))
    with pytest.raises(InputError, match="init_from"):
        other.load_initial(stranger.state_dict())


def test_stages_are_the_encoders(make_model, tmp_path):
    model = make_model(finetune=Finetune(freeze="all", lr_decay=0.5), schedule=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make_trainer(tmp_path, max_epochs=1).fit(model, loader())
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    encoder = {name for name in before if name.startswith("net.encoder.") and not name.startswith("net.encoder.head.")}
    assert same == encoder
    scales = {group["lr_scale"] for group in model.finetune.param_groups(model.net)}
    assert scales == {1.0, 0.5, 0.25, 0.125}


def test_pretrained_weights_are_the_encoders_affair(make_model, monkeypatch):
    called = []
    model = make_model()
    monkeypatch.setattr(model.net.encoder, "load_pretrained", lambda: called.append(True))
    model.load_pretrained()
    assert called == [True]


def test_what_does_not_fit_is_refused(make_model, make_facts):
    with pytest.raises(InputError, match="model=cnn"):
        SequenceClassifier(make_facts(), make_net(), build_task_loss, torch.optim.AdamW, Preprocess)
    with pytest.raises(InputError, match=r"alexnet.*16x16"):
        make_model(net=make_net(encoder=partial(TorchvisionNet, architecture="alexnet")))
    with pytest.raises(InputError, match="3 stages"):
        make_model(finetune=Finetune(freeze=4))


def test_facts_of_a_checkpoint_rebuild_the_time_scales(make_model, make_facts):
    facts = Facts.from_dict(make_facts(sequence_length=6, time_step=2.0).to_dict())
    model = SequenceClassifier(facts, make_net(), build_task_loss, torch.optim.AdamW, Preprocess)
    assert (model.net.time_step, model.net.duration) == (2.0, 10.0)


def test_kept_features_are_those_of_the_frames(make_model):
    frozen = {
        "finetune": Finetune(freeze="all"),
        "net": partial(AttentionNet, encoder=ENCODER, input_size=8, hidden_size=8),
    }
    batch = make_batches(1)[0] | {"frame": torch.arange(16 * 6).reshape(16, 6)}
    model, kept = make_model(**frozen), make_model(**frozen, cache_features=True)
    for one in (model, kept):
        one.finetune.apply(one.net.train(), 0)
        one.batch_loss(batch).backward()
    for (name, one), (_, other) in zip(model.named_parameters(), kept.named_parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, msg=name)
    black = batch | {"image": torch.zeros_like(batch["image"])}  # known by their numbers
    with torch.inference_mode():
        expected = model.eval().predict_step(batch)["probabilities"]
        torch.testing.assert_close(kept.eval().predict_step(black)["probabilities"], expected, atol=1e-5, rtol=0)
    assert not torch.allclose(kept.predict_step(black)["probabilities"], expected)  # with gradients of the images
    with pytest.raises(InputError, match="cache_features"):
        make_model(cache_features=True)
