"""PaDiM: the distances are those of a textbook, of all images seen, and a planted oddity is where the map peaks."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.padim import PaDiM


class Maps(Net):
    """Maps of two stages that are the image, at half and at a quarter of its resolution."""

    def __init__(self, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.norm = torch.nn.BatchNorm2d(in_channels)

    def features(self, x):
        raise AssertionError("only maps are needed")

    def stages(self):
        return [self.norm, torch.nn.Identity()]

    def feature_maps(self, x, stages):
        maps = [torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(x, 4).square()]
        return [maps[stage] for stage in stages]


def build(facts, **options):
    return PaDiM(facts, Maps, Preprocess, **{"stages": (0, 1), **options})


@pytest.fixture
def images():
    return torch.randint(0, 256, (30, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_maps_are_mahalanobis_distances_of_all_images_seen(make_facts, images):
    model = build(make_facts(size=16), shrinkage=0.3).eval()
    for part in images.split((7, 1, 22)):
        model.learn(part)
    model.fit_distributions()
    features = model.patches(images).flatten(2).double().numpy()  # (N, D, places)
    assert features.shape[1:] == (2, 16)
    covariances = [np.cov(features[:, :, place].T) for place in range(16)]
    added = 0.3 * np.diag(np.mean([np.diag(one) for one in covariances], axis=0))
    found = model._distances(model.patches(images[:3])).flatten(1)
    for place, covariance in enumerate(covariances):
        centre, inverse = (
            features[:, :, place].mean(axis=0),
            np.linalg.inv(covariance + added + 1e-3 * np.diag(np.diag(covariance))),
        )
        expected = [mahalanobis(one, centre, inverse) / np.sqrt(2) for one in features[:3, :, place]]
        np.testing.assert_allclose(found[:, place].numpy(), expected, rtol=1e-3)


def test_a_planted_oddity_has_the_highest_score_and_the_peak(make_facts, images):
    images = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    model = build(make_facts(size=32)).eval()
    model.learn(images)
    model.fit_distributions()
    odd = images[:2].clone()
    odd[1, :, 12:20, 4:12] = 255
    with torch.inference_mode():
        output = model.predict_step({"image": odd, "index": torch.arange(2)})
    assert output["map"].shape == (2, 32, 32)
    assert torch.equal(output["score"], output["map"].amax(dim=(1, 2)))
    assert output["score"][1] > output["score"][0]
    row, column = np.unravel_index(int(output["map"][1].argmax()), (32, 32))
    assert 8 <= row < 24  # a place of the grid is 4 pixels wide, and sees its neighbours
    assert column < 16
    assert torch.equal(output["latent"], model.embed({"image": odd}))


def test_nothing_is_trained_and_the_statistics_are_plain_buffers(make_facts, images):
    model = build(make_facts(size=16))
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    model.train()
    model.learn(images)
    assert all(torch.equal(before[name], value) for name, value in model.net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {"count", "mean", "scatter", "whitening"} <= model.state_dict().keys()
    assert model.count == 30


def test_what_does_not_fit_is_refused(make_facts, images):
    with pytest.raises(InputError, match=r"model.stages=\[2\].*\n?.*model.shrinkage=0"):
        build(make_facts(), stages=[2], shrinkage=0)
    with pytest.raises(InputError, match="choose model=lstm"):
        build(make_facts(sequence_length=5))
    model = build(make_facts(size=16))
    model.learn(images[:1])
    with pytest.raises(InputError, match="too few"):
        model.fit_distributions()
