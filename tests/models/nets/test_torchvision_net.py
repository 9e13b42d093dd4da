import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError
from vesalius.models.nets.torchvision_net import TorchvisionNet, architectures

# One or two of each family of torchvision; the others than these take three times as long.
QUICK = {"alexnet", "googlenet", "inception_v3", "mobilenet_v2", "resnet18", "squeezenet1_0", "vgg16", "vit_b_32"}
FAMILIES = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg16", "vgg11_bn", "vit_b_32", "wide_resnet50_2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        pytest.param(
            architecture,
            head,
            marks=[] if architecture in (QUICK if head == "linear" else {"resnet18", "vgg16"}) else pytest.mark.slow,
        )
        for architecture in [*FAMILIES, "regnet_y_400mf"]
        for head in ("linear", "article")
    ],
)
def test_every_family_offers_the_one_interface(architecture, head):
    # RegNet's constructor computes with tensors, so it cannot be built without memory.
    with torch.device("cpu" if architecture.startswith("regnet") else "meta"):
        net = TorchvisionNet(1, 7, architecture=architecture, head=head).eval()
        image = torch.empty(2, 1, 224, 224)
        features = net.features(image)
        assert features.shape == (2, net.feature_dim)
        assert net.head(features).shape == net(image).shape == (2, 7)
    parts = [*net.stages(), net.head]
    assert len(parts) >= 4
    counted = [id(parameter) for part in parts for parameter in part.parameters()]
    assert len(counted) == len(set(counted))
    assert set(counted) == {id(parameter) for parameter in net.parameters()}


def test_families_cover_what_torchvision_has():
    prefixes = {name[:4] for name in [*FAMILIES, "regnet_y_400mf"]}
    assert {name[:4] for name in architectures()} == prefixes


def test_stages_of_a_resnet_are_its_stem_and_layers_with_either_stem():
    for stem in ("standard", "small"):
        net = TorchvisionNet(3, 2, architecture="resnet18", stem=stem)
        sizes = [sum(p.numel() for p in stage.parameters()) for stage in net.stages()]
        layers = [net.trunk.get_submodule(f"layer{k}") for k in (1, 2, 3, 4)]
        assert sizes[1:] == [sum(p.numel() for p in layer.parameters()) for layer in layers]


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_grey_stem_responds_as_rgb_stem_to_the_repeated_image(architecture):
    grey = torch.rand(2, 1, 64, 64)
    torch.manual_seed(0)
    one = TorchvisionNet(1, 2, architecture=architecture).eval()
    torch.manual_seed(0)
    three = TorchvisionNet(3, 2, architecture=architecture).eval()
    torch.testing.assert_close(one.features(grey), three.features(grey.repeat(1, 3, 1, 1)), atol=1e-4, rtol=1e-4)


def test_six_channels_respond_as_three_to_the_same_colours_twice():
    image = torch.rand(2, 3, 64, 64)
    torch.manual_seed(0)
    six = TorchvisionNet(6, 2, architecture="resnet18").eval()
    torch.manual_seed(0)
    three = TorchvisionNet(3, 2, architecture="resnet18").eval()
    torch.testing.assert_close(six.features(image.repeat(1, 2, 1, 1)), three.features(image), atol=1e-4, rtol=1e-4)


def test_small_stem_keeps_the_resolution():
    with torch.device("meta"):
        small = TorchvisionNet(1, 2, architecture="resnet18", stem="small").trunk
        assert small.conv1(torch.empty(1, 1, 28, 28)).shape == (1, 64, 28, 28)
        assert isinstance(small.maxpool, nn.Identity)


def test_article_head_on_vgg16_pools_to_512():
    with torch.device("meta"):
        net = TorchvisionNet(3, 4, architecture="vgg16", head="article")
    assert net.feature_dim == 512
    assert [tuple(p.shape) for p in net.head.parameters()] == [(512, 512), (512,), (4, 512), (4,)]
    assert sum(p.numel() for p in net.trunk.parameters()) == 14_714_688  # VGG16's convolutions alone


def test_dropout_reaches_the_classifier():
    with torch.device("meta"):
        vgg = TorchvisionNet(3, 4, architecture="vgg16", dropout=0.1)
        resnet = TorchvisionNet(3, 4, architecture="resnet18", dropout=0.1)
        assert TorchvisionNet(3, 4, architecture="vgg16").trunk.classifier[2].p == 0.5
    assert [layer.p for layer in vgg.modules() if isinstance(layer, nn.Dropout)] == [0.1, 0.1]
    assert [layer.p for layer in resnet.modules() if isinstance(layer, nn.Dropout)] == [0.1]


@pytest.mark.parametrize(("architecture", "size"), [("alexnet", 28), ("vit_b_32", 64), ("maxvit_t", 64)])
def test_images_that_do_not_go_through_are_refused_with_the_cure(architecture, size):
    net = TorchvisionNet(1, 2, architecture=architecture)
    with pytest.raises(InputError, match=rf"{architecture}.*{size}x{size}.*image_size=224"):
        net.check_image(1, size, size)
    net.check_image(1, 224, 224)
    assert net.training


def test_all_wrong_names_are_reported_at_once():
    with pytest.raises(InputError) as refused:
        TorchvisionNet(1, 2, architecture="vgg16", stem="small", weights="IMAGENET1K_V3")
    assert ["stem" in p or "weights" in p for p in refused.value.problems] == [True, True]
    with pytest.raises(InputError, match="Did you mean 'resnet18'"):
        TorchvisionNet(1, 2, architecture="resnet_18")
