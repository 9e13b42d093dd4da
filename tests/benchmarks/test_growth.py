"""How time and memory grow with images, their size, length, classes and runs: exponents, and the figure of the docs.

An exponent is the slope of a line through the logarithms: 1 is linear, 2 quadratic, n log n about 1.1 here.
Time is that of the processor, the median of three rounds over all sizes; memory is the most that was resident beyond
what was before.
"""

import ctypes
import gc
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from grown_data import multilabel_predictions, write_sweep
from speed_rows import machine
from vesalius.commands.report import write_report
from vesalius.data.audit.audit import run_audit
from vesalius.data.audit.datamodule import AuditData
from vesalius.data.audit.nearest import NearestVectors
from vesalius.data.audit.similar_images import CANDIDATE
from vesalius.data.sources.base import Source
from vesalius.data.store.store import Store
from vesalius.metrics.classification.metrics import classification_metrics

#: n log n between 10,000 and 100,000, and a little for what the clock misses.
AT_MOST = 1.2
#: MiB; what is below cannot be told from what an allocator keeps.
LEAST_MEMORY = 16
ROUNDS = 3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Noise(Source):
    """Images or series of noise, each with a patient of its own."""

    task, classes = "binary", ("healthy", "ill")

    def __init__(self, count: int, side: int, frames: int | None = None) -> None:
        self.series = frames is not None
        self.shape = (1, side, side) if frames is None else (frames, 1, side, side)
        self.count = count

    def samples(self) -> pd.DataFrame:
        names = [f"{number:06d}" for number in range(self.count)]
        return pd.DataFrame({"sample_id": names, "group_id": names, "target": np.arange(self.count) % 2})

    def load(self, row):
        return np.random.default_rng(int(row["sample_id"])).integers(0, 256, self.shape, dtype=np.uint8)

    def fingerprint(self) -> str:
        return f"{self.count} of {self.shape}"


def audit(images: int, folder: Path) -> Callable[[], object]:
    data = AuditData(Noise(images, 48), cache_dir=str(folder))
    data.setup()
    return lambda: run_audit(data.audit_input, [], full=True)


def near_duplicates(images: int, folder: Path) -> Callable[[], object]:
    vectors = np.random.default_rng(0).normal(size=(images, 256)) * np.arange(1, 257) ** -0.7
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = np.arange(images)
    train, test = rows[: 3 * images // 4], rows[3 * images // 4 :]

    def search() -> None:
        nearest = NearestVectors(vectors, train, rows)
        nearest.search(test, 8, CANDIDATE)

    return search


def metrics(samples: int, labels: int) -> Callable[[], object]:
    table = multilabel_predictions(samples, labels)
    return lambda: classification_metrics(table, task="multilabel", classes=[str(k) for k in range(labels)])


def store(source: Source, folder: Path) -> Callable[[], object]:
    table = source.samples()
    return lambda: Store.open(source, table, cache_dir=folder)


def report(runs: int, folder: Path) -> Callable[[], object]:
    write_sweep(folder, runs)
    return lambda: write_report(folder, images=True, console=Console(file=io.StringIO()))


@dataclass(frozen=True)
class Case:
    """Something that grows.

    Attributes:
        what: is done.
        by: what grows.
        sizes: of it.
        prepare: gives the work of a size, and a folder for it.
        why: it may be more than that of n log n.
    """

    what: str
    by: str
    sizes: tuple[int, ...]
    prepare: Callable[[int, Path], Callable[[], object]]
    why: str = ""


CASES = [
    Case("whole audit", "images", (2_500, 5_000, 10_000), audit, "up to 20,000 earlier images, all are compared"),
    Case("near duplicates", "images", (30_000, 60_000, 120_000), near_duplicates),
    Case("metrics", "test samples", (10_000, 20_000, 40_000), lambda size, _: metrics(size, 4)),
    Case("metrics", "classes", (4, 8, 16), lambda size, _: metrics(5_000, size)),
    Case("store", "images", (2_000, 4_000, 8_000), lambda size, folder: store(Noise(size, 64), folder)),
    Case("store", "pixels", (64**2, 128**2, 256**2), lambda size, folder: store(Noise(500, int(size**0.5)), folder)),
    Case("store", "frames", (16, 32, 64), lambda size, folder: store(Noise(200, 48, size), folder)),
    Case("report", "runs", (10, 20, 40), report),
]


def resident(name: str) -> float:
    """MiB: `VmRSS` now, or `VmHWM` at most since the last reset."""
    status = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(status[name].split()[0]) / 1024


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds, and MiB at most."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be taken again unseen
    _CLEAR.write_text("5")
    before, started = resident("VmRSS"), time.process_time()
    work()
    return time.process_time() - started, max(resident("VmHWM") - before, 1.0)


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


@pytest.mark.skipif(not _CLEAR.exists(), reason="needs /proc")
@pytest.mark.benchmark
def test_nothing_grows_much_faster_than_its_data(tmp_path, row, request):
    found = {}
    for number, case in enumerate(CASES):
        case.prepare(case.sizes[0] // 2, tmp_path / f"{number}-first")()  # imports
        rounds = [
            [measure(case.prepare(size, tmp_path / f"{number}-{turn}-{size}")) for size in case.sizes]
            for turn in range(ROUNDS)
        ]
        seconds, memory = np.median(rounds, axis=0)[:, 0].tolist(), np.max(rounds, axis=0)[:, 1].tolist()
        found[case] = list(zip(seconds, memory, strict=True))
        row(
            f"{case.what}: exponent of its time by {case.by}, {case.sizes[0]:,} to {case.sizes[-1]:,}",
            "",
            [exponent(case.sizes, seconds)],
            at_most=AT_MOST,
            note=f"{seconds[0]:.2g} to {seconds[-1]:.2g} s of processor time; {grown_memory(case, memory)}"
            + (f"; {case.why}" if case.why else ""),
        )
    if (page := request.config.getoption("speed_page")) is not None:
        draw(found, page.parent / "growth.png")


def grown_memory(case: Case, memory: list[float]) -> str:
    if memory[-1] < LEAST_MEMORY:
        return f"memory below {LEAST_MEMORY} MiB throughout"
    return f"memory {memory[0]:.0f} to {memory[-1]:.0f} MiB, exponent {exponent(case.sizes, memory):.2f}"


def draw(found: dict[Case, list[tuple[float, float]]], path: Path) -> None:
    """Time and memory against size, both as multiples of the first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, title, at in zip(figure.subplots(1, 2), ("processor time", "memory"), (0, 1), strict=True):
        for case, measured in found.items():
            sizes, values = np.array(case.sizes) / case.sizes[0], np.array(measured)[:, at]
            if title == "memory" and values[-1] < LEAST_MEMORY:
                continue
            name = f"{case.what} by {case.by}: {exponent(case.sizes, values):.2f}"
            axes.plot(sizes, values / values[0], marker="o", markersize=3, label=name)
        ends = np.array([1, 8])
        axes.plot(ends, ends, color="0.6", linestyle="--", label="n")
        axes.plot(ends, ends**2, color="0.6", linestyle=":", label="n²")
        axes.set(xscale="log", yscale="log", ylim=(0.7, 30))
        axes.set(xlabel="times as much data", ylabel=f"times as much {title}")
        axes.legend(fontsize=7, title="exponents", title_fontsize=7)
    about = machine()
    figure.suptitle(f"{about['date']}, {about['cpu']}", fontsize=8)  # those of the table that the same run writes
    figure.savefig(path, dpi=110, metadata={"Software": None})
