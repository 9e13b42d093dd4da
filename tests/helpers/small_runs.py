"""The smallest run that still trains: its overrides, and a run of them in this process."""

from pathlib import Path

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.runs.run_folder import RunFolder

# Seconds on one core.
SMALL = [
    "data.source.patients=32",
    "data.source.slices=2",
    "data.source.image_size=28",
    "trainer=cpu",
    "logger=none",
    "evaluation.baselines=false",
]


def train_in(path: Path, overrides: list[str], config_dir: str | None = None) -> RunFolder:
    """Train in this process, in a folder that is created, and return the folder."""
    folder = RunFolder.create(path, load_config("train", overrides, config_dir), overrides)
    train(folder.path)
    return folder
