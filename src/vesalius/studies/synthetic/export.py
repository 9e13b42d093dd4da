"""Images of a trained generator as files: number per class, place of each file, and the manifest of them all."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.splits.file import load_run_split, split_hash
from vesalius.data.synthetic import KIND, LIST, MANIFEST, SCHEMA
from vesalius.runs.run_folder import SPLIT, RunFolder, write_json

IMAGES = "images"
_BATCH = 256


def split_by_share(n: int, shares: Sequence[int]) -> list[int]:
    """Split `n` over classes in proportion to their shares, by largest remainders; ties go to the earlier class."""
    exact = n * np.asarray(shares, dtype=np.float64) / sum(shares)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return [int(count) for count in counts]


def images_per_class(n: int, label: str | None, facts: Facts, *, conditional: bool) -> dict[str, int]:
    """Number of images of each class; empty for a generator that is not conditional.

    Args:
        n: number of images in all.
        label: the class of all images; None: classes as in training.
        facts: of the generator's training data.
        conditional: whether the generator takes the class as an input.

    Raises:
        InputError: for a number below 1, or a class that the generator does not have.
    """
    problems = [] if n >= 1 else [f"n={n}: must be 1 or more."]
    if label is not None and not conditional:
        problems.append(
            f"label={label}: this generator is not conditional on the class: leave label out, or train one with "
            "model.conditional=true on data whose samples have one class each."
        )
    elif label is not None and label not in facts.classes:
        problems.append(f"label={label}: the generator has no such class.{did_you_mean(label, facts.classes)}")
    if problems:
        raise InputError(problems)
    if not conditional:
        return {}
    if label is not None:
        return {name: n * (name == label) for name in facts.classes}
    return dict(zip(facts.classes, split_by_share(n, facts.class_counts), strict=True))


def file_names(n: int, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """File and label of each image, class by class, numbered; `n` without a label if there are no classes."""
    if not counts:
        return [(f"{IMAGES}/{number:06d}.png", "") for number in range(n)]
    folders = _folder_names(list(counts))
    labels = [name for name, count in counts.items() for _ in range(count)]
    return [(f"{IMAGES}/{folders[name]}/{number:06d}.png", name) for number, name in enumerate(labels)]


def _folder_names(classes: Sequence[str]) -> dict[str, str]:
    """A folder name for each class: valid on every file system, all different."""
    plain = {name: re.sub(r'[<>:"/\\|?*\x00-\x1f]|^\.|[. ]$', "_", name) or "_" for name in classes}
    lowered = [folder.lower() for folder in plain.values()]
    return {
        name: folder if lowered.count(folder.lower()) == 1 else f"{folder}_{number}"
        for number, (name, folder) in enumerate(plain.items())
    }


def sample_images(model: pl.LightningModule, labels: Tensor, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Generate images (B, C, H, W) in 0..1, batch by batch, on the CPU.

    Args:
        model: has `sample`.
        labels: (N,) int64.
        seed: of the noise.
        device: where to compute.
    """
    model, generator = model.to(device).eval(), torch.Generator().manual_seed(seed)
    for part in torch.split(labels, _BATCH):
        yield model.sample(part, generator).cpu()  # type: ignore[operator]


def to_integers(images: Tensor, value_max: float) -> NDArray[Any]:
    """Convert images (B, C, H, W) in 0..1 to the integers of a file: (B, H, W), or (B, H, W, 3) for three channels.

    Args:
        images: of 1 or 3 channels.
        value_max: white in the generator's training images: 255, 65535, or 1 for floats.

    Returns:
        uint8; for grey images with more than 8 bits in training uint16, which PNG has for grey images only.

    Raises:
        InputError: for a number of channels that PNG does not have.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise InputError(
            f"run: its images have {channels} channels, and a PNG has 1 or 3: train a generator with data.channels=1 "
            "or 3."
        )
    kind = np.uint8 if channels == 3 or value_max == 255 else np.uint16
    whole = (images.double().clamp(0, 1) * np.iinfo(kind).max).round().numpy().astype(kind)
    return whole[:, 0] if channels == 1 else whole.transpose(0, 2, 3, 1)


def write_images(images: NDArray[Any], paths: Sequence[Path]) -> None:
    """Write one PNG per image."""
    for path in sorted({path.parent for path in paths}):
        path.mkdir(parents=True, exist_ok=True)
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)


def write_manifest(
    folder: Path,
    run: RunFolder,
    table: Sequence[tuple[str, str]],
    *,
    seed: int,
    counts: Mapping[str, int],
    image: Mapping[str, float],
) -> dict[str, Any]:
    """Write `manifest.csv`, then `manifest.json`, whose presence means that all images are written.

    Args:
        folder: of the images.
        run: of the generator, evaluated.
        table: file and label of each image.
        seed: of the noise.
        counts: images of each class; empty if there are no classes.
        image: `channels`, `height`, `width`, and `value_max`, white in the training images.

    Returns:
        Content of `manifest.json`.
    """
    pd.DataFrame(table, columns=["file", "label"]).to_csv(folder / LIST, index=False)
    split = load_run_split(run.path / SPLIT)
    with run.best.open("rb") as file:
        checkpoint = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    metrics = run.metrics
    manifest = {
        "schema": SCHEMA,
        "kind": KIND,
        "run": "/".join(run.path.resolve().parts[-2:]),
        "checkpoint": checkpoint.hexdigest(),
        "seed": seed,
        "n": len(table),
        "classes": list(counts),
        "counts": dict(counts),
        "split": split_hash(split),
        "image": dict(image),
        "extractor": metrics.get("extractor"),
        "scores": metrics["test"],
        "two_sample": metrics.get("two_sample"),
        "memorisation": metrics.get("memorisation"),
    }
    write_json(folder / MANIFEST, manifest)
    return manifest
