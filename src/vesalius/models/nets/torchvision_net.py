"""Any classification network of torchvision, with stem and head replaced and one interface."""

import warnings
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.models.nets.base import Net
from vesalius.models.nets.heads import HeadKind, build_head
from vesalius.models.nets.weights import adapt_channels, check_name, fetch, load_into

# Constructor arguments without which a network has more than one output or takes a minute to build.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
# Children of a network whose own children are distributed over stages.
_CONTAINERS = ("features", "layers", "trunk_output", "blocks", "encoder", "classifier", "heads")
# Blocks that begin a stage although no convolution or pooling in them has a stride.
_STAGE_BLOCKS = ("PatchMerging", "PatchMergingV2", "EncoderBlock")


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
        stem: `standard`, or `small` for images of about 28 pixels (resnet family only): a 3x3 convolution of stride 1
            without max-pooling (He et al. 2016, section 4.2), which is never pretrained.
        head: `linear` replaces the last layer; `article` replaces all after the convolutions by a global average
            pool, Dense 512, ReLU, dropout and Dense K.
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
        stem: Literal["standard", "small"] = "standard",
        head: HeadKind = "linear",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        _check_options(architecture, weights, stem)
        self.architecture = architecture
        self.weights = weights
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
        groups: list[list[nn.Module]] = [[]]
        for unit in _units(self.trunk):
            if _begins_stage(unit) and any(_has_parameters(part) for part in groups[-1]):
                groups.append([])
            groups[-1].append(unit)
        loose = list(self.trunk.parameters(recurse=False))
        for name in _CONTAINERS:
            if isinstance(getattr(self.trunk, name, None), nn.Module):
                loose += self.trunk.get_submodule(name).parameters(recurse=False)
        if loose:  # a class token or position embedding, which belongs to no layer
            groups[0].append(nn.ParameterList(loose))
        return [nn.ModuleList(group) for group in groups if any(_has_parameters(part) for part in group)]

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the architecture cannot take; runs on the meta device, without memory or arithmetic.

        Raises:
            InputError: with the cure.
        """
        tensors = chain(self.named_parameters(), self.named_buffers())
        on_meta = {name: value.detach().to("meta") for name, value in tensors}
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                image = torch.empty(1, channels, height, width, device="meta")
                torch.func.functional_call(self, on_meta, (image,))
        except Exception as error:  # kernels and assertions raise many types
            raise InputError(
                f"model.net.architecture={self.architecture} cannot take images of {height}x{width} pixels "
                f"({str(error).splitlines()[0].rstrip('.')}): set model.preprocess.image_size=224."
            ) from error
        finally:
            self.train(training)

    def load_pretrained(self) -> None:
        """Load the weights that the config names, if any.

        The last layer's are loaded too if it is a single linear layer with as many outputs.

        Raises:
            InputError: if they cannot be read or downloaded, or do not fit.
        """
        if self.weights is None:
            return
        state = fetch(self.architecture, self.weights)
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


def _units(network: nn.Module) -> list[nn.Module]:
    """The network's parts in order of use, those of containers one by one."""
    units: list[nn.Module] = []
    for name, child in network.named_children():
        units += _units(child) if name in _CONTAINERS and list(child.children()) else [child]
    return units


def _begins_stage(unit: nn.Module) -> bool:
    # A resnet's removed max-pool is an Identity, and still separates stem and first stage.
    if isinstance(unit, nn.Identity) or type(unit).__name__ in _STAGE_BLOCKS:
        return True
    return any(_largest(getattr(part, "stride", 1)) > 1 for part in unit.modules())


def _largest(stride: Any) -> int:
    return max(stride) if isinstance(stride, tuple) else stride if isinstance(stride, int) else 1


def _has_parameters(part: nn.Module) -> bool:
    return next(part.parameters(), None) is not None
