"""`Augment`: named operations, applied to a whole batch at once."""

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.data.augment.geometry import Flip, Geometric, Padding, compose, interpolate, lookup_places
from vesalius.data.augment.intensity import Pixelwise
from vesalius.data.augment.operation import Operation
from vesalius.data.stateless_random import normal, uniforms

#: Values of a part of a batch that is worked on at once on a CPU.
CACHED_VALUES = 2**19


class Augment:
    """Changes a batch of training images, each by random numbers that depend only on (seed, epoch, draw).

    Operations that move pixels come first, in their order, as one interpolation; those that change values follow, in
    theirs. The random numbers of an entry depend on its name, so adding an operation does not change the others.

    Args:
        operations: name -> operation; None switches an entry off.
        padding: what stands outside an image: `border` (its nearest pixel, Keras' default), `zeros` or `reflection`.
        value_max: top of the value range; None takes it from the type (255, 65535; 1 for floats). Values are cut to
            0..value_max where the images are integers or `value_max` is given.

    Raises:
        InputError: for entries that are not operations, or a `value_max` that is not above 0.
    """

    def __init__(
        self,
        operations: Mapping[str, Operation | None] | None = None,
        padding: Padding = "border",
        value_max: float | None = None,
    ) -> None:
        entries = {name: entry for name, entry in (operations or {}).items() if entry is not None}
        problems = [
            f"augment.operations.{name} must be a Geometric or a Pixelwise operation, not {type(entry).__name__}."
            for name, entry in entries.items()
            if not isinstance(entry, Geometric | Pixelwise)
        ]
        if value_max is not None and not value_max > 0:
            problems.append(f"augment.value_max={value_max!r} must be greater than 0.")
        if problems:
            raise InputError(problems)
        self.operations = entries
        self.padding: Padding = padding
        self.value_max = value_max
        self._geometric = {name: entry for name, entry in entries.items() if isinstance(entry, Geometric)}
        self._pixelwise = {name: entry for name, entry in entries.items() if isinstance(entry, Pixelwise)}

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Tensor, *, seed: int, epoch: int) -> Tensor:
        """Augment one batch.

        Args:
            images: (B, C, H, W), or (B, T, C, H, W) series, whose frames all move alike; uint8, uint16 or float.
            draw: (B,) int64, which draw of the epoch each image is: its row number, or for a further draw of the same
                sample a number of its own (see `epoch_sampler.draws_of`).
            seed: of the run.
            epoch: of the run.

        Returns:
            float32 of the same shape and in the same units; the input itself where there is no operation.

        Raises:
            InputError: for a type whose value range is unknown.
        """
        if not self.operations:
            return images
        value_max = self._value_range(images.dtype)
        cut = self.value_max is not None or not images.dtype.is_floating_point
        counts = {_stream(name): entry.draws for name, entry in self.operations.items()}
        draws = dict(zip(self.operations, uniforms(seed, epoch, draw, counts).values(), strict=True))
        places = self._places(draws, *images.shape[-2:])

        def augment(part: slice) -> Tensor:
            planes = _planes(images[part])
            planes = self._flip(planes, draws, part) if places is None else self._move(planes, places, part)
            for name, operation in self._pixelwise.items():
                normal_draws = partial(normal, seed, epoch, draw[part], f"{_stream(name)}/normal")
                planes = operation.apply(planes, draws[name][part], value_max, normal_draws)
            return planes

        parts = _parts(images)
        if len(parts) == 1:  # spares a copy
            planes = augment(parts[0])
            return (planes.clamp_(0, value_max) if cut else planes).view(images.shape)
        result = torch.empty(images.shape, dtype=torch.float32, device=images.device)
        for part in parts:
            if cut:
                torch.clamp(augment(part), 0, value_max, out=result[part].flatten(1, -3))
            else:
                result[part] = augment(part).view(result[part].shape)
        return result

    def _places(self, draws: Mapping[str, Tensor], height: int, width: int) -> tuple[Tensor, Tensor] | None:
        """Where pixels are looked up; None where none moves, or images are only flipped."""
        if all(isinstance(entry, Flip) for entry in self._geometric.values()):
            return None
        linear, shift = compose(self._geometric, draws, height, width)
        return None if linear is None and shift is None else lookup_places(linear, shift, height, width)

    def _move(self, planes: Tensor, places: tuple[Tensor, Tensor], part: slice) -> Tensor:
        columns, rows = places
        return interpolate(planes, columns[part], rows[part], self.padding)

    def _flip(self, planes: Tensor, draws: Mapping[str, Tensor], part: slice) -> Tensor:
        """Mirror without an interpolation: exact, and cheaper."""
        flips = {name: entry for name, entry in self._geometric.items() if isinstance(entry, Flip)}
        for name, flip in flips.items():
            for axis, flipped in zip((-1, -2), flip.flipped(draws[name][part]), strict=True):
                if flipped is not None:
                    # At weights 0 and 1 lerp returns its arguments to the bit, in less than half of where's time.
                    planes = planes.lerp(planes.flip(axis), flipped[:, None, None, None].to(planes.dtype))
        return planes

    def _value_range(self, dtype: torch.dtype) -> float:
        if self.value_max is not None:
            return float(self.value_max)
        if dtype.is_floating_point:
            return 1.0
        if dtype in (torch.uint8, torch.uint16):
            return float(torch.iinfo(dtype).max)
        raise InputError(f"augment: the value range of {dtype} images is unknown; set augment.value_max.")


def _stream(name: str) -> str:
    return f"augment/{name}"


def _planes(images: Tensor) -> Tensor:
    """A float32 copy that operations may change in place, the frames of a series side by side with its channels.

    So the frames of a series share all random numbers and move alike, while noise differs in each.
    """
    return images.flatten(1, -3).to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _parts(images: Tensor) -> list[slice]:
    """Cut a batch so that intermediate results of a part stay in a CPU's cache: at 128 pixels twice as fast.

    Results do not depend on it. On a GPU the batch is one part.
    """
    batch, size = len(images), max(1, math.prod(images.shape[1:]))
    step = max(torch.get_num_threads(), CACHED_VALUES // size) if images.device.type == "cpu" else max(1, batch)
    return [slice(start, start + step) for start in range(0, batch, step)]
