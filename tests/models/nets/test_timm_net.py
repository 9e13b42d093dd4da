"""Networks of timm: what timm's own model computes, weights from files and caches of this machine, no network."""

import json
import socket

import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.models.nets.timm_net import TimmNet
from vesalius.models.nets.weight_record import record_of_file

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.slow  # timm takes seconds to import


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def published(tmp_path):
    network = timm.create_model("resnet10t", pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    return network, tmp_path / "net.pth"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_gives_the_features_of_timms_own_network(published, channels):
    network, file = published
    before = torch.random.get_rng_state()
    net = TimmNet(channels, 2, architecture="resnet10t", weights=str(file))
    built = torch.random.get_rng_state()
    record = net.load_pretrained()
    assert not torch.equal(before, built)
    assert torch.equal(built, torch.random.get_rng_state())
    image = torch.randn(2, channels, 64, 64)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(image.expand(-1, 3, -1, -1)), pre_logits=True)
        torch.testing.assert_close(net.eval().features(image), expected, rtol=1e-4, atol=1e-4)
    assert record.name == "net.pth"
    assert record.mean is None


def test_a_record_next_to_the_file_is_held_to_it(published):
    _, file = published
    record = {"source": "us", "trained_on": ["BUSI"], "mean": [0.5], "std": [0.25]}
    file.with_suffix(".json").write_text(json.dumps(record))
    found = record_of_file(str(file), "resnet10t")
    assert (found.source, found.trained_on, found.input_range) == ("us", ("BUSI",), (-2.0, 2.0))
    for wrong, match in (
        ({"sha256": "0"}, "is not the file"),
        ({"mean": ["a"]}, "1 or 3 numbers"),
        ({"x": 1}, "no entry 'x'"),
        ({"std": [0.0]}, "above 0"),
        ({"trained_on": "BUSI"}, "list of texts"),
        ({"source": 1}, "a text"),
    ):
        file.with_suffix(".json").write_text(json.dumps(record | wrong))
        with pytest.raises(InputError, match=match):
            record_of_file(str(file), "resnet10t")
    file.with_suffix(".json").write_text("[1]")
    with pytest.raises(InputError, match="no record of weights"):
        record_of_file(str(file), "resnet10t")


def test_cached_weights_are_found_and_come_with_timms_record(published):
    from pathlib import Path

    network, file = published
    url = network.pretrained_cfg["url"]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    file.rename(cached)
    record = TimmNet(3, 2, architecture="resnet10t", weights="cached").load_pretrained()
    assert record.trained_on == ("ImageNet-1k",)
    assert record.licence == "apache-2.0"
    record.check_input(torch.tensor(network.pretrained_cfg["mean"]), torch.tensor(network.pretrained_cfg["std"]))
    record.check_input(torch.tensor([0.45]), torch.tensor([0.226]))  # a grey image for RGB
    with pytest.raises(InputError, match=r"set model\.preprocess\.mean=\[0\.485000,0\.456000,0\.406000\]"):
        record.check_input(torch.full((3,), 0.5), torch.full((3,), 0.226))


def test_what_is_not_there_is_not_fetched_unless_asked():
    with pytest.raises(InputError, match=r"nothing is fetched unless you ask: set model\.net\.download=true"):
        TimmNet(3, 2, architecture="resnet10t", weights="cached").load_pretrained()
    with pytest.raises(InputError, match="could not be fetched"):
        TimmNet(3, 2, architecture="resnet10t", weights="cached", download=True).load_pretrained()


def test_what_does_not_fit_is_refused(published):
    _, file = published
    with pytest.raises(InputError, match="Did you mean 'resnet10t'"):
        TimmNet(3, 2, architecture="resnet10tt")
    with pytest.raises(InputError, match="expected cached, the path of a file, or null"):
        TimmNet(3, 2, architecture="resnet10t", weights="imagenet")
    with pytest.raises(InputError, match="does not fit resnet18"):
        TimmNet(3, 2, architecture="resnet18", weights=str(file)).load_pretrained()
    with pytest.raises(InputError, match=r"set model\.preprocess\.image_size=224"):
        TimmNet(3, 2, architecture="vit_tiny_patch16_224").check_image(3, 64, 64)


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [
        ("convnext_atto", 64, 4),
        ("vit_tiny_patch16_224", 224, 12),
        ("swin_tiny_patch4_window7_224", 224, 4),
        ("mobilenetv3_small_050", 64, 4),
    ],
)
def test_every_kind_of_network_has_stages_and_features(name, size, least):
    net = TimmNet(1, 2, architecture=name).eval()
    stages = net.stages()
    held = [id(parameter) for stage in stages for parameter in stage.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in net.trunk.parameters())
    assert len(stages) >= least
    with torch.inference_mode():
        assert net.features(torch.zeros(1, 1, size, size)).shape == (1, net.feature_dim)
