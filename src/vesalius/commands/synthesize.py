"""`python -m vesalius.commands.synthesize DIR`: images of a run's generator, as a folder that is a data source."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.launch.worker import enter, leave
from vesalius.models.family import output_kind
from vesalius.runs.run_folder import RunFolder
from vesalius.studies.synthetic.export import (
    IMAGES,
    file_names,
    images_per_class,
    sample_images,
    to_integers,
    write_images,
    write_manifest,
)
from vesalius.terminal import command_console, show_progress
from vesalius.training.checkpoints import load_checkpoint, restore_model


def synthesize(path: Path) -> None:
    """Write the images and their manifest into the folder."""
    with RunFolder(path).discard_if_refused() as folder:
        _synthesize(folder)


def _synthesize(folder: RunFolder) -> None:
    config, run = folder.config, RunFolder(folder.config["run"])
    checkpoint = load_checkpoint(run.best)
    model, facts = _generator(checkpoint, run), Facts.from_dict(checkpoint["facts"])
    counts = images_per_class(config["n"], config["label"], facts, conditional=bool(model.conditional))
    table = file_names(config["n"], counts)
    image = _write(folder.path, model, facts, table, config["seed"], inference_device(run.config["trainer"]))
    manifest = write_manifest(folder.path, run, table, seed=config["seed"], counts=counts, image=image)
    _print(folder.path, manifest)


def _generator(checkpoint: dict[str, Any], run: RunFolder) -> pl.LightningModule:
    """The model of a finished run, which must be a generator."""
    model = restore_model(checkpoint)
    if output_kind(model) != "samples":
        raise InputError(
            f"run={run.path}: its model, {type(model).__name__}, generates no images: name a run of a generator, such "
            "as one of `vesalius train model=gan`."
        )
    if not run.metrics.get("test"):
        raise InputError(f"run={run.path}: it was never evaluated: finish it with `vesalius train resume={run.path}`.")
    return model


def _write(
    folder: Path,
    model: pl.LightningModule,
    facts: Facts,
    table: list[tuple[str, str]],
    seed: int,
    device: torch.device,
) -> dict[str, float]:
    """Generate and write all images, a few at a time; returns size, channels and largest value of the files."""
    names = {name: number for number, name in enumerate(facts.classes)}
    labels = torch.tensor([names.get(label, 0) for _, label in table])
    done = 0
    for images in show_progress(sample_images(model, labels, seed, device), len(table), "synthesize", size=len):
        _, channels, height, width = images.shape
        part = table[done : done + len(images)]
        write_images(to_integers(images, facts.value_max), [folder / file for file, _ in part])
        done += len(images)
    # A colour PNG has 8 bits per channel: of deeper integers the upper ones are kept.
    value_max = 255.0 if channels == 3 and facts.value_max > 255 else facts.value_max
    return {"channels": channels, "height": height, "width": width, "value_max": value_max}


def _print(folder: Path, manifest: dict[str, Any]) -> None:
    console = command_console()
    analyses = {key: manifest[key] for key in ("extractor", "two_sample", "memorisation")}
    print_metrics({"test": manifest["scores"], **analyses}, console)
    counts = ", ".join(f"{count} {name}" for name, count in manifest["counts"].items())
    lines = [
        f"Written to: {folder}",
        f"{manifest['n']} images{f' ({counts})' if counts else ', of no class'}",
        "To read them as data, or to train on them together with the generator's own training images:",
        f"  data=image_folder data.source.root={folder / IMAGES} data.image_size=null",
        f"  data.synthetic={folder}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    leave(enter(synthesize, sys.argv[1:]))
