"""Changes that critic and generator both look through, so that few images suffice."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.models.shard import Shard

_ALL = Shard()


class DifferentiableAugment:
    """Shifts, brightness, contrast, a hidden patch and more, drawn for each image (Zhao et al. 2020, DiffAugment).

    Real and made images are changed in the same way before the critic, or the classifier beside it, sees them. It
    cannot learn a small set by heart then, and as the generator's gradient passes through, what is made is not changed
    itself.

    Args:
        translation: furthest shift, as a share of the side; what moves in is black.
        brightness: largest value added, where black is -1 and white 1.
        contrast: largest share by which differences from the image's mean grow or shrink.
        cutout: side of the hidden square, as a share of the image's; 0 hides nothing.
        mirror: chance that an image's left and right are swapped.
        noise: standard deviation of normal noise, where black is -1 and white 1.

    Raises:
        InputError: for a share outside 0..1.
    """

    def __init__(
        self,
        translation: float = 0.125,
        brightness: float = 0.0,
        contrast: float = 0.0,
        cutout: float = 0.0,
        mirror: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        values = {"translation": translation, "brightness": brightness, "contrast": contrast, "cutout": cutout}
        values |= {"mirror": mirror, "noise": noise}
        problems = [
            f"{name}={value} of model.augment or model.classifier.augment: must be from 0 to 1."
            for name, value in values.items()
            if not 0 <= value <= 1
        ]
        if problems:
            raise InputError(problems)
        self.translation, self.brightness, self.contrast, self.cutout = translation, brightness, contrast, cutout
        self.mirror, self.noise = mirror, noise

    def __call__(self, images: Tensor, part: Shard = _ALL) -> Tensor:
        """Change images (B, C, H, W) in -1..1.

        Args:
            images: of a step.
            part: which of the step's they are; several kinds may lie one behind the other.
        """
        if self.mirror:
            images = torch.where(_uniform(images, part) < self.mirror, images.flip(3), images)
        if self.brightness:
            images = images + self.brightness * _signed(images, part)
        if self.contrast:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * (1 + self.contrast * _signed(images, part))
        if self.translation:
            images = _shifted(images, self.translation, part)
        if self.cutout:
            images = _with_hole(images, self.cutout, part)
        return images + self.noise * part.normal_like(images) if self.noise else images


def _uniform(images: Tensor, part: Shard) -> Tensor:
    """A number in 0..1 for each image, (B, 1, 1, 1)."""
    return part.of(len(images), lambda rows: torch.rand(rows, 1, 1, 1, device=images.device))


def _signed(images: Tensor, part: Shard) -> Tensor:
    """A number in -1..1 for each image, (B, 1, 1, 1)."""
    return _uniform(images, part) * 2 - 1


def _shifted(images: Tensor, most: float, part: Shard) -> Tensor:
    count, _, height, width = images.shape
    down, right = round(height * most), round(width * most)
    padded = F.pad(images, (right, right, down, down), value=-1.0)
    top = part.of(count, lambda rows: torch.randint(0, 2 * down + 1, (rows,), device=images.device))
    left = part.of(count, lambda rows: torch.randint(0, 2 * right + 1, (rows,), device=images.device))
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    number = torch.arange(count, device=images.device)
    return padded.permute(0, 2, 3, 1)[number[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _with_hole(images: Tensor, share: float, part: Shard) -> Tensor:
    _, _, height, width = images.shape
    middle_row = _uniform(images, part) * height
    middle_column = _uniform(images, part) * width
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1) + 0.5
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1) + 0.5
    inside = ((rows - middle_row).abs() < share * height / 2) & ((columns - middle_column).abs() < share * width / 2)
    return images.masked_fill(inside, 0.0)
