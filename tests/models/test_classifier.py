import io
import math
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from sklearn.metrics import mean_absolute_error, r2_score
from torch import nn

from vesalius.config.errors import InputError, RunFailed
from vesalius.models.classifier import CNNClassifier
from vesalius.models.finetune import Finetune
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.task import build_task_loss
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.torchvision_net import TorchvisionNet
from vesalius.models.schedules import MultiStep, OneCycle


def make_model(facts, *, seed=0, lr=1e-2, **changes):
    torch.manual_seed(seed)
    parts = {
        "net": partial(SmallResNet, widths=[4, 8]),
        "loss": ClassificationLoss,
        "optimizer": partial(torch.optim.AdamW, lr=lr, fused=True),
        "preprocess": Preprocess,
        "schedule": OneCycle(),
    }
    return CNNClassifier(facts, **(parts | changes))


class Batches:
    """Batches of squares that are bright in the class's corner; remembers where to go on, as the sampler does."""

    def __init__(self, count=6, size=8, *, task="multiclass", start=0):
        self.start = start
        generator = torch.Generator().manual_seed(1)
        self.batches = []
        for number in range(count):
            target = torch.randint(0, 3, (size,), generator=generator)
            image = torch.randint(0, 100, (size, 1, 16, 16), generator=generator, dtype=torch.uint8)
            for row, label in enumerate(target.tolist()):
                image[row, 0, 8 * (label // 2) : 8 * (label // 2) + 8, 8 * (label % 2) : 8 * (label % 2) + 8] += 120
            hot = nn.functional.one_hot(target, 3).float()
            index = torch.arange(size) + number * size
            if task == "multilabel":
                target = hot
            elif task == "binary":
                target = target.clamp_max(1)
            elif task == "regression":  # ten times the number of the corner, and its opposite
                target = torch.stack([10.0 * target, -10.0 * target], dim=1)
            self.batches.append({"image": image, "target": target, "index": index})

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        start, self.start = self.start, 0  # runs with the first batch: Lightning makes an iterator too many
        yield from self.batches[start:]


def make_trainer(folder, **changes):
    options = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 2,
    }
    return pl.Trainer(**(options | changes))


@pytest.mark.parametrize("task", ["binary", "multiclass", "ordinal", "multilabel"])
def test_it_learns_what_can_be_learned_and_logs_what_it_declares(make_facts, tmp_path, task):
    model = make_model(make_facts(task, classes=2 if task == "binary" else 3))
    trainer = make_trainer(tmp_path, max_epochs=8, precision="bf16-mixed")
    trainer.fit(model, Batches(task=task), Batches(2, task=task))
    assert set(trainer.callback_metrics) == {*model.logged_metrics, "lr"}
    assert set(model.logged_metrics) < set(CNNClassifier.METRICS)
    assert trainer.callback_metrics["val/auroc"] > 0.95


@pytest.mark.parametrize("kind", ["auto", "l1", "huber"])
def test_it_learns_several_continuous_targets_in_their_own_units(make_facts, tmp_path, kind):
    facts = make_facts("regression", classes=2, target_mean=(10.0, -10.0), target_std=(8.0, 8.0))
    model = make_model(facts, loss=partial(build_task_loss, kind=kind), test_time_flips=["horizontal"])
    trainer = make_trainer(tmp_path, max_epochs=12)
    trainer.fit(model, Batches(task="regression"), Batches(2, task="regression"))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert set(logged) == {*model.logged_metrics, "lr"}
    with torch.inference_mode():
        outputs = [model.eval().predict_step(batch)["values"] for batch in Batches(2, task="regression")]
    predicted = torch.cat(outputs)
    true = torch.cat([batch["target"] for batch in Batches(2, task="regression")])
    assert logged["val/mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-4)
    assert logged["val/r2"] == pytest.approx(r2_score(true, predicted), rel=1e-4)
    assert r2_score(true, predicted) > 0.3  # of mirror images, the corners of a row look alike
    with pytest.raises(InputError, match="continuous"):
        make_model(facts)


def test_train_loss_is_the_mean_over_samples(make_facts, tmp_path):
    batches = Batches(3)
    batches.batches[-1] = {key: value[:2] for key, value in batches.batches[-1].items()}
    frozen_at_once = partial(torch.optim.SGD, lr=1e-30)  # the weights stay, so that the epoch's loss can be checked
    linear = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    model = make_model(make_facts(), net=linear, optimizer=frozen_at_once, schedule=None, channels_last=False)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, batches)
    whole = {key: torch.cat([batch[key] for batch in batches.batches]) for key in ("image", "target")}
    expected = model.loss(model(whole["image"]), whole["target"])
    torch.testing.assert_close(trainer.callback_metrics["train/loss"], expected, atol=1e-5, rtol=1e-4)
    assert float(trainer.callback_metrics["lr"]) == pytest.approx(1e-30)


def test_checkpoints_load_without_pickle_and_hold_the_weights_that_were_validated(make_facts, tmp_path):
    callbacks = [
        EMAWeightAveraging(decay=0.9),
        ModelCheckpoint(tmp_path, "best", monitor="val/auroc", mode="max", save_on_train_epoch_end=True),
        ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True),
    ]
    finetune = Finetune(freeze=1, unfreeze_every=1, lr_decay=0.5, exempt_biases_and_norms=True)
    model = make_model(make_facts(), finetune=finetune)
    trainer = make_trainer(tmp_path, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(model, Batches(), Batches(2))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["train_loss"]["samples"] == 0
    again = make_model(make_facts(), seed=1, finetune=finetune)
    again.load_state_dict(checkpoint["state_dict"])
    validated = make_trainer(tmp_path).validate(again, Batches(2), verbose=False)[0]
    for name in ("val/loss", "val/auroc"):
        assert validated[name] == pytest.approx(float(trainer.callback_metrics[name]), rel=1e-5)


class SaveAt(Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_resumed_in_mid_epoch_equals_uninterrupted(make_facts, tmp_path):
    finetune = Finetune(freeze="all", unfreeze_every=1)
    whole = make_model(make_facts(), finetune=finetune)
    trainer = make_trainer(tmp_path, callbacks=[SaveAt(10, tmp_path / "mid.ckpt")])
    trainer.fit(whole, Batches(), Batches(2))
    saved = torch.load(tmp_path / "mid.ckpt", weights_only=True)["train_loss"]
    assert saved["samples"] == 4 * 8
    resumed = make_model(make_facts(), seed=1, finetune=finetune)
    second = make_trainer(tmp_path)
    second.fit(resumed, Batches(start=4), Batches(2), ckpt_path=tmp_path / "mid.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert second.callback_metrics == trainer.callback_metrics


def test_equal_seeds_train_to_equal_weights_and_others_do_not(make_facts, tmp_path):
    weights = []
    for seed in (0, 0, 1):
        model = make_model(make_facts(), seed=seed)
        make_trainer(tmp_path, max_epochs=1).fit(model, Batches())
        weights.append(model.net.head.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_divergence_is_reported_and_no_broken_weights_are_written(make_facts, tmp_path):
    model = make_model(make_facts(), optimizer=partial(torch.optim.SGD, lr=1e30), schedule=None)
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1)
    trainer = make_trainer(tmp_path, callbacks=[saver], enable_checkpointing=True)
    with pytest.raises(RunFailed, match=r"epoch 0, step \d, at a learning rate of 1e\+30: lower model\.optimizer\.lr"):
        trainer.fit(model, Batches(), Batches(2))
    for file in tmp_path.glob("*.ckpt"):
        state = torch.load(file, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("validate", [True, False])
def test_divergence_is_seen_by_the_end_of_the_epoch_if_steps_are_not_checked(
    make_facts, tmp_path, monkeypatch, validate
):
    model = make_model(make_facts())
    monkeypatch.setattr(model.loss, "forward", lambda logits, target: logits.sum() * math.nan)
    monkeypatch.setattr(model, "should_check_losses", lambda step: False)  # as on an accelerator
    saver = ModelCheckpoint(tmp_path, save_on_train_epoch_end=True)
    trainer = make_trainer(tmp_path, callbacks=[saver], enable_checkpointing=True)
    with pytest.raises(RunFailed, match="training loss became nan"):
        trainer.fit(model, Batches(), Batches(2) if validate else None)
    assert not list(tmp_path.glob("*.ckpt"))


def test_non_finite_weights_are_never_saved(make_facts, tmp_path):
    model = make_model(make_facts())
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, Batches())
    with torch.no_grad():
        model.net.head.weight[0, 0] = math.inf
    with pytest.raises(RunFailed, match="norm of the weights"):
        trainer.save_checkpoint(tmp_path / "bad.ckpt")
    with pytest.raises(RunFailed, match="validation loss"):
        make_trainer(tmp_path).validate(model, Batches(2), verbose=False)


def test_staged_unfreezing_through_the_trainer(make_facts, tmp_path):
    model = make_model(make_facts(), finetune=Finetune(freeze="all", unfreeze_every=1), schedule=None)
    before = [{k: v.clone() for k, v in stage.state_dict().items()} for stage in model.net.stages()]
    make_trainer(tmp_path, max_epochs=2).fit(model, Batches(), Batches(2))
    same = [
        all(torch.equal(value, old[name]) for name, value in stage.state_dict().items())
        for stage, old in zip(model.net.stages(), before, strict=True)
    ]
    assert same == [True, True, False]


def test_staged_unfreezing_over_devices_says_which_strategy_it_needs(make_facts):
    model = make_model(make_facts(), finetune=Finetune(freeze="all", unfreeze_every=1))
    model.trainer = SimpleNamespace(strategy=DDPStrategy())
    with pytest.raises(InputError, match="ddp_find_unused_parameters_true"):
        model.setup("fit")
    model.trainer = SimpleNamespace(strategy=DDPStrategy(find_unused_parameters=True))
    model.setup("fit")
    fixed = make_model(make_facts(), finetune=Finetune(freeze=1))
    fixed.trainer = SimpleNamespace(strategy=DDPStrategy())
    fixed.setup("fit")
    assert not any(parameter.requires_grad for parameter in fixed.net.stem.parameters())


def test_steps_per_epoch_count_optimiser_steps(make_facts, tmp_path):
    model = make_model(make_facts(), optimizer=partial(torch.optim.SGD, lr=0.4), schedule=MultiStep([1, 2], gamma=0.5))
    trainer = make_trainer(tmp_path, max_epochs=3, accumulate_grad_batches=4)
    trainer.fit(model, Batches(6))
    assert trainer.global_step == 6
    assert float(trainer.callback_metrics["lr"]) == pytest.approx(0.1)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_an_accumulated_step_follows_the_mean_over_all_that_it_holds(make_facts, tmp_path, weights):
    """Seven batches in steps of four, the last batch smaller; the oracle is a loop of plain torch."""
    data = Batches(7)
    data.batches[-1] = {name: value[:3] for name, value in data.batches[-1].items()}
    facts = make_facts()
    parts = {
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        "schedule": None,
        "loss": partial(ClassificationLoss, class_weights=weights),
        "channels_last": False,
    }
    model = make_model(facts, **parts)
    oracle = make_model(facts, **parts)
    optimizer = torch.optim.SGD(oracle.net.parameters(), lr=0.1)
    factors = torch.ones(3) if weights == "none" else oracle.loss.weight
    oracle.train()
    for group in (data.batches[:4], data.batches[4:]):
        total = sum(factors[batch["target"]].sum() for batch in group)
        optimizer.zero_grad()
        for batch in group:
            log = oracle.net(oracle.prepare(batch["image"])).log_softmax(1)
            own = -log[torch.arange(len(log)), batch["target"]]
            ((factors[batch["target"]] * own).sum() / total).backward()
        optimizer.step()
    trainer = make_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=4)
    trainer.fit(model, data)
    assert trainer.global_step == 2
    for name, value in oracle.net.state_dict().items():
        torch.testing.assert_close(model.net.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(("flips", "views"), [([], 1), (["horizontal"], 2), (["vertical", "horizontal"], 4)])
def test_predictions_do_not_know_a_mirror_image_from_its_image(make_facts, flips, views):
    model = make_model(make_facts(), test_time_flips=flips).eval()
    batch = Batches(1).batches[0]
    with torch.no_grad():
        model.net.head.weight.normal_()
        nn.init.normal_(model.net.layers[0][0].residual[4].weight)
        plain = model.predict_step(batch)
        assert len(model.views) == views
        assert torch.equal(plain["index"], batch["index"])
        assert plain["probabilities"].dtype == torch.float32
        torch.testing.assert_close(plain["probabilities"].sum(1), torch.ones(8))
        for name, dimension in (("horizontal", -1), ("vertical", -2)):
            mirrored = model.predict_step(batch | {"image": batch["image"].flip(dimension)})["probabilities"]
            difference = (mirrored - plain["probabilities"]).abs().max()
            assert (difference < 1e-5) == (name in flips)


def test_memory_format_changes_the_layout_and_not_the_numbers(make_facts):
    facts, image = make_facts(channels=3), torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    inner, outer = (make_model(facts, channels_last=flag).eval() for flag in (True, False))
    assert inner.net.layers[1][0].residual[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(inner(image), outer(image), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("device", "precision", "innermost"),
    [("cpu", "32-true", False), ("cpu", "bf16-mixed", True), ("cuda", "32-true", True)],
)
def test_an_automatic_memory_format_follows_precision_and_device(make_facts, device, precision, innermost):
    model = make_model(make_facts(channels=3), channels_last="auto")
    model._trainer = SimpleNamespace(precision=precision, strategy=SimpleNamespace(root_device=torch.device(device)))
    model.setup("fit")
    kernel = model.net.layers[1][0].residual[0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == innermost
    image = model.prepare(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert image.is_contiguous(memory_format=torch.channels_last) == innermost


def test_initial_weights_come_from_a_run_with_other_classes(make_facts):
    source, model = make_model(make_facts(classes=5), seed=1), make_model(make_facts(classes=3))
    fresh = model.load_initial(source.state_dict())
    assert fresh == ["net.head.weight", "net.head.bias"]
    assert torch.equal(model.net.stem[0].weight, source.net.stem[0].weight)
    with pytest.raises(InputError, match="init_from"):
        model.load_initial({"net.head.weight": torch.zeros(9, 9), "other": torch.zeros(1)})


def test_load_pretrained_is_the_nets_affair(make_facts, monkeypatch):
    called = []
    model = make_model(make_facts())
    monkeypatch.setattr(model.net, "load_pretrained", lambda: called.append(True))
    model.load_pretrained()
    assert called == [True]


def test_a_users_own_module_will_do(make_facts, tmp_path):
    own = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    model = make_model(make_facts(), net=own, channels_last=False)
    model.load_pretrained()
    make_trainer(tmp_path, max_epochs=1).fit(model, Batches(), Batches(2))
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    assert set(model.state_dict()) == {"net.1.weight", "net.1.bias"}


def test_what_does_not_fit_is_refused(make_facts):
    with pytest.raises(InputError, match=r"alexnet.*16x16"):
        make_model(make_facts(), net=partial(TorchvisionNet, architecture="alexnet"))
    with pytest.raises(InputError, match="3 stages"):
        make_model(make_facts(), finetune=Finetune(freeze=4))


def test_kept_features_are_those_of_the_data_and_of_no_other_images(make_facts):
    frozen = {"finetune": Finetune(freeze="all")}
    plain, kept = (make_model(make_facts(), **frozen, cache_features=keeps).eval() for keeps in (False, True))
    batch = next(iter(Batches(1)))
    other = batch | {"image": 255 - batch["image"]}
    for compute in (lambda model, of: model.predict_step(of)["probabilities"], lambda model, of: model.embed(of)):
        with torch.inference_mode():
            expected, changed = compute(plain, batch), compute(plain, other)
            assert not torch.allclose(changed, expected, atol=1e-3)
            for of, result in ((batch, expected), (other, changed)):
                torch.testing.assert_close(compute(kept, of), result)  # as those of a request: numbered from 0
            for of in (batch, other):  # of the data: known by their numbers
                torch.testing.assert_close(compute(kept, of | {"draw": of["index"]}), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(compute(kept, other | {"draw": other["index"]}), changed)  # with gradients of images
