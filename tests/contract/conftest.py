"""Small data sets in every shape that a shipped config asks for, made once."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from dicom_maker import write_cohort
from small_runs import train_in
from vesalius.runs.run_folder import RunFolder
from video_maker import write_clip


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
    volumes = {}
    for split in ("train", "val", "test"):
        volumes[f"{split}_images"] = 255 * random.integers(0, 2, (16, 28, 28, 28), dtype=np.uint8)
        volumes[f"{split}_labels"] = (np.arange(16) % 2).astype(np.uint8)[:, None]
    np.savez_compressed(root / "adrenalmnist3d.npz", **volumes)
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
def manifest(image_root: Path) -> Path:
    """A table that lists the images of `image_root`."""
    lines = ["file,finding,patient"]
    for path in sorted(image_root.glob("*/*/*.png")):
        lines.append(f"{path.relative_to(image_root)},{path.parent.name},{path.stem.rpartition('_')[0]}")
    (image_root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return image_root / "manifest.csv"


@pytest.fixture(scope="session")
def series_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series in three forms: `clips/class/*.avi`, `frames/class/clip/*.png`, `volumes/*.nii` with `fmri/bold.nii`."""
    root, random = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    (root / "volumes").mkdir()
    rows = ["path,finding,patient"]
    for number in range(24):
        name = ("falls", "rises")[number % 2]
        levels = np.linspace(40, 160, 5)[:: 1 if number % 2 else -1]
        frames = [(random.integers(0, 60, (20, 20)) + level).astype(np.uint8) for level in levels]
        write_clip(root / "clips" / name / f"clip{number}.avi", frames)
        for position, frame in enumerate(frames):
            path = root / "frames" / name / f"clip{number}" / f"{position}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(path)
        nibabel.save(nibabel.Nifti1Image(np.stack(frames, axis=2), np.eye(4)), root / "volumes" / f"{number}.nii")
        rows.append(f"{number}.nii,{name},p{number}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    _write_fmri(root / "fmri", random)
    return root


def _write_fmri(root: Path, random: np.random.Generator) -> None:
    """As `haxby2001`: one 4-D file, a mask, a table of blocks; 6 runs of 121 volumes, two classes."""
    root.mkdir()
    volumes = random.integers(0, 1000, (6, 5, 1, 6 * 121)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), root / "bold.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((6, 5, 1), np.uint8), np.eye(4)), root / "mask.nii.gz")
    rows = ["chunk\tlabel\tt_first\tt_last"]
    for run in range(6):
        for block in range(4):
            first = run * 121 + 10 + 25 * block
            rows.append(f"{run}\t{('face', 'house')[block % 2]}\t{first}\t{first + 8}")
    (root / "blocks.tsv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="session")
def dicom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`files/` and `labels.csv` of a small study."""
    return write_cohort(tmp_path_factory.mktemp("dicom"), patients=20).parent


@pytest.fixture(scope="session")
def data_overrides(
    medmnist_root: Path, image_root: Path, manifest: Path, series_root: Path, dicom_root: Path
) -> dict[str, list[str]]:
    """What each data option needs to become small and complete."""
    return {
        "lesions": ["data.source.patients=32", "data.source.slices=2"],
        "medmnist": ["data.source.name=breastmnist", f"data.source.root={medmnist_root}", "data.source.verify=false"],
        "image_folder": [f"data.source.root={image_root}"],
        "table": [
            f"data.source.manifest={manifest}",
            "data.source.path=file",
            "data.source.target=finding",
            "data.source.group=patient",
        ],
        "dicom": [
            f"data.source.root={dicom_root / 'files'}",
            f"data.source.labels={dicom_root / 'labels.csv'}",
            "data.source.target=finding",
        ],
        "nifti": [
            f"data.source.root={series_root / 'volumes'}",
            f"data.source.labels={series_root / 'labels.csv'}",
            "data.source.target=finding",
            "data.source.group=patient",
        ],
        "video": [f"data.source.root={series_root / 'clips'}"],
        "frame_folder": [f"data.source.root={series_root / 'frames'}"],
        "npz": [f"data.source.file={medmnist_root / 'breastmnist.npz'}"],
        "adrenal": [f"data.source.root={medmnist_root}", "data.source.verify=false"],
        "haxby": [f"data.source.root={series_root / 'fmri'}"],
        "perfusion": ["data.source.patients=48"],
    }


@pytest.fixture
def run_training(tmp_path: Path) -> Callable[..., RunFolder]:
    """Train in this process, in a folder of the test's own, and return the folder."""

    def run(overrides: list[str], name: str = "run", config_dir: str | None = None) -> RunFolder:
        return train_in(tmp_path / name, overrides, config_dir)

    return run
