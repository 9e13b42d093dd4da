"""From a command to the first step of the optimiser, and from the end of a sweep's job to the next one's first step."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from speed_rows import WITH_HELPERS

HELPERS = Path(__file__).parents[1] / "helpers"
ROUNDS, SWEEPS = 7, 3
#: Jobs of a sweep, and of them those that run before it is stopped.
JOBS, TIMED = 50, 8
PATIENCE = 120  # seconds
TARGET = "+callbacks.first._target_=first_step.FirstStep"
ENVIRONMENT = {**WITH_HELPERS, "COLUMNS": "200"}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A file of 80 images of 28 pixels, split."""
    random, path, arrays = np.random.default_rng(0), tmp_path_factory.mktemp("images") / "images.npz", {}
    for split, number in {"train": 48, "val": 16, "test": 16}.items():
        arrays[f"{split}_images"] = random.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(number) % 2
    np.savez(path, **arrays)
    return path


def options(images: Path, folder: Path) -> list[str]:
    return ["data=npz", f"data.source.file={images}", f"data.cache_dir={folder / 'cache'}", "trainer=cpu"]


def run(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True)


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return own | ENVIRONMENT


def first_step(folder: Path) -> float:
    return float(json.loads((folder / "first_step.json").read_text())["time"])


def import_lightning(place: Path) -> float:
    """Seconds of what no training by Lightning can do without; torchmetrics and torchvision are part of it."""
    begun = time.time()
    imported = run([sys.executable, "-c", "import time, pytorch_lightning; print(time.time())"], place)
    return float(imported.stdout) - begun


#: Where the time goes, in seconds of the processor.
NOTE = (
    "of 3.1 s of the processor the script has the same: torch .9, torchmetrics and what it pulls (torchvision, "
    "torch._dynamo, scipy.signal, matplotlib) 1.7, Lightning .1; own are pandas .1, config, data and model .2. The "
    "config is composed meanwhile, on the other core."
)


@pytest.mark.benchmark
def test_a_run_reaches_its_first_step_before_a_script_does(images: Path, tmp_path: Path, row) -> None:
    ours = [sys.executable, "-m", "vesalius.cli", "train", *options(images, tmp_path), "model=resnet18", TARGET]
    ours += ["data.batch_size=16", f"hydra.run.dir={tmp_path / 'run'}"]
    commands = {
        "script": [sys.executable, str(HELPERS / "first_step_by_hand.py"), str(images), str(tmp_path / "run")],
        "none": [*ours, "logger=none"],
        "wandb": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            (tmp_path / "run").mkdir()
            begun = time.time()
            ended = run(command, tmp_path)
            assert (tmp_path / "run" / "first_step.json").is_file(), ended.stderr
            if number:  # the first round writes byte code
                seconds[name].append(first_step(tmp_path / "run") - begun)
    least = statistics.median(import_lightning(tmp_path) for _ in range(3)) / statistics.median(seconds["script"])
    against = "a script with pytorch_lightning, torchvision and torchmetrics, one step of the same net"
    for what, name in (("no logger", "none"), ("W&B", "wandb")):
        row(
            f"process start to first step, {what}",
            "s",
            seconds[name],
            seconds["script"],
            against=against,
            at_most=0.8,
            note=NOTE,
            limit=f"{least:.2f}: `import pytorch_lightning` and nothing else",
        )


@pytest.mark.benchmark
def test_a_sweep_costs_little_more_than_its_work(images: Path, tmp_path: Path, row) -> None:
    """The work is that of the same trainings in one process that has imported everything already."""
    given = [*options(images, tmp_path), "logger=none", "trainer.max_epochs=20"]
    waits, totals, work = [], [], []
    for number in range(SWEEPS):
        sweep = tmp_path / f"sweep{number}"
        begun = time.time()
        run_first_jobs([f"seed=range({JOBS})", *given, f"hydra.sweep.dir={sweep}"], sweep, tmp_path)
        ends = [(sweep / str(job) / "hashes.json").stat().st_mtime for job in range(TIMED)]
        waits += [first_step(sweep / str(job)) - ends[job - 1] for job in range(1, TIMED)]
        totals.append(ends[0] - begun + (JOBS - 1) * (ends[-1] - ends[0]) / (TIMED - 1))
        script = [sys.executable, str(HELPERS / "trainings_in_one_process.py"), str(tmp_path / f"work{number}")]
        alone = run([*script, str(TIMED), *given], tmp_path)
        assert alone.returncode == 0, alone.stderr
        lines = [line for line in alone.stderr.splitlines() if line.startswith("seconds ")]
        work.append(JOBS * statistics.mean(float(line.split()[1]) for line in lines))
    row("end of a sweep's job to the next one's first step", "s", waits, at_most=1.0)
    row(
        f"a sweep of {JOBS} jobs of {statistics.median(work) / JOBS:.1f} s, computed from its start and {TIMED} jobs",
        "s",
        totals,
        work,
        against="the same trainings in one process after its imports",
        at_most=1.3,
    )


def run_first_jobs(overrides: list[str], folder: Path, place: Path) -> None:
    """Run a sweep and stop it once `TIMED` of its jobs have ended: all configs have been checked before the first."""
    command = [sys.executable, "-m", "vesalius.cli", "train", "-m", *overrides, TARGET, "+callbacks.first.ends=false"]
    deadline = time.monotonic() + PATIENCE
    with (place / "console.log").open("w+") as console:
        process = subprocess.Popen(command, cwd=place, env=environment(), stdout=console, stderr=console)
        try:
            while not (folder / str(TIMED - 1) / "hashes.json").is_file():
                assert process.poll() is None, (place / "console.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
