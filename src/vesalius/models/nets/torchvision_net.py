"""Any classification network of torchvision, with stem and head replaced and one interface."""

import warnings
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net
from vesalius.models.nets.heads import HeadKind, build_head
from vesalius.models.nets.stages import check_image, split_stages
from vesalius.models.nets.weight_record import WeightRecord
from vesalius.models.nets.weights import adapt_channels, check_name, fetch, load_into

# Constructor arguments without which a network has more than one output or takes a minute to build.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class TorchvisionNet(Net):
    """A network of torchvision by name: `trunk` maps images to feature vectors, `head` maps these to logits.

    The constructor never reads or downloads weights; `load_pretrained` does, once, for a run that starts from scratch.

    Args:
        in_channels: channels of the image. A stem for other than 3 keeps the response of the RGB stem
            (`adapt_channels`), with or without pretrained weights.
        num_outputs: number of logits.
        architecture: a name of `torchvision.models.list_models(module=torchvision.models)`.
        weights: torchvision's name of weights (`DEFAULT`), the path of a state dict, or None for random ones. Weights
            of googlenet and inception_v3 need images normalised by 0.5 and 0.5, all others as `imagenet`.
        download: fetch named weights that are not in torch's folder of downloads; else nothing is fetched.
        stem: `standard`, or `small` for images of about 28 pixels (resnet family only): a 3x3 convolution of stride 1
            without max-pooling (He et al. 2016, section 4.2), which is never pretrained.
        head: `linear` replaces the last layer; `article` replaces all after the convolutions by a global average
            pool, Dense 512, ReLU, dropout and Dense K; `quadratic` by the pool and a `QuadraticHead`.
        dropout: probability in the head; None keeps the default of the architecture or the head.

    Attributes:
        feature_dim: length of a feature vector.

    Raises:
        InputError: for unknown names and options that contradict each other, all reasons at once.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        architecture: str,
        weights: str | None = None,
        download: bool = False,
        stem: Literal["standard", "small"] = "standard",
        head: HeadKind = "linear",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        _check_options(architecture, weights, stem)
        self.architecture = architecture
        self.weights, self.download = weights, download
        with warnings.catch_warnings():  # torchvision warns of a future change of initialisation
            warnings.simplefilter("ignore", FutureWarning)
            from torchvision.models import get_model

            self.trunk: nn.Module = get_model(architecture, weights=None, **_ARGUMENTS.get(architecture, {}))
        self._replaced: list[str] = []  # names of layers that get no pretrained weights
        if stem == "small":
            self._replaced.append("conv1.")
            conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            _replace(self.trunk, "conv1", conv)
            _replace(self.trunk, "maxpool", nn.Identity())
        self._stem_name, stem_conv = _first_conv(self.trunk)
        _replace(self.trunk, self._stem_name, _with_channels(stem_conv, in_channels))
        name, self.feature_dim, has_dropout = _cut_head(self.trunk, keep_hidden=head == "linear", dropout=dropout)
        self._replaced.append(f"{name}.")
        self._last_name = name if head == "linear" else None
        inner_dropout = dropout if head == "article" or not has_dropout else None
        self.head = build_head(head, self.feature_dim, num_outputs, inner_dropout)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""
        features: Tensor = self.trunk(x)
        return features

    def stages(self) -> list[nn.Module]:
        """The parts that are frozen and released together, from the stem to the last before the head.

        A stage begins where the resolution drops, or with each block of a transformer that keeps one resolution.
        Together they hold each parameter outside the head exactly once.
        """
        return split_stages(self.trunk)

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the architecture cannot take.

        Raises:
            InputError: with the cure.
        """
        check_image(self, self.architecture, channels, height, width)

    def load_pretrained(self) -> WeightRecord | None:
        """Load the weights that the config names, if any, and return their record.

        The last layer's are loaded too if it is a single linear layer with as many outputs.

        Raises:
            InputError: if they cannot be read or downloaded, or do not fit.
        """
        if self.weights is None:
            return None
        state, record = fetch(self.architecture, self.weights, download=self.download)
        name = f"{self._stem_name}.weight"
        channels = _first_conv(self.trunk)[1].in_channels
        if name in state and state[name].ndim == 4 and state[name].shape[1] == 3:
            state[name] = adapt_channels(state[name], channels)
        load_into(self.trunk, state, tuple(self._replaced), self.weights)
        last = self.head[-1] if isinstance(self.head, nn.Sequential) else self.head
        kernel, bias = state.get(f"{self._last_name}.weight"), state.get(f"{self._last_name}.bias")
        if kernel is not None and isinstance(last, nn.Linear) and kernel.shape == last.weight.shape:
            with torch.no_grad():
                last.weight.copy_(kernel)
                last.bias.copy_(torch.zeros_like(last.bias) if bias is None else bias)
        return record


@lru_cache(maxsize=1)
def architectures() -> list[str]:
    """Names of torchvision's classification networks."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _check_options(architecture: str, weights: str | None, stem: str) -> None:
    problems: list[str] = []
    if architecture not in architectures():
        hint = did_you_mean(architecture, architectures())
        problems.append(f"model.net.architecture={architecture}: torchvision has no such network.{hint}")
    elif weights is not None:
        problem = check_name(architecture, weights)
        problems += [problem] if problem else []
    if stem == "small" and not architecture.startswith(("resnet", "resnext", "wide_resnet")):
        problems.append(f"model.net.stem=small: only the resnet family has one, and {architecture} is not of it.")
    if problems:
        raise InputError(problems)


def _first_conv(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d))


def _replace(network: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, part)


def _with_channels(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    if channels == conv.in_channels:
        return conv
    with torch.no_grad():
        conv.weight = nn.Parameter(adapt_channels(conv.weight, channels).clone())
    conv.in_channels = channels
    return conv


def _cut_head(trunk: nn.Module, *, keep_hidden: bool, dropout: float | None) -> tuple[str, int, bool]:
    """Remove the last layer, so that the network ends in feature vectors.

    Args:
        trunk: the network.
        keep_hidden: keep dense layers before the last one (AlexNet, VGG); else global average pooling replaces them.
        dropout: probability for the dropout layers that remain; None does not change them.

    Returns:
        Name of the part that was removed, the length of a feature vector, and whether dropout layers remain.
    """
    name = list(dict(trunk.named_children()))[-1]
    part = trunk.get_submodule(name)
    if not any(isinstance(layer, nn.Linear) for layer in part.modules()):
        # SqueezeNet classifies by a 1x1 convolution, then pools.
        features = next(layer.in_channels for layer in part.modules() if isinstance(layer, nn.Conv2d))
        _replace(trunk, name, nn.AdaptiveAvgPool2d(1))
        return name, features, False
    layers = list(part.named_children()) if isinstance(part, nn.Sequential) else []
    dense = [position for position, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)]
    if len(dense) > 1 and not keep_hidden:
        features = _in_features(layers[dense[0]][1])
        remaining = [layer for _, layer in layers[: dense[0]] if not isinstance(layer, nn.Dropout)]
        pool = getattr(trunk, "avgpool", None)
        if isinstance(pool, nn.AdaptiveAvgPool2d):  # AlexNet's and VGG's keep 6x6 or 7x7 positions
            sides = pool.output_size if isinstance(pool.output_size, tuple) else (pool.output_size,) * 2
            features //= (sides[0] or 1) * (sides[1] or 1)
            trunk.avgpool = nn.AdaptiveAvgPool2d(1)
        _replace(trunk, name, nn.Sequential(*remaining) if remaining else nn.Identity())
        return name, features, False
    last = f"{name}.{layers[dense[-1]][0]}" if layers else name
    features = _in_features(trunk.get_submodule(last))
    _replace(trunk, last, nn.Identity())
    dropouts = _classifier_dropouts(trunk, name)
    for layer in dropouts:
        layer.p = layer.p if dropout is None else dropout
    return last, features, bool(dropouts)


def _in_features(layer: nn.Module) -> int:
    return cast(nn.Linear, layer).in_features


def _classifier_dropouts(trunk: nn.Module, name: str) -> list[nn.Dropout]:
    parts = [trunk.get_submodule(name), getattr(trunk, "dropout", None)]
    layers = [layer for part in parts if isinstance(part, nn.Module) for layer in part.modules()]
    return [layer for layer in layers if isinstance(layer, nn.Dropout)]
