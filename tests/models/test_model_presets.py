"""Each shipped model config builds, and takes a training step."""

from pathlib import Path

import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.targets import target_problems
from vesalius.models.nets.preprocess import Preprocess

FOLDER = Path(__file__).parents[2] / "conf" / "model"
PRESETS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet18", "resnet50"])
def test_a_training_step_at_64_and_224_pixels(make_facts, name, channels):
    config = load(name)
    facts = make_facts(channels=channels, size=64)
    model = build(config, "model", facts=facts)
    optimizer = make_optimizer(model)
    step(model, optimizer, channels, 64)
    larger = {key: value for key, value in config["preprocess"].items() if not key.startswith("_")}
    model.preprocess = Preprocess(make_facts(channels=channels, size=224), **larger)
    step(model, optimizer, channels, 224)


@pytest.mark.parametrize("name", ["cnn", "resnet18_small", "article_vgg16"])
def test_a_training_step_of_the_recipes(make_facts, name):
    model = build(load(name), "model", facts=make_facts(size=28))
    step(model, make_optimizer(model), 1, 28)


@pytest.mark.parametrize("name", PRESETS)
def test_keys_are_parameters_and_the_first_line_says_what_it_is_for(name):
    assert list(target_problems(load(name), "model")) == []
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")


def test_the_article_scales_pixels_and_nothing_else(make_facts):
    facts = make_facts(channels=3, size=224)
    model = build(load("article_vgg16"), "model", facts=facts)
    image = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    torch.testing.assert_close(model.preprocess(image), image / 255)
    assert model.net.weights == "IMAGENET1K_V1"
