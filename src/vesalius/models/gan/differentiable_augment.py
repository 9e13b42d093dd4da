"""Augmentation that gradients pass through, with which a GAN learns from few images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vesalius.config.errors import InputError
from vesalius.models.shard import Shard

_WHOLE = Shard()


class DifferentiableAugment:
    """Random shifts, brightness, contrast, cutout and more, drawn for each image (Zhao et al. 2020, DiffAugment).

    Real and synthetic images are augmented alike before the critic, or the classifier next to it, sees them, so that it
    cannot memorise a small set. As the generator's gradient passes through, synthetic images do not look augmented.

    Args:
        translation: largest shift, as a share of the side; black moves in.
        brightness: largest value added, where black is -1 and white 1.
        contrast: largest share by which differences from the image's mean grow or shrink.
        cutout: side of the grey square, as a share of the image's; 0 for none.
        mirror: probability that an image's left and right are swapped.
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

    def __call__(self, images: Tensor, shard: Shard = _WHOLE) -> Tensor:
        """Augment images (B, C, H, W) in -1..1.

        Args:
            images: this device's images of a step; several sets of them may be concatenated.
            shard: which of the step's images they are.
        """
        if self.mirror:
            images = torch.where(_uniform(images, shard) < self.mirror, images.flip(3), images)
        if self.brightness:
            images = images + self.brightness * _signed(images, shard)
        if self.contrast:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * (1 + self.contrast * _signed(images, shard))
        if self.translation:
            images = _translate(images, self.translation, shard)
        if self.cutout:
            images = _cut_out(images, self.cutout, shard)
        return images + self.noise * shard.randn_like(images) if self.noise else images


def _uniform(images: Tensor, shard: Shard) -> Tensor:
    """A number in 0..1 for each image, (B, 1, 1, 1)."""
    return shard.draw(len(images), lambda rows: torch.rand(rows, 1, 1, 1, device=images.device))


def _signed(images: Tensor, shard: Shard) -> Tensor:
    """A number in -1..1 for each image, (B, 1, 1, 1)."""
    return _uniform(images, shard) * 2 - 1


def _translate(images: Tensor, most: float, shard: Shard) -> Tensor:
    count, _, height, width = images.shape
    down, right = round(height * most), round(width * most)
    padded = F.pad(images, (right, right, down, down), value=-1.0)
    top = shard.draw(count, lambda rows: torch.randint(0, 2 * down + 1, (rows,), device=images.device))
    left = shard.draw(count, lambda rows: torch.randint(0, 2 * right + 1, (rows,), device=images.device))
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    number = torch.arange(count, device=images.device)
    return padded.permute(0, 2, 3, 1)[number[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cut_out(images: Tensor, share: float, shard: Shard) -> Tensor:
    _, _, height, width = images.shape
    centre_row = _uniform(images, shard) * height
    centre_column = _uniform(images, shard) * width
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1) + 0.5
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1) + 0.5
    inside = ((rows - centre_row).abs() < share * height / 2) & ((columns - centre_column).abs() < share * width / 2)
    return images.masked_fill(inside, 0.0)
