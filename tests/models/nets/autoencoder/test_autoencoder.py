from functools import partial

import numpy as np
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.nets.autoencoder.article import ArticleAutoencoder
from vesalius.models.nets.autoencoder.decoder import RefiningDecoder, ResidualDecoder
from vesalius.models.nets.autoencoder.net import AutoencoderNet
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.torchvision_net import TorchvisionNet

MEAN, STD = torch.tensor([0.4]), torch.tensor([0.2])


def make(channels=1, size=(28, 28), encoder=SmallResNet, decoder=RefiningDecoder, **options):
    grid = {"pool_size": 4} if encoder is SmallResNet else {}
    options = {"latent_dim": 8, **options}
    return AutoencoderNet(channels, size, encoder=partial(encoder, **grid), decoder=decoder, **options)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (33, 50)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("decoder", [RefiningDecoder, ResidualDecoder])
def test_images_of_any_size_come_back_in_their_shape(size, channels, decoder):
    image = torch.rand(3, channels, *size)
    net = make(channels, size, decoder=decoder, linear_path="pca" if decoder is RefiningDecoder else "none")
    mean, spread = net.encode(image)
    assert mean.shape == (3, 8)
    assert spread is None
    assert net(image).shape == image.shape


def test_any_backbone_of_the_cnn_family_encodes():
    net = make(encoder=partial(TorchvisionNet, architecture="resnet18", stem="small"))
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 1, 28, 28)
    assert len(net.stages()) == len(net.encoder.stages())


def test_training_starts_exactly_where_principal_components_end():
    random = np.random.default_rng(0)
    basis = random.normal(size=(5, 784))
    images = (0.5 + random.normal(size=(60, 5)) @ basis * 0.01).reshape(60, 1, 28, 28).astype(np.float32)
    images += random.normal(0, 0.02, images.shape).astype(np.float32)
    components = PrincipalComponents.fit(images, 8)
    net = make().eval()
    net.start_at(components, MEAN, STD)
    prepared = (torch.from_numpy(images) - MEAN) / STD
    with torch.no_grad():
        code, drawn = net.encode(prepared)[0].numpy(), net(prepared).numpy()
    expected = components.reconstruct(components.project(images))
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    np.testing.assert_allclose(code.std(axis=0, ddof=1), 1, rtol=1e-3)
    np.testing.assert_allclose(code, components.project(images) / components.scales, atol=1e-3)


def test_dimensions_beyond_the_components_draw_nothing_at_first():
    images = np.random.default_rng(0).random((4, 1, 28, 28)).astype(np.float32)
    net = make().eval()
    net.start_at(PrincipalComponents.fit(images, 8), MEAN, STD)
    with torch.no_grad():
        one, other = net.decode(torch.zeros(1, 8)), net.decode(torch.tensor([[0.0] * 7 + [5.0]]))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("linear_path", ["pca", "learned"])
def test_what_started_at_zero_learns_and_principal_components_stay_where_asked(linear_path):
    net = make(linear_path=linear_path)
    images = torch.rand(16, 1, 28, 28)
    net.start_at(PrincipalComponents.fit(images.numpy(), 8), MEAN, STD)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    for _ in range(4):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net((images - 0.4) / 0.2), images).backward()
        optimizer.step()
    still = [name for name, parameter in net.named_parameters() if torch.equal(parameter, before[name])]
    linear = [name for name in before if name.endswith(("linear.weight", "linear.bias"))]
    assert still == (linear if linear_path == "pca" else [])


def test_a_variational_net_gives_a_distribution():
    net = make(variational=True)
    mean, log_variance = net.encode(torch.rand(2, 1, 28, 28))
    assert mean.shape == log_variance.shape == (2, 8)


def test_a_bounded_net_stays_in_0_to_1():
    net = make(output="sigmoid", linear_path="none")
    drawn = net.decode(100 * torch.randn(4, 8))
    assert net.bounded
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match=r"output=sigmoid") as caught:
        make(output="sigmoid", latent_dim=0)
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="model/decoder=refining"):
        make(decoder=ResidualDecoder)
    with pytest.raises(InputError, match="linear_path=none"):
        make(output="sigmoid")
    with pytest.raises(InputError, match="widths"):
        ResidualDecoder(8, 1, (28, 28), widths=[])
    with pytest.raises(InputError, match="blocks=0"):
        RefiningDecoder(8, 1, (28, 28), blocks=0)


def test_the_articles_net_gives_back_its_own_shape_from_a_code_of_32():
    net = ArticleAutoencoder(1, (28, 28)).eval()
    image = torch.rand(2, 1, 28, 28)
    code, spread = net.encode(image)
    assert code.shape == (2, net.latent_dim)
    assert spread is None
    assert net(image).shape == image.shape
    layers = [type(layer).__name__ for layer in net.encoder]
    assert layers == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d"]
    with pytest.raises(InputError, match="image_size=28"):
        ArticleAutoencoder(3, (64, 64))
