"""Explanations by gradients hold their axioms, follow the weights, and find what a net can only have found there."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import vesalius
from vesalius.config.errors import InputError
from vesalius.deploy.explain import BY_GRADIENTS, explain, explanations
from vesalius.deploy.explain.gradients import gradcam, hirescam, integrated_gradients
from vesalius.deploy.explain.layers import last_feature_maps
from vesalius.deploy.inputs import ModelInput
from vesalius.deploy.predictor import Predictor
from vesalius.models.nets import TorchvisionNet

from .sketch_backend import OnePlace

pytest.importorskip("captum")
STORED = Path(__file__).parents[2] / "stored_runs"


@pytest.fixture
def cnn() -> Predictor:
    return vesalius.load(STORED / "cnn" / "finished")


@pytest.fixture
def lstm() -> Predictor:
    return vesalius.load(STORED / "lstm" / "finished")


def image_for(model: Predictor, seed: int = 0) -> ModelInput:
    """Noise of the run's kind."""
    random = np.random.default_rng(seed)
    frames = 5 if model.contract.series else 1
    images = random.integers(0, 256, (frames, model.contract.channels, *model.contract.image_size)).astype(np.uint8)
    return ModelInput(images, np.arange(frames, dtype=np.float32) * 30 if model.contract.series else None)


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_integrated_gradients_sum_to_the_difference_of_the_outputs(name, cnn, lstm) -> None:
    """The axiom of completeness; so the time points of a series share the difference among them."""
    model = {"cnn": cnn, "lstm": lstm}[name]
    one = image_for(model)
    found = integrated_gradients(model.module, one, 1)
    grey = np.broadcast_to(one.images.mean(axis=(0, 2, 3), keepdims=True), one.images.shape).astype(np.float32)
    images = [torch.from_numpy(one.images.astype(np.float32)), torch.from_numpy(grey)]
    with torch.inference_mode():
        if one.seconds is None:
            outputs = [model.module(image)[0, 1].item() for image in images]
        else:
            time = torch.from_numpy(one.seconds)[None]
            outputs = [model.module(image[None], time >= 0, time)[0, 1].item() for image in images]
    assert found.shape == (len(one.images), *model.contract.image_size)
    assert found.sum() == pytest.approx(outputs[0] - outputs[1], rel=0.05, abs=0.02)


def class_activation_maps(module: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """(K, 1, h, w) for each class: what each cell adds to the output before a global average pool and a linear head."""
    maps = {}
    handle = module.net.layers[-1].register_forward_hook(lambda _, __, output: maps.update(last=output.detach()))
    with torch.no_grad():
        module(image)
    handle.remove()
    return torch.einsum("bchw,kc->kbhw", maps["last"], module.net.head.weight.detach()) / maps["last"][0, 0].numel()


def test_grad_cam_of_the_last_layer_is_the_class_activation_map(cnn) -> None:
    """Before a global average pool and a linear head the gradient is the head's weight."""
    from captum.attr import LayerGradCam

    image = torch.from_numpy(image_for(cnn).images).float()
    found = LayerGradCam(cnn.module, cnn.module.net.layers[-1]).attribute(image, 2, relu_attributions=True)
    expected = class_activation_maps(cnn.module, image)[2].clamp_min(0)
    torch.testing.assert_close(found[:, 0].detach(), expected)


def test_the_pixels_of_a_map_add_up_to_what_the_last_feature_map_adds_to_the_output(cnn) -> None:
    """The class activation map, less what speaks against the class."""
    module, one = cnn.module, image_for(cnn)
    cells = class_activation_maps(module, torch.from_numpy(one.images).float())
    expected = cells.clamp_min(0).sum(dim=(1, 2, 3))
    for target, whole in enumerate(expected.tolist()):
        assert hirescam(module, one, target).sum() == pytest.approx(whole, rel=1e-5, abs=2e-6)
    target = int(expected.argmax())  # copies, which are displaced by a third of a cell, differ a little from the image
    assert gradcam(module, one, target).sum() == pytest.approx(float(expected[target]), rel=0.2)


FUNCTIONS = {"gradcam": gradcam, "hirescam": hirescam, "integrated_gradients": integrated_gradients}


@pytest.mark.parametrize("method", BY_GRADIENTS)
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_a_map_is_drawn_where_its_places_raise_the_odds_to_3_2_times(method, name, cnn, lstm) -> None:
    """The same map, whatever it adds up to beyond that; something else speaks against the class."""
    model = {"cnn": cnn, "lstm": lstm}[name]
    one, head = image_for(model), model.module.net.head
    model.backend.metrics = {}
    trained = head.weight.detach().clone()
    unit = FUNCTIONS[method](model.module, one, 1).sum()
    drawn = {}
    for odds in (3.1, 3.3, 1000.0):
        with torch.no_grad():
            head.weight.copy_(trained * np.log(odds) / unit)
            head.bias.copy_(torch.tensor([0.0, -1e4, *[0.0] * (len(trained) - 2)]))
        (found,) = explanations(model.backend, [one], method=method, target=1)
        assert found.maps.max() == (odds > 3.2)
        drawn[odds] = found.maps
    np.testing.assert_allclose(drawn[3.3], drawn[1000.0], atol=1e-4)


@pytest.mark.parametrize("method", BY_GRADIENTS)
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_a_map_is_drawn_where_the_prediction_has_3_2_times_the_odds_of_the_share_of_the_class(
    method, name, cnn, lstm
) -> None:
    """Without shares that of each of the classes is the same."""
    model = {"cnn": cnn, "lstm": lstm}[name]
    one, head = image_for(model), model.module.net.head
    classes = len(head.weight)
    for shares in (None, [0.7, *[0.3 / (classes - 1)] * (classes - 1)]):
        model.backend.metrics = (
            {} if shares is None else {"calibration": {"method": "temperature", "temperature": 1.0, "priors": shares}}
        )
        share = 1 / classes if shares is None else shares[1]
        for odds in (3.1, 3.3):
            with torch.no_grad():  # places add next to nothing
                head.weight.mul_(1e-3 / head.weight.norm())
                head.bias.copy_(torch.zeros(classes))
                head.bias[1] = np.log(odds * share / (1 - share) * (classes - 1))
            assert explanations(model.backend, [one], method=method, target=1)[0].maps.max() == (odds > 3.2)


@pytest.mark.parametrize("method", BY_GRADIENTS)
def test_a_value_is_explained_whatever_its_size(method, cnn) -> None:
    one = image_for(cnn)
    with torch.no_grad():
        cnn.module.net.head.weight.mul_(1e-3)
    cnn.backend.facts = dataclasses.replace(cnn.backend.facts, task="regression")
    assert explanations(cnn.backend, [one], method=method, target=2)[0].maps.max() == 1


def test_grad_cam_finds_a_point_to_a_quarter_of_a_cell() -> None:
    """Of a net that adds up what is bright in cells of 8 pixels; a single map shows no more than the cell."""
    net = torch.nn.Sequential(
        torch.nn.AvgPool2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 1)
    )
    torch.nn.init.ones_(net[3].weight)
    single = []
    for row, column in ((at, 60 - at) for at in range(16, 48, 3)):
        image = np.zeros((1, 1, 64, 64), np.uint8)
        image[..., row, column] = 200
        one = ModelInput(image, None)
        far, single_far = (
            np.abs(np.subtract(np.unravel_index(method(net, one, 0).argmax(), (64, 64)), (row, column))).max()
            for method in (gradcam, hirescam)
        )
        assert far <= 2
        single.append(single_far)
    assert max(single) >= 4


@pytest.mark.parametrize("method", BY_GRADIENTS)
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_maps_have_the_inputs_shape_and_range(method, name, cnn, lstm) -> None:
    model = {"cnn": cnn, "lstm": lstm}[name]
    one = image_for(model)
    with torch.no_grad():
        model.module.net.head.weight.mul_(100)  # or too little would speak for any class: it was hardly trained
    found = explanations(model.backend, [one], method=method)[0]
    assert found.maps.shape == (len(one.images), *model.contract.image_size)
    assert found.maps.min() >= 0
    assert found.maps.max() == 1
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights.min() >= 0
    again = explanations(model.backend, [one], method=method)[0]
    np.testing.assert_array_equal(found.maps, again.maps)


def test_a_prediction_is_the_same_after_an_explanation(cnn) -> None:
    one = image_for(cnn)
    before = cnn.backend.compute([one]).values
    for method in BY_GRADIENTS:
        explain(cnn.backend, [one], method=method)
    np.testing.assert_array_equal(cnn.backend.compute([one]).values, before)


@pytest.mark.parametrize("function", [gradcam, hirescam, integrated_gradients])
def test_maps_change_with_each_further_layer_whose_weights_are_random(function, cnn) -> None:
    """Cascading randomisation from the head down (Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018)."""
    module, one = cnn.module, image_for(cnn)
    trained = function(module, one, 1)
    generator = torch.Generator().manual_seed(0)
    similar = []
    for part in (module.net.head, *reversed(module.net.layers), module.net.stem):
        for parameter in part.parameters():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        random = function(module, one, 1)
        similar.append(np.corrcoef(trained.ravel(), random.ravel())[0, 1])
    assert max(similar) < 0.95
    assert abs(similar[-1]) < 0.5


def test_a_net_without_feature_maps_is_refused_by_grad_cam_and_explained_by_auto(cnn) -> None:
    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28 * 28, 4))

        def forward(self, image):
            return self.map(image.float() / 255)

    cnn.backend.module.net = Flat()
    cnn.backend.module.forward = cnn.backend.module.net
    with pytest.raises(InputError, match="computes no feature maps: choose explain=integrated_gradients or occlusion"):
        explain(cnn.backend, [image_for(cnn)], method="gradcam")
    assert explain(cnn.backend, [image_for(cnn)]).shape == (1, 1, 28, 28)


def test_gradients_of_a_model_without_torch_are_refused() -> None:
    one = ModelInput(np.zeros((1, 1, 32, 32), np.uint8), None)
    with pytest.raises(InputError, match="explain=gradcam needs gradients, and this model has none"):
        explain(OnePlace((slice(1), slice(1))), [one], method="gradcam")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet18", "densenet121", "mobilenet_v3_small", "convnext_tiny", "swin_t"])
def test_feature_maps_are_found_in_networks_of_torchvision(architecture, cnn) -> None:
    """Whatever they are built from: the last map is as coarse as the net gets, and each next one is finer."""
    module = cnn.module
    module.net = TorchvisionNet(1, 4, architecture=architecture).eval()
    one = ModelInput(np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64)).astype(np.uint8), None)
    image = torch.from_numpy(one.images).float() / 255
    sides: list[int] = []
    for layer in last_feature_maps(module.net, lambda: module.net(image), (64, 64), 3):
        handle = layer.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
        module.net(image)
        handle.remove()
    assert sides[0] == 2
    assert sides == sorted(set(sides))
    assert hirescam(module.net, one, 1).shape == (1, 64, 64)
    assert np.isfinite(gradcam(module.net, one, 1)).all()
