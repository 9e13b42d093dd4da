"""Occlusion finds the place and the time point that a model reads, whatever computes it."""

import numpy as np
import pytest

from vesalius.config.errors import InputError
from vesalius.deploy.explain import explain, explanations
from vesalius.deploy.inputs import ModelInput

from .sketch_backend import OnePlace

PLACE = (slice(20, 24), slice(5, 9))


def bright_spot(frames: int = 1) -> np.ndarray:
    images = np.random.default_rng(0).integers(40, 60, (frames, 1, 32, 32)).astype(np.uint8)
    images[:, :, PLACE[0], PLACE[1]] = 250
    return images


def test_the_most_relevant_pixel_is_where_the_model_reads() -> None:
    maps = explain(OnePlace(PLACE), [ModelInput(bright_spot(), None)], method="occlusion")
    assert maps.shape == (1, 1, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == 1
    row, column = np.unravel_index(maps[0, 0].argmax(), (32, 32))
    assert (PLACE[0].start <= row < PLACE[0].stop, PLACE[1].start <= column < PLACE[1].stop) == (True, True)
    assert maps[0, 0, :12].max() == 0


@pytest.mark.parametrize("frame", [1, 3, 5])
def test_the_time_point_that_the_model_reads_has_all_the_weight(frame) -> None:
    seconds = np.array([0, 2, 5, 9, 14, 20], np.float32)
    found = explanations(OnePlace(PLACE, seconds[frame]), [ModelInput(bright_spot(6), seconds)])[0]
    assert found.weights.tolist() == np.eye(6)[frame].tolist()
    assert found.maps.max(axis=(1, 2)).tolist() == np.eye(6)[frame].tolist()


def test_series_of_different_lengths_end_in_zeros() -> None:
    seconds = np.array([0, 2, 5, 9, 14, 20], np.float32)
    backend = OnePlace(PLACE, 2.0)
    long, short = ModelInput(bright_spot(6), seconds), ModelInput(bright_spot(3), seconds[:3])
    maps = explain(backend, [long, short])
    assert maps.shape == (2, 6, 32, 32)
    assert maps[1, 1].max() == 1
    assert not maps[1, 3:].any()


def test_a_model_that_loses_nothing_has_an_empty_map() -> None:
    flat = np.full((1, 1, 32, 32), 100, np.uint8)
    assert not explain(OnePlace(PLACE), [ModelInput(flat, None)], target="bright").any()


def test_the_other_class_has_another_map() -> None:
    one = ModelInput(bright_spot(), None)
    assert not explain(OnePlace(PLACE), [one], target="dark")[0, 0, 20:24, 5:9].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcm"}, "explain=gradcm: there is no such method"),
        ({"target": "brigt"}, "target=brigt: there is no such class or target. Did you mean 'bright'"),
        ({"target": 2}, "target=2: the model has the targets 0 to 1"),
    ],
)
def test_unknown_names_are_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        explain(OnePlace(PLACE), [ModelInput(bright_spot(), None)], **options)
