"""Each shipped model config builds, and takes a training step."""

import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.models.nets.preprocess import Preprocess


def load(name):
    architecture = ["model.net.architecture=resnet18"] if name == "torchvision" else []
    return load_config("train", [f"model={name}", *architecture])["model"]


def make_optimizer(model):
    return model.finetune.optimizer(model.make_optimizer, model.net)


def step(model, optimizer, channels, size):
    image = torch.randint(0, 256, (2, channels, size, size), dtype=torch.uint8)
    before = [parameter.detach().flatten()[:100].clone() for parameter in model.parameters()]
    loss = model.loss(model.train()(image), torch.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    after = [parameter.detach().flatten()[:100] for parameter in model.parameters()]
    assert loss.isfinite()
    assert all(values.isfinite().all() for values in after)
    assert not torch.equal(before[0], after[0])  # the gradient reached the stem


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *(("alexnet", 1), ("resnet18", 3)),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                ("alexnet", 3),
                ("resnet18", 1),
                ("resnet50", 1),
                ("resnet50", 3),
                ("vgg16", 1),
                ("vgg16", 3),
            )
        ),
    ],
)
def test_a_training_step_at_64_and_224_pixels(make_facts, name, channels):
    config = load(name)
    facts = make_facts(channels=channels, size=64)
    model = build(config, "model", facts=facts)
    optimizer = make_optimizer(model)
    step(model, optimizer, channels, 64)
    larger = {key: value for key, value in config["preprocess"].items() if not key.startswith("_")}
    model.preprocess = Preprocess(make_facts(channels=channels, size=224), **larger)
    step(model, optimizer, channels, 224)


@pytest.mark.parametrize("name", ["cnn", "resnet18_small", pytest.param("article_vgg16", marks=pytest.mark.slow)])
def test_a_training_step_of_the_recipes(make_facts, name):
    model = build(load(name), "model", facts=make_facts(size=28))
    step(model, make_optimizer(model), 1, 28)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "article_lstm", "attention", "transformer"])
def test_a_training_step_of_the_series_models(make_facts, name, task):
    quantities = {"target_mean": (0.0,) * 3, "target_std": (1.0,) * 3} if task == "regression" else {}
    facts = make_facts(task, size=28, sequence_length=4, time_step=1.5, **quantities)
    model = build(load(name), "model", facts=facts)
    optimizer = make_optimizer(model)
    before = model.net.encoder.stages()[0].state_dict()
    before = {key: value.clone() for key, value in before.items()}
    batch = {
        "image": torch.randint(0, 256, (3, 4, 1, 28, 28), dtype=torch.uint8),
        "mask": torch.arange(4) < torch.tensor([[4], [2], [3]]),
        "time": torch.arange(4.0).expand(3, -1),
        "target": torch.rand(3, 3) if task == "regression" else torch.tensor([0, 1, 2]),
        "index": torch.arange(3),
    }
    loss = model.train().batch_loss(batch)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    after = model.net.encoder.stages()[0].state_dict()
    assert all(not torch.equal(after[key], value) for key, value in before.items())  # the gradient reached the stem


def test_the_article_reads_series_by_a_resnet_and_an_lstm_of_256(make_facts):
    model = build(load("article_lstm"), "model", facts=make_facts(sequence_length=4, time_step=1.0))
    shapes = {name: tuple(value.shape) for name, value in model.net.named_parameters()}
    assert shapes["encoder.head.weight"] == (512, 512)
    assert shapes["recurrence.onwards.0.weight_ih_l0"] == (4 * 256, 512)
    assert shapes["head.weight"] == (3, 256)
    assert len(shapes) == 62 + 4 + 2  # ResNet-18, one LSTM layer in one direction, one linear layer
    assert isinstance(make_optimizer(model), torch.optim.Adam)


def test_the_article_scales_pixels_and_nothing_else(make_facts):
    facts = make_facts(channels=3, size=224)
    model = build(load("article_vgg16"), "model", facts=facts)
    image = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    torch.testing.assert_close(model.preprocess(image), image / 255)
    assert model.net.weights == "IMAGENET1K_V1"
