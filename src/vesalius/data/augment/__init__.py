"""Augmentation of whole batches on their device, each sample by random numbers of its own."""

from vesalius.data.augment.augment import Augment
from vesalius.data.augment.geometry import Flip, Geometric, Rotation, Shear, Translation, Zoom
from vesalius.data.augment.intensity import Erasing, Intensity, Noise, Pixelwise

__all__ = [
    "Augment",
    "Erasing",
    "Flip",
    "Geometric",
    "Intensity",
    "Noise",
    "Pixelwise",
    "Rotation",
    "Shear",
    "Translation",
    "Zoom",
]
