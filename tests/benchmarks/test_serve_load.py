"""A served ResNet-18 under 64 clients, next to ONNX Runtime in a loop on the same arrays."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from small_runs import SMALL, train_in
from vesalius.deploy.bundle.export import export_run

HELPERS = Path(__file__).parents[1] / "helpers"
CLIENTS, ROUNDS, SECONDS, SIDE = 64, 3, 20, 224
LOOP = """
import sys, time
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
image = np.random.default_rng(0).integers(0, 256, (1, 1, {side}, {side}), dtype=np.uint8)
count, begun = 0, time.monotonic()
while time.monotonic() - begun < {seconds}:
    session.run(None, {{"image": image}})
    count += 1
print(count / (time.monotonic() - begun))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resnet18")
    overrides = [*SMALL, "model=resnet18", "model.net.weights=null", f"data.source.image_size={SIDE}"]
    run = train_in(folder / "run", [*overrides, "data.steps_per_epoch=1", "trainer.max_epochs=1"])
    export_run(run.path, folder / "bundle")
    return folder / "bundle"


def anonymous_memory(pid: int) -> float:
    """MB of its own that a process holds."""
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


@pytest.mark.benchmark
def test_the_server_keeps_up_with_a_loop(bundle, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [
        sys.executable,
        "-m",
        "vesalius.cli",
        "serve",
        f"bundle={bundle}",
        "port=0",
        f"hydra.run.dir={tmp_path}/own",
    ]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    port = re.search(r":(\d+)/", server.stdout.readline())[1]
    (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    clients = [sys.executable, str(HELPERS / "load_clients.py"), port, str(CLIENTS), str(SECONDS), str(SIDE), str(SIDE)]
    loops, served, seconds, statuses, memory = [], [], [], [], []
    loop = [sys.executable, "-c", LOOP.format(side=SIDE, seconds=SECONDS // 2), str(bundle / "model.onnx")]
    try:
        for _ in range(ROUNDS):  # in turn, for the machine may have other work
            loops.append(float(subprocess.check_output(loop, env=environment)))
            found = json.loads(subprocess.check_output(clients))
            served.append(len(found["seconds"]) / found["duration"])
            seconds += found["seconds"]
            statuses += found["statuses"]
            memory.append(anonymous_memory(int(worker)))
        loops.append(float(subprocess.check_output(loop, env=environment)))
    finally:
        server.terminate()
        server.wait(timeout=30)
    ratios = [rate / ((before + after) / 2) for rate, before, after in zip(served, loops[:-1], loops[1:], strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    p50, p99 = np.percentile(seconds, (50, 99))
    print(f"\n{machine}; ResNet-18, {SIDE} px, uint8 arrays; {time.strftime('%F')}")
    print(f"ONNX Runtime in a loop: {', '.join(f'{rate:.1f}' for rate in loops)} images a second")
    print(f"{CLIENTS} clients, {ROUNDS} x {SECONDS} s: {', '.join(f'{rate:.1f}' for rate in served)} images a second")
    print(f"ratio {np.mean(ratios):.2f} ({each}); p50 {p50:.2f} s, p99 {p99:.2f} s")
    print(f"{len(statuses)} requests, {sum(status != 200 for status in statuses)} errors")
    print(f"memory after each round: {', '.join(f'{size:.0f} MB' for size in memory)}")
    assert set(statuses) == {200}
    assert np.mean(ratios) >= 0.7
    assert memory[-1] - memory[0] < 24
