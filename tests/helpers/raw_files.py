"""The same images as files of every kind that `vesalius predict` reads."""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_maker import new_image, write_cine, write_image

#: Kinds, and how many of 20 images are of each.
SHARES = {"png": 4, "png of 16 bits": 4, "monochrome1": 3, "compressed": 3, "multi-frame": 3, "nifti": 3}


def write_raw_files(folder: Path, images: np.ndarray) -> dict[str, int]:
    """Write images (N, H, W), uint8, N a multiple of 20, as files of several kinds.

    Returns:
        How many images are in files of each kind.
    """
    part = len(images) // 20
    assert len(images) == 20 * part
    counts = {kind: share * part for kind, share in SHARES.items()}
    ends = np.cumsum(list(counts.values()))
    groups = dict(zip(counts, np.split(images, ends[:-1]), strict=True))
    rng = np.random.default_rng(0)
    for kind in counts:
        (folder / kind).mkdir(parents=True)
    for number, image in enumerate(groups["png"]):
        Image.fromarray(image).save(folder / "png" / f"{number}.png")
    for number, image in enumerate(groups["png of 16 bits"]):
        deep = image.astype(np.uint16) * 257 - rng.integers(0, 200, image.shape, dtype=np.uint16) * (image > 0)
        Image.fromarray(deep).save(folder / "png of 16 bits" / f"{number}.png")
    deep_window = {"window": (2048.0, 4096.0), "rescale": (1.0, 0.0)}
    for number, image in enumerate(groups["monochrome1"]):
        inverted = 4095 - image.astype(np.uint16) * 16
        path = folder / "monochrome1" / f"{number}.dcm"
        write_image(path, inverted, photometric="MONOCHROME1", bits_stored=12, number=number + 1, **deep_window)
    syntaxes = [RLELossless, JPEGLSLossless]
    syntaxes += [JPEG2000Lossless] * (images.shape[1] >= 32)  # its encoder takes no smaller images
    for number, image in enumerate(groups["compressed"]):
        dataset = new_image(image.astype(np.uint16) * 16, bits_stored=12, number=number + 1, **deep_window)
        syntax = syntaxes[number % len(syntaxes)]
        plugin = {RLELossless: "pydicom", JPEG2000Lossless: "pylibjpeg", JPEGLSLossless: "pyjpegls"}[syntax]
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        dataset.save_as(folder / "compressed" / f"{number}.dcm", enforce_file_format=True)
    for number, frames in enumerate(np.split(groups["multi-frame"], part)):
        write_cine(folder / "multi-frame" / f"{number}.dcm", frames, number=number + 1, window=(128.0, 256.0))
    for number, slices in enumerate(np.split(groups["nifti"], part)):
        voxels = np.moveaxis(slices, 0, 2)
        nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 1, 1])), folder / "nifti" / f"{number}.nii.gz")
    return counts
