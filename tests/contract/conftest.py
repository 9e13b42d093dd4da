"""Small data sets in every shape that a shipped config asks for, made once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.runs.folder import RunFolder


@pytest.fixture(scope="session")
def medmnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny `breastmnist.npz` in which brightness tells the class."""
    root, random = tmp_path_factory.mktemp("medmnist"), np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 48), ("val", 24), ("test", 24)):
        labels = np.arange(size) % 2
        noise = random.integers(0, 120, (size, 28, 28))
        arrays[f"{split}_images"] = (noise + 60 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez_compressed(root / "breastmnist.npz", **arrays)
    return root


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of RGB images of different sizes, two a patient, with an index table."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    lines = ["file\tsource_image"]
    for split, patients in (("train", 8), ("val", 4), ("test", 4)):
        for label, name in enumerate(("a", "b", "c")):
            (root / split / name).mkdir(parents=True)
            for number in range(2 * patients):
                size = tuple(int(side) for side in random.integers(20, 40, 2))
                pixels = random.integers(0, 100, (*size, 3)) + 50 * label
                path = root / split / name / f"{split}{name}{number // 2}_{number % 2}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
                lines.append(f"{path.relative_to(root)}\t{split}{name}{number // 2}")
    (root / "crops_index.tsv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def data_overrides(medmnist_root: Path, image_root: Path) -> dict[str, list[str]]:
    """What each data option needs to become small and complete."""
    return {
        "lesions": ["data.source.patients=32", "data.source.slices=2"],
        "medmnist": ["data.source.name=breastmnist", f"data.source.root={medmnist_root}", "data.source.verify=false"],
        "image_folder": [f"data.source.root={image_root}"],
    }


@pytest.fixture
def run_training(tmp_path: Path) -> Callable[..., RunFolder]:
    """Train in this process, in a folder of the test's own, and return the folder."""

    def run(overrides: list[str], name: str = "run", config_dir: str | None = None) -> RunFolder:
        folder = RunFolder.create(tmp_path / name, load_config("train", overrides, config_dir), overrides)
        train(folder.path)
        return folder

    return run
