"""Features to compare images in: named next to the metrics, never of a run that learned from the evaluated images."""

import numpy as np
import pytest
import torch

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.feature_extractors import load_extractor
from vesalius.metrics.synthesis.frechet import frechet_distance
from vesalius.models.gan.metrics import SynthesisMetrics
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

pytestmark = pytest.mark.xdist_group("extractors")  # its runs are made once

SMALL = ["data=lesions", "data.source.patients=40", "data.source.slices=2", "data.source.image_size=28"]
SMALL += ["data/augment=none", "trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=1", "logger=none"]
CPU = torch.device("cpu")


def run_of(path, cache_dir, *overrides):
    overrides = [*SMALL, f"data.cache_dir={cache_dir}", "evaluation.baselines=false", *overrides]
    folder = RunFolder.create(path, load_config("train", overrides), overrides)
    train(folder.path)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, cache_dir):
    return run_of(tmp_path_factory.mktemp("runs") / "cnn", cache_dir, "model=cnn", "model.net.widths=[4]")


@pytest.fixture(scope="module")
def gan(tmp_path_factory, cache_dir, classifier):
    given = ["model=gan", "model.generator.width=4", "model.critic.width=4"]
    given += [f"evaluation.extractor={classifier.path}", f"data.split_file={classifier.path}/split.csv"]
    return run_of(tmp_path_factory.mktemp("runs") / "gan", cache_dir, *given)


def facts_of(run):
    return Facts.from_dict(load_checkpoint(run.best)["facts"])


def test_the_numbers_name_it_and_its_weights(gan, classifier):
    extractor = gan.metrics["extractor"]
    assert extractor["name"] == "/".join(classifier.path.parts[-2:])
    assert extractor["layer"] == "features"
    weights = restore_model(load_checkpoint(classifier.best))
    assert extractor["dim"] == weights.embed({"image": torch.zeros(1, 1, 28, 28)}).shape[1]
    assert extractor["hash"] == load_extractor(str(classifier.path), facts_of(classifier), CPU).digest


def test_the_checkpoint_is_picked_in_its_features_too(gan):
    """The two distances are of other noise, and yet alike; in features of the random net they differ a thousandfold."""
    picked, judged = gan.metrics["monitor"]["best"], gan.metrics["val"]["frechet_distance"]["value"]
    assert picked == pytest.approx(judged, rel=0.2)
    model = restore_model(load_checkpoint(gan.best))
    assert not any(name.startswith("val_metrics") for name in model.state_dict())  # a checkpoint holds one model


def test_the_distance_while_training_is_the_one_of_the_evaluation():
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.rand(300, 1, 8, 8, generator=generator) ** power for power in (1, 2))
    metric = SynthesisMetrics(1)
    metric.set_feature_extractor(lambda images: images.flatten(1)[:, :6], 6)
    for parts in zip(real.split(128), made.split(128), strict=True):
        metric.update(*parts)
    first, second = (images.flatten(1)[:, :6].double().numpy() for images in (real, made))
    # With covariances of n samples, not n - 1, it is a little smaller.
    assert metric.compute()["frechet_distance"].item() == pytest.approx(frechet_distance(first, second), rel=0.01)


def test_features_do_not_change_with_the_size_of_a_batch(classifier):
    facts = facts_of(classifier)
    extractor = load_extractor(str(classifier.path), facts, CPU)
    images = torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    parts = [extractor(images[:7]), extractor(images[7:])]
    np.testing.assert_allclose(extractor(images), np.concatenate(parts), atol=1e-5)


def test_inception_gets_images_on_the_scale_it_was_trained_on(tmp_path, classifier):
    """torchvision's own net, as `inception_v3(weights=...)` is built, takes images normalised as ImageNet's are."""
    from torchvision.models import inception_v3
    from torchvision.transforms.functional import normalize

    torch.manual_seed(0)
    own = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    for layer in own.modules():  # or what an image is would fade from layer to layer
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    torch.save(own.state_dict(), tmp_path / "inception.pt")
    images = torch.rand(2, 3, 299, 299)
    own.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = own(normalize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    extractor = load_extractor(str(tmp_path / "inception.pt"), facts_of(classifier), CPU)
    assert (extractor.name, extractor.dim) == ("inception", 2048)
    np.testing.assert_allclose(extractor(images), expected.numpy(), rtol=1e-3, atol=1e-3 * float(expected.std()))
    grey = images[:1, :1, ::4, ::4]
    np.testing.assert_allclose(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)))


def test_what_has_no_features_is_refused(gan, classifier, tmp_path):
    facts = facts_of(classifier)
    with pytest.raises(InputError, match="name a run that learned from single images"):
        load_extractor(str(gan.path), facts, CPU)
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a file with torchvision's weights of Inception"):
        load_extractor(str(tmp_path / "weights.pt"), facts, CPU)
    with pytest.raises(InputError, match="not a run folder"):
        load_extractor(str(tmp_path), facts, CPU)
    colour = Facts.from_dict({**facts.to_dict(), "channels": 3})
    with pytest.raises(InputError, match=r"takes images of 1 channels.*data.channels=1"):
        load_extractor(str(classifier.path), colour, CPU)
