"""Which way metrics get better: every one that a model logs has an answer."""

import re

import pytest

from vesalius.config.direction import mode_of
from vesalius.models.autoencoder.autoencoder import Autoencoder
from vesalius.models.classifier import CNNClassifier
from vesalius.models.gan.gan import GAN
from vesalius.models.sequence import SequenceClassifier


@pytest.mark.parametrize("family", [CNNClassifier, SequenceClassifier, Autoencoder, GAN])
def test_every_logged_metric_has_a_direction(family):
    for name in family.METRICS:
        assert mode_of(name) == (
            "min" if re.search("loss|error|distance|divergence|mse|mae|kid|ece|brier", name) else "max"
        ), name


def test_a_metric_of_a_class_is_as_that_of_all_and_ones_own_has_none():
    assert mode_of("recall/nodule") == mode_of("val/recall") == "max"
    assert mode_of("radiance") is None
