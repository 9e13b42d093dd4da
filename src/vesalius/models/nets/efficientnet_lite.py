"""EfficientNet-Lite0, a small network for images of any size, whose ImageNet weights come as a Python package."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vesalius.models.nets.base import Net
from vesalius.models.nets.heads import HeadKind, build_head
from vesalius.models.nets.weight_record import WeightRecord, record_of_file
from vesalius.models.nets.weight_sets import WeightSet, find_set
from vesalius.models.nets.weights import adapt_channels, is_path, load_into, read_weights

# Of each stage: blocks, kernel, stride of the first block, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
_FEATURES = 1280
#: Convolutions, and the batch norm after each.
_FOLLOWED_BY = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


class EfficientNetLite0(Net):
    """The network without squeeze-and-excitation and with ReLU6 that TensorFlow published for edge devices.

    Tan and Le 2019 (EfficientNet), in the Lite form of 2020. Names of the layers are those of the packaged weights.

    Args:
        in_channels: channels of the image; a stem for other than 3 keeps the response of the RGB stem.
        num_outputs: number of logits.
        weights: `imagenet` for the packaged set (`vesalius.models.nets.weight_sets`), the path of a state dict, or
            None for random ones.
        dropout: probability before the last layer; None: the head's own.
        head: as `build_head` has it.
        layers: what the features are: `last`, the pooled last layer; or `stages`, mean and standard deviation over the
            image of each channel of each stage's output, which also have textures that the last layer ignores.

    Attributes:
        feature_dim: 1280, or 1568 for `stages`.
        weight_set: where the weights come from, and which input they expect; None for random ones and for files.

    Raises:
        InputError: for a set of weights that is not known.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        weights: str | None = None,
        dropout: float | None = 0.2,
        head: HeadKind = "linear",
        layers: Literal["last", "stages"] = "last",
    ) -> None:
        super().__init__()
        self.weights = weights
        known = weights is not None and not is_path(weights)
        self.weight_set: WeightSet | None = find_set("efficientnet_lite0", str(weights)) if known else None
        self.layers = layers
        self.trunk = _Trunk(in_channels, last=layers == "last")
        self.feature_dim = _FEATURES if layers == "last" else 2 * sum(channels for *_, channels in _STAGES)
        self.head = build_head(head, self.feature_dim, num_outputs, dropout)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""
        if self.layers == "last":
            features: Tensor = self.trunk(x)
            return features
        pooled = []
        for one in self.feature_maps(x, range(len(_STAGES))):
            one = one.float()
            mean = one.mean(dim=(2, 3), keepdim=True)
            variance = (one - mean).square().mean(dim=(2, 3))  # torch.var_mean takes seventeen times as long on a CPU
            pooled += [mean.flatten(1), (variance + 1e-6).sqrt()]  # a constant channel: no infinite gradient
        return torch.cat(pooled, dim=1)

    def feature_maps(self, x: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Map images (B, C, H, W) to the outputs (B, D, h, w) of some stages; those above the last are not computed."""
        return self.trunk.feature_maps(x, stages)

    def fold_batch_norms(self) -> None:
        """Multiply the weights of frozen batch norms into the convolutions before them: equal but for rounding."""
        for part in (self.trunk, *self.trunk._blocks):
            for conv, norm in _FOLLOWED_BY:
                if hasattr(part, conv) and hasattr(part, norm):
                    setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
                    setattr(part, norm, nn.Identity())

    def stages(self) -> list[nn.Module]:
        """Seven: a stage begins where the resolution drops or the number of channels grows; the first has the stem."""
        return self.trunk.stages()

    def load_pretrained(self) -> WeightRecord | None:
        """Load the weights that the config names, if any, and return their record.

        Raises:
            InputError: if the package or file is missing or damaged, or does not fit.
        """
        if self.weights is None:
            return None
        state = read_weights(self.weights) if self.weight_set is None else self.weight_set.read()
        kernel = state.get("_conv_stem.weight")
        if kernel is not None and kernel.ndim == 4 and kernel.shape[1] == 3:
            state = {**state, "_conv_stem.weight": adapt_channels(kernel, self.trunk._conv_stem.in_channels)}
        unused = ("_fc.",) if self.layers == "last" else ("_fc.", "_conv_head.", "_bn1.")
        load_into(self.trunk, state, unused, self.weights)
        return self.weight_set or record_of_file(self.weights, "efficientnet_lite0")


class _Trunk(nn.Module):
    """From images to feature vectors."""

    def __init__(self, in_channels: int, *, last: bool) -> None:
        super().__init__()
        self._conv_stem = _SameConv(in_channels, _STEM, 3, stride=2)
        self._bn0 = _batch_norm(_STEM)
        blocks: list[_Block] = []
        width, self._ends = _STEM, []
        for count, kernel, stride, expansion, channels in _STAGES:
            for position in range(count):
                blocks.append(_Block(width, channels, kernel, stride if position == 0 else 1, expansion))
                width = channels
            self._ends.append(len(blocks))
        self._blocks = nn.ModuleList(blocks)
        if last:
            self._conv_head = nn.Conv2d(width, _FEATURES, 1, bias=False)
            self._bn1 = _batch_norm(_FEATURES)
        self._has_last = last
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))

    def feature_maps(self, x: Tensor, stages: Sequence[int]) -> list[Tensor]:
        ends, maps = [self._ends[stage] for stage in stages], []
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for number, block in enumerate(self._blocks[: max(ends)], start=1):
            x = block(x)
            if number in ends:
                maps.append(x)
        return maps

    def stages(self) -> list[nn.Module]:
        starts = [0, *self._ends[:-1]]
        stages = [list(self._blocks[a:b]) for a, b in zip(starts, self._ends, strict=True)]
        stages[0] = [self._conv_stem, self._bn0, *stages[0]]
        stages[-1] += [self._conv_head, self._bn1] if self._has_last else []
        return [nn.ModuleList(parts) for parts in stages]


class _Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shape stays (Sandler et al. 2018)."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        if expansion > 1:
            self._expand_conv: nn.Module = nn.Conv2d(in_channels, width, 1, bias=False)
            self._bn0: nn.Module = _batch_norm(width)
        self._expands = expansion > 1
        self._depthwise_conv = _SameConv(width, width, kernel, stride=stride, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = nn.Conv2d(width, channels, 1, bias=False)
        self._bn2 = _batch_norm(channels)
        self._has_shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        projected: Tensor = self._bn2(self._project_conv(inner))
        return projected + x if self._has_shortcut else projected


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: to ceil(side / stride), the larger half right and below."""

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int, groups: int = 1) -> None:
        super().__init__(in_channels, channels, kernel, stride=stride, groups=groups, bias=False)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:])
        padding = (height // 2, width // 2)  # the same on both sides needs no copy of the image
        if width % 2 or height % 2:
            input = functional.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
            padding = (0, 0)
        return functional.conv2d(input, weight, bias, self.stride, padding, groups=self.groups)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
