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
CLIENTS, SECONDS, LOOP_SECONDS, SIDE = 64, 60, 10, 224
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
def test_the_server_keeps_up_with_a_loop(bundle, tmp_path, row):
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
    loop = [sys.executable, "-c", LOOP.format(side=SIDE, seconds=LOOP_SECONDS), str(bundle / "model.onnx")]
    memory = []
    try:
        before = float(subprocess.check_output(loop, env=environment))
        with subprocess.Popen(clients, stdout=subprocess.PIPE) as load:
            for _ in range(6):  # memory while the load lasts: nothing else is done
                time.sleep(SECONDS / 6)
                memory.append(anonymous_memory(int(worker)))
            found = json.loads(load.stdout.read())
        after = float(subprocess.check_output(loop, env=environment))
    finally:
        server.terminate()
        server.wait(timeout=30)
    statuses = found["statuses"]
    rate = len(found["seconds"]) / found["duration"]
    p50, p99 = np.percentile(found["seconds"], (50, 99))
    note = (
        f"{len(statuses)} requests, {sum(status != 200 for status in statuses)} errors; p50 {p50:.2f} s, "
        f"p99 {p99:.2f} s; memory every {SECONDS // 6} s: {', '.join(f'{size:.0f}' for size in memory)} MB"
    )
    what = f"{CLIENTS} clients of `vesalius serve` for {SECONDS} s, ResNet-18, {SIDE} px"
    served = row(
        what,
        "images/s",
        [rate] * 2,
        [before, after],
        against="ONNX Runtime in a loop, before and after",
        at_least=0.7,
        note=note,
    )
    assert set(statuses) == {200}
    assert served.met
    assert memory[-1] - memory[0] < 24
