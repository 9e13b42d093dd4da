"""VICReg: the loss of the paper, and an encoder that learns from it while the decoder draws along."""

from functools import partial

import numpy as np
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.models.autoencoder.autoencoder import Autoencoder
from vesalius.models.autoencoder.loss import ReconstructionLoss
from vesalius.models.autoencoder.vicreg import VICReg
from vesalius.models.nets.autoencoder.decoder import ResidualDecoder
from vesalius.models.nets.autoencoder.net import AutoencoderNet
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet


@pytest.fixture
def codes():
    return torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(0))


def test_the_loss_is_that_of_the_paper(codes):
    loss = VICReg(6, width=5, invariance=2.0, variance=3.0, covariance=4.0)
    loss.projector = torch.nn.Identity()
    one, other = codes.double().numpy()
    expected = 2 * ((one - other) ** 2).mean()
    for part in (one, other):
        covariance = np.cov(part.T)
        spread = np.sqrt(np.diag(covariance) + 1e-4)
        expected += 3 / 2 * np.maximum(0, 1 - spread).mean()
        expected += 4 * (covariance**2 - np.diag(np.diag(covariance) ** 2)).sum() / 6
    assert loss(*codes).item() == pytest.approx(expected, rel=1e-5)


def test_equal_codes_of_all_images_cost_most(codes):
    loss = VICReg(6)
    loss.projector = torch.nn.Identity()
    assert loss(torch.zeros(40, 6), torch.zeros(40, 6)) > loss(codes[0], codes[0])


def build(facts, **options):
    net = partial(
        AutoencoderNet,
        encoder=partial(SmallResNet, widths=[4, 8]),
        decoder=ResidualDecoder,
        latent_dim=4,
        linear_path="none",
        **options,
    )
    parts = {"optimizer": partial(torch.optim.AdamW, lr=1e-3), "preprocess": Preprocess}
    return Autoencoder(facts, net=net, loss=ReconstructionLoss(), agreement=partial(VICReg, width=8), **parts)


def test_the_encoder_learns_from_two_views_and_the_decoder_from_its_codes(make_facts):
    model = build(make_facts(size=16))
    views = torch.randint(0, 256, (2, 12, 1, 16, 16), dtype=torch.uint8)
    batch = {"image": views[0], "view": views[1], "index": torch.arange(12)}
    loss, reconstruction, original = model._agreement_loss(batch)
    model.loss(reconstruction, original).backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in model.net.encoder.parameters())
    assert any(parameter.grad is not None for parameter in model.net.decoder.parameters())
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.net.encoder.parameters())
    trained = {id(one) for group in model.finetune.param_groups(model.net) for one in group["params"]}
    assert trained == {id(parameter) for parameter in model.parameters()}  # the projection too


def test_what_does_not_fit_is_refused(make_facts):
    with pytest.raises(InputError, match=r"data.second_view=true"):
        build(make_facts(size=16)).batch_loss({"image": torch.zeros(2, 1, 16, 16), "index": torch.arange(2)})
    with pytest.raises(InputError, match="variational=false"):
        build(make_facts(size=16), variational=True)
    with pytest.raises(InputError, match=r"(?s)variance=-1.*width=1"):
        VICReg(4, width=1, variance=-1)
