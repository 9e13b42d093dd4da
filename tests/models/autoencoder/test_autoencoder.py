from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from vesalius.config.errors import InputError
from vesalius.metrics.baselines.principal_components import PrincipalComponents
from vesalius.models.autoencoder.autoencoder import Autoencoder
from vesalius.models.autoencoder.loss import ReconstructionLoss
from vesalius.models.classifier import CNNClassifier
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.nets.autoencoder.article import ArticleAutoencoder
from vesalius.models.nets.autoencoder.decoder import RefiningDecoder, ResidualDecoder
from vesalius.models.nets.autoencoder.net import AutoencoderNet
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.series.recurrent import RecurrentNet
from vesalius.models.schedules import OneCycle
from vesalius.models.sequence import SequenceClassifier


def make_net(**options):
    encoder = partial(SmallResNet, widths=[4, 8], pool_size=4)
    decoder = partial(RefiningDecoder, width=8) if options.get("linear_path") != "none" else ResidualDecoder
    return partial(AutoencoderNet, encoder=encoder, decoder=decoder, **options)


def make_model(facts, *, seed=0, lr=3e-3, net=None, loss=None, **changes):
    torch.manual_seed(seed)
    parts = {
        "optimizer": partial(torch.optim.AdamW, lr=lr, fused=True),
        "preprocess": partial(Preprocess, mean="data", std="data"),
        "schedule": OneCycle(),
    }
    net = make_net(latent_dim=4) if net is None else net
    return Autoencoder(facts, net=net, loss=loss or ReconstructionLoss(), **(parts | changes))


def blobs(count=64, size=16):
    """Bright disks at random places: two dimensions, and far from linear."""
    generator = torch.Generator().manual_seed(0)
    centre = 4 + 8 * torch.rand(count, 2, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    bright = torch.exp(-((y - centre[:, :1]) ** 2 + (x - centre[:, 1:]) ** 2) / 8)
    return (40 + 200 * bright).to(torch.uint8)


def batches(images, size=16):
    return [
        {"image": images[start : start + size], "index": torch.arange(start, min(start + size, len(images)))}
        for start in range(0, len(images), size)
    ]


def fit(model, folder, images, epochs):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    trainer = pl.Trainer(default_root_dir=folder, max_epochs=epochs, **options)
    loaders = [DataLoader(batches(images), batch_size=None) for _ in range(2)]  # a bare list would be several loaders
    trainer.fit(model, *loaders)
    return trainer


def test_it_starts_at_principal_components_and_goes_beyond(make_facts, tmp_path):
    images = blobs()
    mean, std = images.float().mean() / 255, images.float().std() / 255
    model = make_model(make_facts(mean=(float(mean),), std=(float(std),)))
    model.initialize(lambda: images)
    pixels = images.numpy() / 255
    components = PrincipalComponents.fit(pixels, 4)
    linear = np.square(components.reconstruct(components.project(pixels)) - pixels).mean()
    with torch.no_grad():
        start = model.eval().net(model.prepare(images)) - images / 255
    assert float(start.square().mean()) == pytest.approx(linear, rel=1e-3)
    trainer = fit(model, tmp_path, images, 30)
    assert float(trainer.callback_metrics["val/mse"]) < 0.8 * linear
    assert set(trainer.callback_metrics) == {*model.logged_metrics, "lr"} < {*Autoencoder.METRICS, "lr"}


@pytest.mark.parametrize(
    ("net", "loss", "options"),
    [
        (make_net(latent_dim=4, variational=True, linear_path="none"), None, {"beta": 1.0}),
        (make_net(latent_dim=4), None, {"noise": 0.1}),
        (make_net(latent_dim=4, output="sigmoid", linear_path="none"), ReconstructionLoss("bce"), {}),
        (make_net(latent_dim=4), ReconstructionLoss("l1", ssim=0.3), {}),
        (ArticleAutoencoder, None, {"preprocess": partial(Preprocess, image_size=28, channels=1, mean=0.0, std=1.0)}),
    ],
    ids=["variational", "denoising", "bce", "l1 and ssim", "article"],
)
def test_every_form_learns(make_facts, tmp_path, net, loss, options):
    images = blobs()
    model = make_model(make_facts(), net=net, loss=loss, lr=1e-2, **options)
    prepared = model.eval().prepare(images)
    with torch.no_grad():
        before = float(model.loss(model.net(prepared), model.preprocess.restore(prepared)))
    trainer = fit(model, tmp_path, images, 8)
    assert float(trainer.callback_metrics["val/loss"]) < 0.9 * before


def test_predictions_are_images_in_0_to_1_and_codes(make_facts):
    model = make_model(make_facts(value_max=65535.0)).eval()
    image = torch.randint(0, 65535, (3, 1, 16, 16)).to(torch.uint16)
    with torch.no_grad():
        output = model.predict_step({"image": image, "index": torch.arange(3)})
        code = model.embed({"image": image})
    torch.testing.assert_close(output["original"], image.float() / 65535, atol=1e-5, rtol=0)
    assert output["reconstruction"].shape == image.shape
    assert output["reconstruction"].min() >= 0
    assert output["reconstruction"].max() <= 1
    torch.testing.assert_close(output["latent"], code)
    torch.testing.assert_close(model.decode(code), output["reconstruction"])


def test_noise_is_added_to_the_input_only(make_facts):
    model = make_model(make_facts(), noise=0.5)
    seen = []
    model.net.encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    batch = batches(blobs())[0]
    model.batch_loss(batch)
    noise = (seen[0] - model.prepare(batch["image"])) * 0.2
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    with torch.no_grad():
        model.eval().predict_step(batch)
    torch.testing.assert_close(seen[1], model.prepare(batch["image"]))


def test_the_divergence_is_that_of_normal_distributions(make_facts):
    model = make_model(make_facts(), net=make_net(latent_dim=4, variational=True, linear_path="none"), beta=2.0)
    batch = batches(blobs())[0]
    mean, log_variance = model.net.encode(model.prepare(batch["image"]))
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    exact = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).sum(1).mean()
    losses = []
    for beta in (0.0, 2.0):
        model.beta = beta
        torch.manual_seed(0)
        losses.append(model.batch_loss(batch).item())
    assert losses[1] - losses[0] == pytest.approx(2.0 * 0.02 * exact.item() / 256, rel=1e-3)


def test_the_validation_loss_is_what_a_variational_net_learns(make_facts, tmp_path):
    """Reconstruction from drawn codes plus the weighted divergence, so that it picks the checkpoint of that."""
    net = make_net(latent_dim=4, variational=True, linear_path="none")
    model, images = make_model(make_facts(), net=net, beta=50.0), blobs(24)
    trainer = fit(model, tmp_path, images, 1)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert set(logged) == {*Autoencoder.METRICS, "lr"}
    expected = logged["val/reconstruction_loss"] + 50 * 0.02 * logged["val/divergence"] / 256
    assert logged["val/loss"] == pytest.approx(expected, rel=1e-5)
    errors, divergences = [], []
    with torch.no_grad():
        for number, batch in enumerate(batches(images)):
            prepared = model.eval().prepare(batch["image"])
            mean, log_variance = model.net.encode(prepared)
            normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
            divergences.append(torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).sum(1))
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(number))
            drawn = model.net.decode(normal.loc + normal.scale * noise)
            errors.append((drawn - batch["image"] / 255).square().flatten(1).mean(1))
    assert logged["val/divergence"] == pytest.approx(float(torch.cat(divergences).mean()), rel=1e-4)
    assert logged["val/reconstruction_loss"] == pytest.approx(float(torch.cat(errors).mean()), rel=1e-4)
    assert logged["val/reconstruction_loss"] != pytest.approx(logged["val/mse"], rel=1e-4)  # of the mean codes


def test_its_encoder_becomes_a_classifiers_net_and_a_frame_encoder(make_facts):
    state = make_model(make_facts()).state_dict()
    net = partial(SmallResNet, widths=[4, 8])
    common = {"optimizer": torch.optim.AdamW, "preprocess": Preprocess}
    cnn = CNNClassifier(make_facts(), net=net, loss=ClassificationLoss, **common)
    assert set(cnn.load_initial(dict(state))) == {"net.head.weight", "net.head.bias"}
    for name, value in cnn.net.stem.state_dict().items():
        assert torch.equal(value, state[f"net.encoder.stem.{name}"])
    recurrent = partial(RecurrentNet, encoder=net, input_size=4)
    facts = make_facts(sequence_length=3, time_step=1.0)
    lstm = SequenceClassifier(facts, net=recurrent, loss=ClassificationLoss, **common)
    fresh = lstm.load_initial(dict(state))
    assert {"net.encoder.head.weight", "net.head.weight"} <= set(fresh)
    assert not [name for name in fresh if name.startswith(("net.encoder.stem", "net.encoder.layers"))]


def test_what_does_not_fit_is_refused(make_facts):
    with pytest.raises(InputError, match="choose model=lstm"):
        make_model(make_facts(sequence_length=4))
    with pytest.raises(InputError) as caught:
        make_model(make_facts(), loss=ReconstructionLoss("bce"), noise=-1.0)
    assert [problem.split("=")[0] for problem in caught.value.problems] == ["model.noise", "model.loss.kind"]
    with pytest.raises(InputError, match=r"model\.loss\.ssim"):
        ReconstructionLoss(ssim=1.5)
