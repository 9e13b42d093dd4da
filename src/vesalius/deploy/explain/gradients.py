"""Relevance of pixels from the gradients of a net that torch computes, by captum.

The explained number is the output before softmax or sigmoid (of a continuous target the standardised value), of the
image as it is, without test-time flips. A map is in units of that number: its pixels add up to what they contribute to
it, by the slope of the net at this image (of integrated gradients: along the path). Behind the last feature map that is
exact for an average and a linear head; where the head normalises, slopes add up to less than the output.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
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
_GRADCAM_MAPS, _HIRESCAM_MAPS = 1, 3
#: Displacements of the copies of an image along each axis, in cells of a feature map; the image itself comes first.
_GRADCAM_COPIES, _HIRESCAM_COPIES = (0, -1 / 3, 1 / 3), (0,)
#: What a map adds up to at least, in units of the output, if anything speaks for the target.
_LEAST_SUM = 1e-6
#: Steps of the path integral, and inputs that are differentiated at once.
_STEPS, _AT_ONCE = 32, 8


def gradcam(module: nn.Module, one: ModelInput, target: int) -> Floats:
    """(T, H, W) Grad-CAM (Selvaraju et al., ICCV 2017) of the last feature map, averaged over displaced copies.

    Feature channels weigh as the mean of their gradient over the image. A cell of the last map is an eighth of a small
    image and wider than many a finding, whose place within the cell a single map does not show. So the image is
    displaced by a third of a cell in each direction, and the mean of the nine maps, moved back, is three times as fine
    (shift-and-stitch: Long et al., CVPR 2015; averages over changed copies: Augmented Grad-CAM, Morbidelli et al.,
    ICASSP 2020).
    """
    layer_gradcam = _captum("LayerGradCam")

    def of_layer(call: "_Call", layer: nn.Module, image: Tensor) -> Tensor:
        found: Tensor = layer_gradcam(call, layer).attribute(image, target, relu_attributions=True)
        return found[:, 0]

    return _from_maps(module, one, of_layer, _GRADCAM_MAPS, _GRADCAM_COPIES)


def hirescam(module: nn.Module, one: ModelInput, target: int) -> Floats:
    """(T, H, W) HiResCAM (Draelos and Carin, arXiv:2011.08891) of the three coarsest feature maps, added on one scale.

    Each pixel of a feature map weighs as its own gradient, which for the last map before a global average is Grad-CAM,
    and lets finer maps count too. Were only gradients above 0 to count (LayerCAM), maps would find lesions a little
    more often, and hardly change where the head gets random weights: they would show contrast and not reasons.
    """
    gradient_x_activation = _captum("LayerGradientXActivation")

    def of_layer(call: "_Call", layer: nn.Module, image: Tensor) -> Tensor:
        found: Tensor = gradient_x_activation(call, layer).attribute(image, target)
        return found.sum(dim=1).clamp_min(0)

    return _from_maps(module, one, of_layer, _HIRESCAM_MAPS, _HIRESCAM_COPIES)


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


def _from_maps(
    module: nn.Module,
    one: ModelInput,
    of_layer: Callable[[_Call, nn.Module, Tensor], Tensor],
    most: int,
    copies: Sequence[float],
) -> Floats:
    """The relevance of feature maps at several resolutions, added on one scale; in all that of the coarsest."""
    call = _Call(module, one)
    net = cast(nn.Module, getattr(module, "net", module))
    prepared = getattr(getattr(module, "preprocess", None), "out_size", one.images.shape[-2:])
    with _differentiable(module):
        layers = last_feature_maps(net, lambda: call(call.image), prepared, most)
        maps = [_average_of_copies(partial(of_layer, call, layer), call.image, copies) for layer in layers]
    tiny = torch.finfo(torch.float64).tiny
    added = torch.stack([found / found.max().clamp_min(tiny) for found in maps]).sum(dim=0)
    whole = maps[0].sum().clamp_min(_LEAST_SUM)  # where only finer maps speak for the target, theirs is drawn
    return np.asarray((added / added.sum().clamp_min(tiny) * whole).numpy())


def _average_of_copies(of_image: Callable[[Tensor], Tensor], image: Tensor, copies: Sequence[float]) -> Tensor:
    """(T, H, W) mean of the maps (T, h, w) of copies of an image, each spread over its size and moved back."""
    height, width = image.shape[-2:]
    grown: list[Tensor] = []
    cell = (0.0, 0.0)  # in pixels; known from the first map, that of the image itself
    for part in product(copies, copies):
        down, right = round(part[0] * cell[0]), round(part[1] * cell[1])
        found = of_image(_move(image, down, right)).detach().double().cpu()
        cell = (height / found.shape[-2], width / found.shape[-1])
        found = F.interpolate(found[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]
        found /= cell[0] * cell[1]  # pixels add up to what their cell does
        grown.append(_move(found, -down, -right))
    return torch.stack(grown).mean(dim=0)


def _move(images: Tensor, down: int, right: int) -> Tensor:
    """Images (..., H, W) moved by whole pixels; the border repeats."""
    rows, columns = (
        (torch.arange(size, device=images.device) - by).clamp(0, size - 1)
        for size, by in zip(images.shape[-2:], (down, right), strict=True)
    )
    return images[..., rows[:, None], columns]


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
