import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from torchvision.models import SqueezeNet1_1_Weights, VisionTransformer, get_model

from vesalius.config.errors import InputError
from vesalius.models.nets.torchvision_net import TorchvisionNet
from vesalius.models.nets.weights import load_into


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def publish(folder, url, monkeypatch, good_hash=True):
    """Put an untrained SqueezeNet where torchvision will look for the trained one."""
    network = get_model("squeezenet1_1", weights=None)
    torch.save(network.state_dict(), folder / "plain.pth")
    digest = hashlib.sha256((folder / "plain.pth").read_bytes()).hexdigest()[:8] if good_hash else "00000000"
    (folder / "plain.pth").rename(folder / f"squeezenet1_1-{digest}.pth")
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", f"{url}/squeezenet1_1-{digest}.pth")
    return network


def save(state, path):
    torch.save(state, path)
    return str(path)


def test_building_reads_and_downloads_nothing(hub, monkeypatch):
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", "http://127.0.0.1:9/none-00000000.pth")
    TorchvisionNet(1, 2, architecture="squeezenet1_1", weights="DEFAULT")
    assert not hub.exists()


def test_named_weights_are_downloaded_once_then_cached(server, hub, monkeypatch):
    folder, url = server
    published = publish(folder, url, monkeypatch)
    net = TorchvisionNet(3, 5, architecture="squeezenet1_1", weights="DEFAULT", download=True)
    record = net.load_pretrained()
    assert record.trained_on == ("ImageNet-1k",)
    assert record.sha256.startswith(next(folder.iterdir()).stem.rpartition("-")[2])
    for name, value in published.features.state_dict().items():
        torch.testing.assert_close(net.trunk.features.state_dict()[name], value, rtol=0, atol=0)
    for file in folder.iterdir():
        file.unlink()
    TorchvisionNet(3, 5, architecture="squeezenet1_1", weights="IMAGENET1K_V1").load_pretrained()
    assert [file.suffix for file in hub.iterdir()] == [".pth"]


def test_nothing_is_fetched_unless_asked(server, hub, monkeypatch):
    publish(*server, monkeypatch)
    with pytest.raises(InputError, match=r"nothing is fetched unless you ask: set model\.net\.download=true"):
        TorchvisionNet(1, 2, architecture="squeezenet1_1", weights="DEFAULT").load_pretrained()
    assert not hub.exists()


def test_offline_names_address_folder_and_cure(hub, monkeypatch):
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", "http://127.0.0.1:9/net-00000000.pth")
    net = TorchvisionNet(1, 2, architecture="squeezenet1_1", weights="DEFAULT", download=True)
    with pytest.raises(InputError) as refused:
        net.load_pretrained()
    for part in ("http://127.0.0.1:9/net-00000000.pth", str(hub), "model.net.weights=/path/to/", "could not be down"):
        assert part in str(refused.value)


def test_a_damaged_download_is_refused(server, hub, monkeypatch):
    publish(*server, monkeypatch, good_hash=False)
    with pytest.raises(InputError, match="hash"):
        TorchvisionNet(1, 2, architecture="squeezenet1_1", weights="DEFAULT", download=True).load_pretrained()


def test_a_truncated_cached_file_is_refused(hub, monkeypatch):
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", "http://127.0.0.1:9/net-00000000.pth")
    hub.mkdir(parents=True)
    (hub / "net-00000000.pth").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match=r"damaged.*net-00000000"):
        TorchvisionNet(1, 2, architecture="squeezenet1_1", weights="DEFAULT").load_pretrained()


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_local_files_load_for_grey_images_and_other_classes(tmp_path, ending):
    original = get_model("shufflenet_v2_x0_5", weights=None).eval()
    path = tmp_path / f"net{ending}"
    if ending == ".safetensors":
        from safetensors.torch import save_file

        save_file(original.state_dict(), path)
    else:
        torch.save({"model": original.state_dict()} if ending == ".pt" else original.state_dict(), path)
    net = TorchvisionNet(1, 4, architecture="shufflenet_v2_x0_5", weights=str(path)).eval()
    head = net.head.weight.clone()
    net.load_pretrained()
    original.fc = torch.nn.Identity()
    grey = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(net.features(grey), original(grey.repeat(1, 3, 1, 1)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(net.head.weight, head, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["mnasnet0_5", "shufflenet_v2_x0_5", "regnet_y_400mf", "mobilenet_v3_small"])
def test_with_as_many_classes_it_is_torchvisions_network(tmp_path, architecture):
    original = get_model(architecture, weights=None, num_classes=6).eval()
    path = save(original.state_dict(), tmp_path / "net.pth")
    net = TorchvisionNet(3, 6, architecture=architecture, weights=path).eval()
    net.load_pretrained()
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(net(image), original(image), atol=1e-5, rtol=1e-4)


def test_auxiliary_heads_of_a_file_are_left_aside(tmp_path):
    original = get_model("googlenet", weights=None, init_weights=False, aux_logits=True)
    path = save(original.state_dict(), tmp_path / "net.pth")
    TorchvisionNet(3, 2, architecture="googlenet", weights=path).load_pretrained()


def test_old_names_of_densenet_layers_are_understood(tmp_path):
    dense = get_model("densenet121", weights=None)
    old = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for name, v in dense.state_dict().items()}
    net = TorchvisionNet(3, 2, architecture="densenet121", weights=save(old, tmp_path / "dense.pth"))
    net.load_pretrained()
    name = "features.denseblock2.denselayer3.conv2.weight"
    torch.testing.assert_close(net.trunk.state_dict()[name], dense.state_dict()[name], rtol=0, atol=0)


def test_old_names_of_transformer_layers_are_understood():
    source, trunk = (VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=2) for _ in range(2))
    old = {
        n.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for n, v in source.state_dict().items()
    }
    load_into(trunk, old, (), "old.pth")
    torch.testing.assert_close(trunk.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_small_stem_and_article_head_take_the_rest(tmp_path):
    original = get_model("resnet18", weights=None)
    path = save(original.state_dict(), tmp_path / "net.pth")
    net = TorchvisionNet(1, 2, architecture="resnet18", weights=path, stem="small", head="article")
    stem = net.trunk.conv1.weight.clone()
    net.load_pretrained()
    torch.testing.assert_close(net.trunk.layer3.state_dict(), original.layer3.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(net.trunk.conv1.weight, stem, rtol=0, atol=0)


def test_wrong_files_are_refused_by_what_does_not_fit(tmp_path):
    state = get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    cases = {
        "another.pth": (get_model("squeezenet1_1", weights=None).state_dict(), r"lacks conv1\.0\.weight.*features"),
        "wider.pth": (get_model("shufflenet_v2_x1_0", weights=None).state_dict(), "size mismatch"),
        "nan.pth": (
            state | {"conv5.0.weight": state["conv5.0.weight"] * torch.nan},
            r"non-finite values in conv5",
        ),
        "list.pth": ([1, 2], "no state dict"),
    }
    for name, (content, message) in cases.items():
        path = save(content, tmp_path / name)
        with pytest.raises(InputError, match=message):
            TorchvisionNet(1, 2, architecture="shufflenet_v2_x0_5", weights=path).load_pretrained()
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    for name, message in {"broken.pth": "cannot be read", "absent.safetensors": "no such file"}.items():
        with pytest.raises(InputError, match=message):
            TorchvisionNet(1, 2, architecture="resnet18", weights=str(tmp_path / name)).load_pretrained()
