"""What of a trained model becomes a graph: its inputs and outputs, by the kind of the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.bundle.manifest import BATCH, FRAMES, Kind, TensorSpec
from vesalius.deploy.ensemble.module import EnsembleModule, calibrate
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.models.family import output_kind
from vesalius.models.features import head_inputs

#: What of a model is exported: what it predicts (or generates), its encoder, or the decoder of an autoencoder.
Part = Literal["model", "encoder", "decoder"]


@dataclass(frozen=True)
class Graph:
    """A part of a trained model as a module from tensors to tensors.

    Attributes:
        kind: of the bundle.
        module: called with the inputs in order; returns the outputs in order.
        inputs: of the module.
        outputs: of the module.
    """

    kind: Kind
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def graph_of(model: pl.LightningModule, facts: Facts, metrics: Mapping[str, Any], part: Part) -> Graph:
    """The graph of a model in 32 bits, in evaluation mode and without gradients.

    Args:
        model: of a run; it is changed.
        facts: of the run's data.
        metrics: the run's, with the threshold of its decision.
        part: what of the model is wanted.

    Raises:
        InputError: for a part that the model does not have.
    """
    kinds: dict[tuple[str, Part], Callable[..., Graph]] = {
        ("targets", "model"): _predictor,
        ("targets", "encoder"): _encoder,
        ("reconstructions", "model"): _autoencoder,
        ("reconstructions", "encoder"): _encoder,
        ("reconstructions", "decoder"): _decoder,
        ("anomalies", "model"): _anomaly_detector,
        ("anomalies", "encoder"): _encoder,
        ("samples", "model"): _generator,
    }
    kind = output_kind(model)
    known = [name for family, name in kinds if family == kind]
    if isinstance(model, EnsembleModule):  # whose members have encoders of their own
        known = ["model"]
    build = kinds[kind, part] if part in known else None
    if build is None:
        raise InputError(f"part={part}: {type(model).__name__} has no such part: choose {' or '.join(known)}.")
    model.float().cpu().eval().requires_grad_(False)
    return build(model, facts, metrics)


class _Wrapper(nn.Module):
    """A function of a model's as a module, whose parameters are the model's own."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self._function = model, function

    def forward(self, *tensors: Tensor) -> Any:
        """Call the function."""
        return self._function(*tensors)


def _predictor(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    rule = DecisionRule.of_metrics(metrics, facts)
    inputs = _image_inputs(facts)
    first = model.members[0] if isinstance(model, EnsembleModule) else model

    def predict(*tensors: Tensor) -> tuple[Tensor, ...]:
        with head_inputs(first) as collected:
            output = model.predict_step(_batch(tensors), 0)
        if facts.task == "regression":
            return output["values"], *collected[:1]
        probabilities = output["probabilities"]
        shown = calibrate(probabilities, rule).clone()
        return probabilities, shown, decided(probabilities, rule), *collected[:1]

    wrapper = _Wrapper(model, predict)
    features = [
        TensorSpec("features", "float32", (BATCH, given.shape[1]), "what the head of the net gets")
        for given in _run_on_ones(wrapper, inputs)[1 if facts.task == "regression" else 3 :]
    ]
    names = ", ".join(facts.classes[:8]) + ", ..." * (len(facts.classes) > 8)
    row = (BATCH, facts.num_classes)
    if facts.task == "regression":
        outputs = (TensorSpec("values", "float32", row, f"in the units of the targets: {names}"),)
        return Graph("regressor", wrapper, inputs, (*outputs, *features))
    meaning = f"one column per class, 0..1: {names}"
    return Graph(
        "classifier",
        wrapper,
        inputs,
        (
            TensorSpec("probabilities_uncalibrated", "float32", row, f"{meaning}; as the net gives them"),
            TensorSpec("probabilities", "float32", row, f"{meaning}; calibrated where the run was"),
            TensorSpec("decision", "bool", row, "whether a class is predicted, by the threshold of the run"),
            *features,
        ),
    )


def decided(probabilities: Tensor, rule: DecisionRule) -> Tensor:
    """Which classes are predicted (B, K), as `vesalius.metrics.predictions.decide` computes it, in 64 bits."""
    known = rule.threshold == rule.threshold  # not NaN
    if rule.task == "multilabel":
        return probabilities.double() > (rule.threshold if known else 0.5)
    if rule.task == "binary" and known:
        second = probabilities[:, 1].double() > rule.threshold
        return torch.stack([~second, second], dim=1)
    return probabilities.argmax(dim=1, keepdim=True) == torch.arange(len(rule.classes))


def _encoder(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    inputs = _image_inputs(facts)

    def embed(*tensors: Tensor) -> Tensor:
        return cast(Tensor, model.embed(_batch(tensors)))

    dim = _run_on_ones(embed, inputs).shape[1]
    outputs = (TensorSpec("features", "float32", (BATCH, dim), "one vector per image or series"),)
    return Graph("encoder", _Wrapper(model, embed), inputs, outputs)


def _autoencoder(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    def reconstruct(image: Tensor) -> tuple[Tensor, ...]:
        output = model.predict_step(_batch((image,)), 0)
        original, reconstruction = output["original"], output["reconstruction"]
        errors = (original - reconstruction).square().mean(dim=1)
        return original, reconstruction, output["latent"], errors, errors.mean(dim=(1, 2))

    shape = (BATCH, model.preprocess.out_channels, *model.preprocess.out_size)
    outputs = (
        TensorSpec("original", "float32", shape, "the image as it is to be reconstructed, 0..1"),
        TensorSpec("reconstruction", "float32", shape, "0..1"),
        TensorSpec("latent", "float32", (BATCH, model.net.latent_dim), "the code"),
        TensorSpec("errors", "float32", (BATCH, *shape[2:]), "squared error of each pixel, the mean over channels"),
        TensorSpec("score", "float32", (BATCH,), "mean squared error of the reconstruction; higher is more unusual"),
    )
    return Graph("autoencoder", _Wrapper(model, reconstruct), _image_inputs(facts), outputs)


def _anomaly_detector(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    def detect(image: Tensor) -> tuple[Tensor, ...]:
        output = model.predict_step(_batch((image,)), 0)
        return output["map"], output["score"], output["latent"]

    outputs = (
        TensorSpec("map", "float32", (BATCH, *facts.image_size), "how unusual each pixel is; 0 or more"),
        TensorSpec("score", "float32", (BATCH,), "the largest value of the map; higher is more unusual"),
        TensorSpec("features", "float32", (BATCH, model.mean.shape[1]), "the mean over places"),
    )
    return Graph("anomaly_detector", _Wrapper(model, detect), _image_inputs(facts), outputs)


def _decoder(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    shape = (BATCH, model.preprocess.out_channels, *model.preprocess.out_size)
    inputs = (TensorSpec("latent", "float32", (BATCH, model.net.latent_dim), "the code, as the encoder gives it"),)
    outputs = (TensorSpec("image", "float32", shape, "0..1"),)
    return Graph("decoder", _Wrapper(model, model.decode), inputs, outputs)


def _generator(model: Any, facts: Facts, metrics: Mapping[str, Any]) -> Graph:
    shape = (BATCH, model.preprocess.out_channels, *model.preprocess.out_size)
    inputs = [TensorSpec("noise", "float32", (BATCH, model.average.latent_dim), "standard normal")]
    if model.classes:
        names = ", ".join(f"{number} {name}" for number, name in enumerate(model.classes[:8]))
        inputs.append(TensorSpec("label", "int64", (BATCH,), f"class to show: {names}"))
    outputs = (TensorSpec("image", "float32", shape, "0..1"),)
    # Of its nets only the averaged generator is in the graph, and in the weights.
    wrapper = _Wrapper(model.average, lambda noise, label=None: model(noise, label))
    return Graph("generator", wrapper, tuple(inputs), outputs)


def _image_inputs(facts: Facts) -> tuple[TensorSpec, ...]:
    dtype = {255.0: "uint8", 65535.0: "uint16"}.get(facts.value_max, "float32")
    pixels = (facts.channels, *facts.image_size)
    meaning = f"stored pixels, 0..{facts.value_max:g}"
    if facts.sequence_length is None:
        return (TensorSpec("image", dtype, (BATCH, *pixels), meaning),)
    return (
        TensorSpec("image", dtype, (BATCH, FRAMES, *pixels), f"{meaning}; padding at the end of shorter series"),
        TensorSpec("mask", "bool", (BATCH, FRAMES), "true at frames, false at padding"),
        TensorSpec("time", "float32", (BATCH, FRAMES), "seconds since the first frame"),
    )


def _batch(tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A batch as the datamodule gives it."""
    index = torch.zeros(1, dtype=torch.int64)
    return {**dict(zip(("image", "mask", "time"), tensors, strict=False)), "index": index}


def _run_on_ones(function: Callable[..., Any], inputs: tuple[TensorSpec, ...]) -> Any:
    ones = [
        torch.ones([1 if isinstance(size, str) else size for size in spec.shape], dtype=getattr(torch, spec.dtype))
        for spec in inputs
    ]
    with torch.no_grad():
        return function(*ones)
