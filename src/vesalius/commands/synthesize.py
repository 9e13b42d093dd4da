"""`python -m vesalius.commands.synthesize DIR`: images of a run's generator, as a folder that is a source of data."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.launch.worker import enter
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
    """Write the images and what is to be known of them into the folder."""
    folder = RunFolder(path)
    try:
        _synthesize(folder)
    except InputError:
        folder.discard()
        raise


def _synthesize(folder: RunFolder) -> None:
    config, run = folder.config, RunFolder(folder.config["run"])
    checkpoint = load_checkpoint(run.best)
    model, facts = _generator(checkpoint, run), Facts.from_dict(checkpoint["facts"])
    counts = images_per_class(config["n"], config["label"], facts, conditional=bool(model.conditional))
    table = file_names(config["n"], counts)
    image = _write(folder.path, model, facts, table, config["seed"], inference_device(run.config["trainer"]))
    manifest = write_manifest(folder.path, run, table, seed=config["seed"], counts=counts, image=image)
    _say(folder.path, manifest)


def _generator(checkpoint: dict[str, Any], run: RunFolder) -> pl.LightningModule:
    """The model of a finished run, which must be one that makes images."""
    model = restore_model(checkpoint)
    if output_kind(model) != "samples":
        raise InputError(
            f"run={run.path}: its model, {type(model).__name__}, generates no images: name a run of a generator, such "
            "as one of `vesalius train model=gan`."
        )
    if not run.metrics.get("test"):
        raise InputError(f"run={run.path}: its images were never judged: let `vesalius train resume={run.path}` end.")
    return model


def _write(
    folder: Path,
    model: pl.LightningModule,
    facts: Facts,
    table: list[tuple[str, str]],
    seed: int,
    device: torch.device,
) -> dict[str, float]:
    """Make all images, of a few at a time, and say what the files are like."""
    names = {name: number for number, name in enumerate(facts.classes)}
    labels = torch.tensor([names.get(label, 0) for _, label in table])
    done = 0
    for images in show_progress(sample_images(model, labels, seed, device), len(table), "synthesize", size=len):
        _, channels, height, width = images.shape
        part = table[done : done + len(images)]
        write_images(to_integers(images, facts.value_max), [folder / file for file, _ in part])
        done += len(images)
    # A colour PNG has 8 bits a channel: of deeper integers they keep the upper ones.
    value_max = 255.0 if channels == 3 and facts.value_max > 255 else facts.value_max
    return {"channels": channels, "height": height, "width": width, "value_max": value_max}


def _say(folder: Path, manifest: dict[str, Any]) -> None:
    console = command_console()
    judged = {key: manifest[key] for key in ("extractor", "two_sample", "memorisation")}
    print_metrics({"test": manifest["scores"], **judged}, console)
    counts = ", ".join(f"{count} {name}" for name, count in manifest["counts"].items())
    lines = [
        f"Written to: {folder}",
        f"{manifest['n']} images{f' ({counts})' if counts else ', of no class'}",
        "To look at them as data, or to learn from them beside the generator's own training images:",
        f"  data=image_folder data.source.root={folder / IMAGES} data.image_size=null",
        f"  data.synthetic={folder}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(enter(synthesize, sys.argv[1:]))
