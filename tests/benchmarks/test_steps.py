"""Training steps against plain 32-bit code of the article, and against hand-written loops over the same nets."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from speed_rows import WITH_HELPERS, WITHOUT_BF16
from vesalius.training.trainer import best_precision

HERE = Path(__file__).parent
ARTICLE = {
    "cnn": ("ResNet-18 with a small stem, 64 images of 28 px", 8, 1.9),
    "lstm": ("ResNet-18 and LSTM, 4 series of 16 frames of 64 px", 8, 1.5),
    "vgg16": ("VGG16, 4 images of 224 px", 6, 1.9),
    "dcgan": ("DCGAN, 64 images of 32 px", 8, 1.5),
}
HAND_WRITTEN = {
    "resnet18": ("ResNet-18 with a small stem, 128 images of 28 px", 16, "wall", 1.05, True),
    "small": ("a step of about 1 ms, 16 images of 28 px", 20, "cpu", 1.5, False),
    "autoencoder": ("autoencoder, 32 images of 64 px", 12, "cpu", 1.05, False),
    "gan": ("DCGAN, 64 images of 32 px", 12, "cpu", 1.05, False),
}


def measure(script: str, *arguments: str, threads: int | None = None, **environment: str) -> dict[str, Any]:
    """What a process prints that has the machine's instructions, or fewer, to itself."""
    variables = {**os.environ, "WANDB_MODE": "offline", "FORCE_COLOR": "1"}  # a terminal, so a bar
    variables |= {**WITH_HELPERS, **environment}
    variables.pop("OMP_NUM_THREADS", None)
    if threads is not None:
        variables["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=variables)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.benchmark
@pytest.mark.parametrize("units", [True, False], ids=["bf16", "without units"])
@pytest.mark.parametrize("family", ARTICLE)
def test_a_step_against_the_plain_code_of_the_article(family, units, row):
    what, steps, with_units = ARTICLE[family]
    if units and not best_precision("cpu").startswith("bf16"):
        pytest.skip("this processor has no units for bf16")
    if units:
        found = measure("article_steps.py", family, str(steps))
    else:
        found = measure("article_steps.py", family, str(steps), "trainer.precision=32", **WITHOUT_BF16)
    row(
        f"step, {what}, {'bf16' if units else 'AVX2, fp32'}",
        "s",
        found["ours"],
        found["plain"],
        against="plain code in 32 bits",
        at_least=with_units if units else 1.0,
        limit=f"{statistics.median(found['plain']) / found['products']:.2f}: convolutions and matrix products only",
        note="" if units else "the memory format and fused optimisers are all there is to gain: see below.",
    )


@pytest.mark.benchmark
@pytest.mark.parametrize("case", HAND_WRITTEN)
def test_a_run_against_a_hand_written_loop(case, row):
    what, blocks, clock, most, by_interval = HAND_WRITTEN[case]
    found = measure("hand_written.py", case, str(blocks), threads=1 if clock == "cpu" else None)[clock]
    row(
        f"run with metrics, bar and loggers, {what}",
        "ms of CPU" if clock == "cpu" else "ms",
        *([1000 * seconds for seconds in found[who]] for who in ("ours", "plain")),
        against="hand-written loop without metrics, same net in 32 bits",
        at_most=most,
        by_interval=by_interval,
        limit="1: the same steps",
        note="what a step of Lightning costs: see below." if case == "small" else "",
    )
