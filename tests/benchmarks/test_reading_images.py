"""Images a second of the audit and of decoding into a store, against Pillow reading the same files.

`IMAGES=100000` in the environment takes as many, once: 3 to 10 minutes and 17 GB of disk.
"""

import os
import shutil
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.audit.audit import run_audit
from vesalius.data.audit.datamodule import AuditData
from vesalius.data.sources.image_folder import ImageFolder
from vesalius.data.store.store import Store

SIZE, STORED = 224, 64  # pixels
COUNT = int(os.environ.get("IMAGES", "8000"))
ROUNDS = 3 if COUNT < 20_000 else 1
GREY_NOISE = 4
#: From `time.process_time` around each part, of 8,000 images, where Pillow's loop takes 0.24 ms.
WHERE = (
    "of 0.50 ms of processor time per image, 0.46 go into the store (decoding and parting the channels 0.31, checksum "
    "and writing 0.07, the rest is Python between threads and what the system does), 0.02 into the hash of the files "
    "and 0.015 into equal images"
)
WHOLE = (
    "; the whole audit adds 0.15 ms for thumbnails and the search for near duplicates, 0.10 for grey values, and, "
    "however many images there are, 1.3 s for what the files reveal and 0.7 s for text in 200 images"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """JPEGs of two classes, colour as cameras and exports write them, of about 13 kB."""
    root, random = tmp_path_factory.mktemp("jpegs"), np.random.default_rng(0)
    noise = random.normal(0, GREY_NOISE, (16, SIZE, SIZE))
    for number in range(COUNT):
        folder = root / ("healthy" if number % 2 else "ill")
        folder.mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32)
        grey = Image.fromarray((smooth + noise[number % 16]).clip(0, 255).astype(np.uint8))
        grey.convert("RGB").save(folder / f"{number:06d}.jpg", quality=85)
    return sorted(root.glob("*/*.jpg"))


def decode(path: Path) -> int:
    with Image.open(path) as image:
        return np.asarray(image).size


def decode_and_resize(paths: list[Path]) -> int:
    size = 0
    for path in paths:
        with Image.open(path) as image:
            size += np.asarray(image.resize((STORED, STORED), Image.Resampling.BILINEAR)).size
    return size


def rate(work, *arguments) -> float:
    started = time.perf_counter()
    work(*arguments)
    return COUNT / (time.perf_counter() - started)


def busy_rate(work, *arguments) -> tuple[float, float]:
    """Images a second, and how many it would be if the same processor time kept every core busy all the time."""
    begun = time.process_time()
    found = rate(work, *arguments)
    return found, COUNT * os.cpu_count() / (time.process_time() - begun)


def limit(busy: list[float], theirs: list[float]) -> str:
    ratio = statistics.median(ours / rates for ours, rates in zip(busy, theirs, strict=True))
    return f"{ratio:.2f}: the same work on {os.cpu_count()} cores that are always busy"


def audit(root: Path, cache: Path, full: bool) -> None:
    data = AuditData(ImageFolder(str(root)), cache_dir=str(cache))
    data.setup()
    result = run_audit(data.audit_input, [], full=full)
    assert result.report["samples"] == COUNT
    assert data.store.shape == (3, SIZE, SIZE)
    found = {finding["check"]: finding["count"] for finding in result.report["findings"]}
    print(f"\nfound: {found}; checked: {', '.join(result.report['checked'])}")


@pytest.mark.benchmark
@pytest.mark.parametrize("full", [False, True], ids=["quick", "whole"])
def test_an_audit_keeps_up_with_decoding(files, tmp_path, row, full):
    ours, theirs = [], []
    for number in range(ROUNDS):
        theirs.append(rate(lambda: [decode(path) for path in files]))
        ours.append(busy_rate(audit, files[0].parents[1], tmp_path / str(number), full))
        shutil.rmtree(tmp_path / str(number))
    what = "whole audit" if full else "quick audit"
    rates, busy = map(list, zip(*ours, strict=True))
    row(
        f"{what} of {COUNT:,} JPEGs of {SIZE} px, nothing decoded before",
        "images/s",
        rates,
        theirs,
        against="a loop of `Image.open` and `numpy.asarray`",
        at_least=0.8,
        limit=limit(busy, theirs),
        note=WHERE + (WHOLE if full else ""),
    )


@pytest.mark.benchmark
def test_a_store_is_built_as_fast_as_two_processes_decode(files, tmp_path, row):
    ours, theirs, parts = [], [], [files[0::2], files[1::2]]
    source = ImageFolder(str(files[0].parents[1]))
    table = source.samples()
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(decode, files[:64]))  # the processes have started
        for number in range(ROUNDS):
            theirs.append(rate(lambda: list(pool.map(decode_and_resize, parts))))
            build = {"image_size": STORED, "cache_dir": tmp_path / str(number)}
            ours.append(busy_rate(lambda options: Store.open(source, table, **options), build))
    rates, busy = map(list, zip(*ours, strict=True))
    row(
        f"store of {COUNT:,} JPEGs of {SIZE} px at {STORED} px",
        "images/s",
        rates,
        theirs,
        against="Pillow, decode and resize in two processes",
        at_least=0.9,
        limit=limit(busy, theirs),
        note="processor time: 0.50 ms per image, where Pillow takes 0.42: decoding (0.23) and resizing (0.16) "
        "are the same, as pixels are resized before they leave the decoder; the hash of the files takes 0.02, checksum "
        "and writing 0.03, and Python, in one thread at a time, most of the rest",
    )
