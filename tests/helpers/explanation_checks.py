"""What an explanation of a trained model is worth, measured where the truth is known."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.perfusion import Perfusion
from vesalius.deploy.explain import explain, explanations
from vesalius.deploy.explain.occlusion import _blur, _without
from vesalius.deploy.inputs import ModelInput, from_array
from vesalius.deploy.predictor import Predictor
from vesalius.metrics.anomaly import peak_in_mask
from vesalius.metrics.entry import MetricEntry


@dataclass(frozen=True)
class KnownLesions:
    """New patients whose lesions a model has classified correctly, with their masks and classes."""

    inputs: Sequence[ModelInput]
    masks: np.ndarray
    targets: np.ndarray
    patients: np.ndarray


def classified_lesions(model: Predictor, patients: int, seed: int = 11) -> KnownLesions:
    """One slice of each patient with a lesion that the model names correctly."""
    source = Lesions(patients=patients, slices=1, image_size=model.contract.image_size[0], seed=seed)
    rows = [row for row in source.samples().to_dict("records") if row["target"] > 0]
    images = [source.load(row) for row in rows]
    predicted = model.predict(images)["prediction"]
    right = [at for at, row in enumerate(rows) if predicted[at] == model.facts.classes[row["target"]]]
    return KnownLesions(
        [from_array(images[at], "image", model.contract) for at in right],
        np.stack([source.mask(rows[at]) for at in right]),
        np.array([rows[at]["target"] for at in right]),
        np.array([rows[at]["group_id"] for at in right]),
    )


def peaks(model: Predictor, known: KnownLesions, method: str, target: int | None = None) -> MetricEntry:
    """Share of the lesions whose map is highest inside them."""
    maps = explain(model.backend, known.inputs, method=method, target=target)[:, 0]
    return peak_in_mask(maps, known.masks, known.patients)


def peaks_of_brightness(known: KnownLesions) -> MetricEntry:
    """The same of the smoothed image: what is found by whoever looks for a bright spot."""
    images = np.stack([one.images[0, 0] for one in known.inputs])
    return peak_in_mask(_blur(images.astype(np.float64), 1), known.masks, known.patients)


def peaks_at_random(
    model: Predictor, known: KnownLesions, method: str, nets: int, *, shuffled: bool = False
) -> np.ndarray:
    """(nets, 3) share of maps of random nets, mean over the classes: highest inside the patient's own lesion; highest
    inside those of four other patients, which is chance; and empty.

    Args:
        model: whose weights are lost.
        known: patients.
        method: of explanation.
        nets: how many.
        shuffled: each tensor keeps its values in random order; else weights are those of the beginning of a training.
    """
    others = [np.roll(known.masks, by, axis=0) for by in (1, 7, 23, 41)]
    found = np.zeros((nets, 3))
    classes = range(len(model.facts.classes))
    trained = copy.deepcopy(model.module.net.state_dict())
    for seed in range(nets):
        model.module.net.load_state_dict(trained)
        randomise(model, known, seed, shuffled=shuffled)
        for target in classes:
            maps = explain(model.backend, known.inputs, method=method, target=target)[:, 0]
            shares = [peak_in_mask(maps, masks, known.patients)["value"] for masks in (known.masks, *others)]
            empty = np.mean(~maps.any(axis=(1, 2)))
            found[seed] += np.array([shares[0], np.mean(shares[1:]), empty]) / len(classes)
    return found


def randomise(model: Predictor, known: KnownLesions, seed: int, *, shuffled: bool) -> None:
    """New random weights for all layers, as at the beginning of a training, or the same ones in random order.

    Batch norm gets the statistics that these weights give, as it has them from the first batch of a training on; with
    a mean of 0 and a variance of 1 the signal would fade from layer to layer.
    """
    torch.manual_seed(seed)
    net = model.module.net
    for module in net.modules():
        if not shuffled and hasattr(module, "reset_parameters"):
            module.reset_parameters()
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches, of which there is one
    net.train()
    with torch.no_grad():
        for parameter in net.parameters() if shuffled else ():
            parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
        model.module(torch.from_numpy(np.concatenate([one.images for one in known.inputs])).float())
    net.eval()


def deletion(model: Predictor, known: KnownLesions, method: str, share: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """(N,) loss of the class's probability without the most relevant pixels, and without those of another's map."""
    maps = explain(model.backend, known.inputs, method=method)[:, 0]
    rows = np.arange(len(maps))
    whole = model.backend.compute(known.inputs).values[rows, known.targets]

    def loss(of: np.ndarray) -> np.ndarray:
        changed = []
        for one, relevance in zip(known.inputs, of, strict=True):
            top = relevance >= np.quantile(relevance, 1 - share)
            changed.append(ModelInput(np.where(top, _blur(one.images, 8), one.images), None))
        return whole - model.backend.compute(changed).values[rows, known.targets]

    others = np.random.default_rng(0).permutation(len(maps))
    return loss(maps), loss(maps[np.where(others == rows, (others + 1) % len(maps), others)])


def frame_deletion(
    model: Predictor, patients: int, method: str, frames: int = 4, seed: int = 11
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) loss of the predicted curve's probability without the most relevant time points, and without random ones."""
    source = Perfusion(patients=patients, image_size=model.contract.image_size[0], seed=seed)
    random, top, other = np.random.default_rng(0), [], []
    for row in source.samples().to_dict("records"):
        one = from_array(source.load(row), "series", model.contract, row["_times"])
        (found,) = explanations(model.backend, [one], method=method)
        order = np.argsort(found.weights)[::-1]
        whole = model.backend.compute([one]).values[0, found.target]
        for chosen, losses in ((order[:frames], top), (random.permutation(len(order))[:frames], other)):
            losses.append(whole - model.backend.compute([_remove(one, chosen)]).values[0, found.target])
    return np.array(top), np.array(other)


def _remove(one: ModelInput, frames: Any) -> ModelInput:
    for frame in sorted(frames, reverse=True):
        one = _without(one, int(frame))
    return one
