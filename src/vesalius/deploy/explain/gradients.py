"""Relevance of pixels from the gradients of a net that torch computes, by captum.

The explained number is the output before softmax or sigmoid (of a continuous target the standardised value), of the
image as it is, without test-time flips.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.config.targets import locate
from vesalius.deploy.explain.layers import last_feature_maps
from vesalius.deploy.inputs import ModelInput

Floats = NDArray[np.float64]

#: Resolutions of feature maps whose relevance is added, from the coarsest: coarse maps know what, fine ones where.
_GRADCAM_MAPS, _HIRESCAM_MAPS = 2, 3
#: Steps of the path integral, and inputs that are differentiated at once.
_STEPS, _AT_ONCE = 32, 8


def gradcam(module: nn.Module, one: ModelInput, target: int) -> Floats:
    """(T, H, W) Grad-CAM (Selvaraju et al., ICCV 2017) of the two coarsest feature maps, added on one scale.

    Feature maps weigh as the mean of their gradient over the image.
    """
    layer_gradcam = _captum("LayerGradCam")

    def of_layer(call: "_Call", layer: nn.Module) -> Tensor:
        found: Tensor = layer_gradcam(call, layer).attribute(call.image, target, relu_attributions=True)
        return found[:, 0]

    return _from_maps(module, one, of_layer, _GRADCAM_MAPS)


def hirescam(module: nn.Module, one: ModelInput, target: int) -> Floats:
    """(T, H, W) HiResCAM (Draelos and Carin, arXiv:2011.08891) of the three coarsest feature maps, added on one scale.

    Each pixel of a feature map weighs as its own gradient, which for the last map before a global average is Grad-CAM,
    and lets finer maps count too. Were only gradients above 0 to count (LayerCAM), maps would find lesions a little
    more often, and hardly change where the head gets random weights: they would show contrast and not reasons.
    """
    gradient_x_activation = _captum("LayerGradientXActivation")

    def of_layer(call: "_Call", layer: nn.Module) -> Tensor:
        found: Tensor = gradient_x_activation(call, layer).attribute(call.image, target)
        return found.sum(dim=1).clamp_min(0)

    return _from_maps(module, one, of_layer, _HIRESCAM_MAPS)


def integrated_gradients(module: nn.Module, one: ModelInput, target: int) -> Floats:
    """(T, H, W) integrated gradients (Sundararajan et al., ICML 2017), summed over channels; below 0 speaks against.

    The path begins at an image of the input's mean grey value, of a series' mean over time too. By the axiom of
    completeness the sum is the model's output minus that at the beginning of the path.
    """
    integrate = _captum("IntegratedGradients")
    call = _Call(module, one)
    axes = tuple(axis for axis in range(call.image.ndim) if axis != call.image.ndim - 3)
    start = call.image.mean(dim=axes, keepdim=True).expand_as(call.image)
    with _differentiable(module):
        found: Tensor = integrate(call).attribute(
            call.image, start, target, n_steps=_STEPS, internal_batch_size=_AT_ONCE, method="gausslegendre"
        )
    summed = found.detach().double().sum(dim=-3).cpu().numpy()
    return np.asarray(summed.reshape(-1, *summed.shape[-2:]))


class _Call:
    """A model as a function of its image only, (B, C, H, W), or (B, T, C, H, W) of a series whose times are fixed.

    Attributes:
        image: (1, ...) float32 in 0..value_max.
    """

    def __init__(self, module: nn.Module, one: ModelInput) -> None:
        self.module, self.series = module, one.seconds is not None
        device = next(module.parameters()).device
        image = torch.from_numpy(one.images).to(device, torch.float32)
        self.image = image[None] if self.series else image
        self._seconds = torch.from_numpy(one.seconds).to(device) if one.seconds is not None else None

    def __call__(self, image: Tensor) -> Tensor:
        if self._seconds is None:
            outputs: Tensor = self.module(image)
            return outputs
        time = self._seconds.expand(len(image), -1)
        outputs = self.module(image, torch.ones_like(time, dtype=torch.bool), time)
        return outputs


def _from_maps(module: nn.Module, one: ModelInput, of_layer: Callable[[_Call, nn.Module], Tensor], most: int) -> Floats:
    """The relevance of feature maps at several resolutions, each of the size of the image and with the maximum 1."""
    call = _Call(module, one)
    net = cast(nn.Module, getattr(module, "net", module))
    size = (one.images.shape[-2], one.images.shape[-1])
    prepared = getattr(getattr(module, "preprocess", None), "out_size", size)
    total = torch.zeros(len(one.images), *size, dtype=torch.float64)
    with _differentiable(module):
        for layer in last_feature_maps(net, lambda: call(call.image), prepared, most):
            found = of_layer(call, layer).detach().double().cpu()
            grown = F.interpolate(found[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            highest = float(grown.max())
            total += grown / highest if highest > 0 else 0
    return np.asarray(total.numpy())


@contextmanager
def _differentiable(module: nn.Module) -> Iterator[None]:
    """Gradients in evaluation mode, also of recurrent layers; all frames of a series are encoded at once."""
    net: Any = getattr(module, "net", None)
    chunk = getattr(net, "chunk_frames", None)
    if chunk is not None:
        net.chunk_frames = None
    try:
        # cudnn's recurrent layers have a backward pass in training mode only.
        with torch.backends.cudnn.flags(enabled=False), torch.enable_grad():
            yield
    finally:
        if chunk is not None:
            net.chunk_frames = chunk


def _captum(name: str) -> Any:
    """A class of captum's.

    Raises:
        InputError: without captum, with the line to type.
    """
    try:
        return locate(f"captum.attr.{name}")
    except InputError as error:
        raise InputError(f"explain: {error}") from None
