"""Memory against the number of 4-D volumes: decoding them, and an epoch that streams their series."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

SHAPE = (40, 40, 6, 16)  # voxels, slices, volumes: six series of 16 frames a file

EPOCH = """
import sys, types
from pathlib import Path
from vesalius.data.augment import Augment, Flip, Rotation
from vesalius.data.datamodules.sequence import SequenceData
from vesalius.data.sources.volumes.nifti import Nifti

def anonymous():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024

root, cache, what = sys.argv[1:]
source = Nifti(root, labels="labels.csv", target="ill", group="patient", unit="time_series")
augment = Augment({"flip": Flip(), "rotation": Rotation(10)})
data = SequenceData(source, augment=augment, batch_size=16, cache_dir=cache, memory_limit_gb=1e-9)
if what == "build":
    data.open_store(data.split_table())
    sys.exit(print(anonymous(), 0))
data.setup()
assert not data.store.in_memory
data.trainer = types.SimpleNamespace(training=True, current_epoch=0, global_rank=0, world_size=1)
most, seen = anonymous(), 0
for batch in data.train_dataloader():
    batch = data.on_after_batch_transfer(batch, 0)
    seen += len(batch["index"])
    most = max(most, anonymous())
print(most, seen)
"""


def write_volumes(folder: Path, files: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    voxels = random.integers(0, 1000, SHAPE).astype(np.int16)
    for number in range(files):
        voxels[0, 0] = number
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{number:05d}.nii")
    number = np.arange(files)
    labels = {"path": [f"{i:05d}.nii" for i in number], "patient": number // 2, "ill": number // 2 % 2}
    pd.DataFrame(labels).to_csv(folder / "labels.csv", index=False)


def memory(folder: Path, files: int) -> tuple[float, float]:
    """MiB at the end of decoding, and at most in an epoch."""
    write_volumes(folder / str(files), files)
    found = []
    for what in ("build", "train"):
        command = [sys.executable, "-c", EPOCH, str(folder / str(files)), str(folder / f"cache{files}"), what]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        anonymous, seen = map(float, done.stdout.split()[-2:])
        assert what == "build" or seen > 0.6 * files * SHAPE[2]
        found.append(anonymous)
    return found[0], found[1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.benchmark
def test_ten_times_as_many_volumes_take_the_same_memory(tmp_path, row):
    small, large = (memory(tmp_path, files) for files in (100, 1_000))
    for at, what in enumerate(("decoding", "a training epoch of")):
        row(
            f"memory of {what} {1_000 * SHAPE[2]:,} series of 4-D volumes",
            "MiB",
            [large[at]],
            [small[at]],
            against=f"{100 * SHAPE[2]} series",
            at_most=1.15,
        )
