"""The graph of every shipped model, with random weights, computes what torch does: any batch, length and input type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.facts import Facts
from vesalius.deploy.bundle.agreement import TOLERANCE
from vesalius.deploy.bundle.examples import random_inputs
from vesalius.deploy.bundle.graphs import graph_of
from vesalius.deploy.bundle.manifest import BATCH
from vesalius.deploy.bundle.onnx_export import onnx_model
from vesalius.deploy.bundle.parity import compare_with_model
from vesalius.deploy.bundle.session import Session
from vesalius.metrics.classification.decision_rule import DecisionRule

CONF = Path(__file__).parents[3] / "conf" / "model"


def facts_of(task: str = "multiclass", channels: int = 1, size: int = 32, kind: str = "u8", **more: Any) -> Facts:
    """`kind`: of the stored pixels, u8, u16 or float (such as Hounsfield units)."""
    mean, std = (-300.0, 400.0) if kind == "float" else (0.4, 0.2)
    count = 2 if task == "binary" else 3
    if task == "regression":
        more = {"target_mean": (5.0, -300.0, 0.01), "target_std": (2.0, 40.0, 0.003), **more}
    return Facts(
        task=task,  # type: ignore[arg-type]
        classes=tuple(f"c{k}" for k in range(count)),
        channels=channels,
        image_size=(size, size),
        value_max={"u8": 255.0, "u16": 65535.0, "float": 1.0}[kind],
        class_counts=(10,) * count,
        train_size=10 * count,
        mean=(mean,) * channels,
        std=(std,) * channels,
        **more,
    )


def randomize(model: torch.nn.Module) -> None:
    """Statistics of normalisation and weights that start at zero count too."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    for parameter in model.parameters():
        if parameter.abs().max() == 0:
            parameter.data.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


SCALED = {"decision": {"threshold": 0.37}, "calibration": {"method": "temperature", "temperature": 1.7}}
PLATT = {"calibration": {"method": "platt", "slope": [0.5, 1.0, 3.0], "intercept": [0.1, -0.4, 0.0]}}
SERIES = {"sequence_length": 6, "time_step": 1.5}
#: Preset, further overrides, facts, part, metrics.
CASES: dict[str, tuple[str, list[str], dict[str, Any], str, dict[str, Any]]] = {
    "cnn u8": ("cnn", [], {"task": "binary"}, "model", SCALED),
    "cnn u16 resized, flips": (
        "cnn",
        ["model.preprocess.image_size=40", "model.test_time_flips=[horizontal]"],
        {"kind": "u16"},
        "model",
        {},
    ),
    "cnn float": ("cnn", [], {"kind": "float"}, "model", {}),
    "cnn multilabel": ("cnn", ["model.loss.kind=bce"], {"task": "multilabel"}, "model", PLATT),
    "cnn regression": ("cnn", ["model.loss.kind=huber"], {"task": "regression"}, "model", {}),
    "cnn rgb to grey": ("cnn", ["model.preprocess.channels=1"], {"channels": 3, "size": 20}, "model", {}),
    "cnn encoder": ("cnn", [], {}, "encoder", {}),
    "cnn_wide": ("cnn_wide", [], {}, "model", {}),
    "alexnet": ("alexnet", [], {"size": 64}, "model", {}),
    "resnet18": ("resnet18", [], {}, "model", {}),
    "resnet18_small": ("resnet18_small", ["model.preprocess.image_size=[19,24]"], {"kind": "u16"}, "model", {}),
    "resnet50": ("resnet50", [], {"channels": 3}, "model", {}),
    "vgg16": ("vgg16", [], {}, "model", {}),
    "article_vgg16": (
        "article_vgg16",
        ["model.net.weights=null", "model.preprocess.image_size=48"],
        {},
        "model",
        {},
    ),
    "torchvision": ("torchvision", ["model.net.architecture=densenet121"], {}, "model", {}),
    "efficientnet_lite0": ("efficientnet_lite0", ["model.net.weights=null"], {}, "model", {}),
    "probe": ("probe", ["model.net.weights=null", "model.preprocess.image_size=64"], {"channels": 3}, "model", {}),
    **{
        name: (name, ["model.net.weights=null", "model.preprocess.image_size=32"], {}, "model", {})
        for name in ("finetune_full", "finetune_partial", "finetune_lora", "scratch")
    },
    "timm": ("timm", ["model.net.architecture=resnet10t", "model.preprocess.image_size=32"], {}, "model", {}),
    "lstm": ("lstm", [], SERIES, "model", {}),
    "lstm both ways": (
        "lstm",
        ["model.net.bidirectional=true", "model.net.layers=2", "model.net.pooling=attention"],
        {**SERIES, "kind": "u16"},
        "model",
        {},
    ),
    "lstm regression": ("lstm", [], {**SERIES, "task": "regression"}, "model", {}),
    "lstm encoder": ("lstm", ["model.net.pooling=mean"], {**SERIES, "kind": "float"}, "encoder", {}),
    "gru": ("gru", ["model.net.bidirectional=true"], SERIES, "model", {}),
    "rnn": ("rnn", [], {"sequence_length": 6}, "model", {}),
    "article_lstm": ("article_lstm", [], SERIES, "model", {}),
    "attention": ("attention", [], SERIES, "model", {}),
    "attention, frozen encoder": (
        "attention",
        ["model/encoder=imagenet", "model.net.encoder.weights=null", "data/augment=none"],
        {"sequence_length": 6, "channels": 3},
        "model",
        {},
    ),
    "transformer": ("transformer", ["model.net.pooling=attention"], {**SERIES, "task": "regression"}, "model", {}),
    "vicreg": ("vicreg", [], {}, "model", {}),
    "padim": ("padim", ["model.net.weights=null", "model.preprocess.image_size=64"], {}, "model", {}),
    "autoencoder": ("autoencoder", [], {}, "model", {}),
    "autoencoder decoder": (
        "autoencoder",
        ["model/decoder=residual", "model.net.linear_path=none"],
        {"size": 30},
        "decoder",
        {},
    ),
    "denoising_autoencoder": ("denoising_autoencoder", [], {"size": 30}, "encoder", {}),
    "vae": ("vae", [], {"kind": "u16"}, "model", {}),
    "article_autoencoder": ("article_autoencoder", [], {"size": 28}, "model", {}),
    "gan": ("gan", [], {}, "model", {}),
    "dcgan": ("dcgan", [], {}, "model", {}),
    "article_gan": ("article_gan", [], {"size": 28}, "model", {}),
}
#: Those of `make test-all`; the others are in `make proof`.
FIRST = {"cnn u16 resized, flips", "lstm both ways", "transformer"}


def test_every_preset_is_covered() -> None:
    assert {preset for preset, *_ in CASES.values()} == {path.stem for path in CONF.glob("*.yaml")} - {
        "base",
        "base_series",
    }


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if case in FIRST else pytest.mark.proof) for case in CASES],
)
def test_the_graph_equals_the_model(case) -> None:
    preset, overrides, options, part, metrics = CASES[case]
    facts = facts_of(**options)
    config = load_config("train", [f"model={preset}", *overrides])["model"]
    torch.manual_seed(0)
    model = build(config, "model", facts=facts)
    randomize(model)
    graph = graph_of(model, facts, metrics, part)  # type: ignore[arg-type]
    session = Session(onnx_model(graph, facts), graph.inputs, graph.outputs)
    found = compare_with_model(graph, session, facts)
    if "calibration" in metrics:
        outputs = session.run(random_inputs(graph.inputs, facts, {BATCH: 9}, np.random.default_rng(1)))
        rule = DecisionRule.of_metrics(metrics, facts)
        uncalibrated = outputs["probabilities_uncalibrated"].astype(np.float64)
        np.testing.assert_allclose(outputs["probabilities"], rule.calibrate(uncalibrated), atol=1e-6)
        assert not np.allclose(outputs["probabilities"], uncalibrated, atol=1e-3)
        named = ["|".join(np.array(facts.classes)[row]) for row in outputs["decision"]]
        assert named == rule.decide(uncalibrated)
    print(f"{case}: {found['largest']:.1e} on {found['inputs']} inputs")
    assert found["largest"] <= TOLERANCE
