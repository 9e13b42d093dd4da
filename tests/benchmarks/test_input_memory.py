"""Memory against the number of samples: an epoch that streams from disk takes no more for ten times as many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vesalius.data.store.build import IMAGES_FILE

SIZE = 64  # pixels
BATCH = 128

EPOCH = """
import sys, types
from pathlib import Path
import numpy as np, pandas as pd, torch
from vesalius.data.augment import Augment, Flip, Rotation
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.sources.base import Source

count, size, batch, cache, what = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]

class Made(Source):
    task, classes = "binary", ("healthy", "ill")

    def samples(self):
        number = np.arange(count)
        names = [f"patient{i // 4:06d}/image{i:06d}.png" for i in number]
        groups = [f"patient{i // 4:06d}" for i in number]
        return pd.DataFrame({"sample_id": names, "group_id": groups, "split": None, "target": number // 4 % 2})

    def load(self, row):
        return np.full((1, size, size), int(row["sample_id"][-8:-4]) % 256, dtype=np.uint8)

    def fingerprint(self):
        return f"{count} images of {size} pixels"

def anonymous():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024

augment = Augment({"flip": Flip(), "rotation": Rotation(10)})
data = ClassificationData(Made(), augment=augment, batch_size=batch, cache_dir=cache, memory_limit_gb=1e-9)
if what == "build":
    table = data.split_table()
    data.open_store(table)
    sys.exit()
data.setup()
assert not data.store.in_memory
data.trainer = types.SimpleNamespace(training=True, current_epoch=0, global_rank=0, world_size=1)
most, seen = anonymous(), 0
for number, batch in enumerate(data.train_dataloader()):
    batch = data.on_after_batch_transfer(batch, 0)
    seen += len(batch["index"])
    if number % 20 == 0:
        most = max(most, anonymous())
print(seen, max(most, anonymous()))
"""


def epoch(count: int, cache: Path) -> tuple[int, float]:
    """Images of a training epoch, and the most anonymous memory it took, in MiB; the store is built beforehand."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for what in ("build", "train"):
        command = [sys.executable, "-c", EPOCH, str(count), str(SIZE), str(BATCH), str(cache), what]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        assert done.returncode == 0, done.stderr
    seen, memory = done.stdout.split()
    return int(seen), float(memory)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.benchmark
def test_ten_times_as_many_images_take_the_same_memory(tmp_path, row):
    memory = {}
    for count in (20_000, 200_000):
        seen, memory[count] = epoch(count, tmp_path / str(count))
        (images,) = (tmp_path / str(count)).glob(f"*/{IMAGES_FILE}")
        assert seen > 0.6 * count
        assert images.stat().st_size == count * SIZE * SIZE
    small, large = memory.values()
    what = f"memory of an epoch over 200,000 streamed images of {SIZE} px (RssAnon)"
    row(what, "MiB", [large], [small], against="over 20,000", at_most=1.15)
