"""Trainings of all families on one GPU, as a user starts them: compiled, killed and resumed, in several processes.

Each command is a process of its own, so that an error of CUDA ends only its own test. On the CPU nothing is compiled,
which takes half a minute for each family (`tests/training/test_trainer.py` does so).
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from bit_equality import differences
from gpu_table import record
from speed_rows import Row
from store_runs import FAMILIES

HELPERS = Path(__file__).parents[1] / "helpers"
KILLER = ["+callbacks.killer._target_=killer.Killer", "callbacks.last.every_n_steps=1"]
COMMON = ["logger=none", *(f"evaluation.{part}=false" for part in ("baselines", "evidence", "probes"))]
TINY = [*COMMON, "trainer.max_epochs=2"]
#: At the sizes of the shipped experiments.
FULL = {
    "cnn": ["experiment=lesions_cnn"],
    "lstm": ["experiment=perfusion_lstm"],
    "autoencoder": ["experiment=lesions_autoencoder"],
    "gan": ["experiment=lesions_gan"],
}
#: The encoder that an autoencoder has by default keeps a grid of places.
KILLED = {**FAMILIES, "autoencoder": [one for one in FAMILIES["autoencoder"] if "small_resnet" not in one]}
Train = Callable[..., Path]


@pytest.fixture
def train(fresh_vesalius_in, warm_vesalius_in, device, tmp_path, monkeypatch) -> Train:
    """Train in a folder of this name; `kill` ends the process as `killer` describes."""
    vesalius = fresh_vesalius_in if device == "cuda" else warm_vesalius_in
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "4")  # several tests compile at a time

    def run(name: str, *overrides: str, kill: str = "") -> Path:
        monkeypatch.setenv("KILL", kill)
        done = vesalius(tmp_path, "train", *overrides, f"hydra.run.dir={name}", timeout=150)
        assert (done.returncode == 0) == (not kill), done.stdout + done.stderr
        return tmp_path / name

    return run


def on(device: str) -> str:
    return "trainer=gpu" if device == "cuda" else "trainer=cpu"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_trains_in_bf16_compiled(family, device, train):
    large = [*FULL[family], "data.source.patients=300", "trainer.compile=true"]
    sizes = [*COMMON, "trainer.max_epochs=3", *large] if device == "cuda" else [*TINY, *FAMILIES[family]]
    run = train("run", *sizes, on(device), "trainer.precision=bf16")
    history = pd.read_csv(run / "history.csv")
    metrics = json.loads((run / "metrics.json").read_text())
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in weights if "_orig_mod" in name]
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    assert math.isfinite(metrics["monitor"]["best"])
    seconds = history["seconds"].tolist()
    note = f"the first epoch took {seconds[0]:.1f} s, with compiling; other trainings ran on the same GPU"
    record(Row(f"{family}: an epoch in bf16, compiled", "s", seconds[1:], at_most=30, note=note))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_killed_run_goes_on_to_the_same_bits(family, device, train):
    options = [*TINY, *KILLED[family], *KILLER, on(device), "trainer.deterministic=true"]
    whole = train("whole", *options)
    killed = train("killed", *options, kill="batch:4")
    train("killed", "resume=killed")
    found = differences(whole, killed)
    record(differing(f"{family}: killed and resumed", found))
    assert found == []


def test_images_held_on_the_gpu_train_to_the_same_bits(device, train):
    options = [*TINY, *FAMILIES["cnn"], "data/augment=standard", on(device), "trainer.deterministic=true"]
    held, copied = train("held", *options), train("copied", *options, "data.device_limit_gb=0")
    found = differences(held, copied)
    record(differing("images held on the GPU, or copied there", found))
    assert found == []


def test_ddp_of_one_process_trains_as_no_ddp(device, train):
    """With NCCL on a GPU, and BatchNorm that is synchronised."""
    options = [*TINY, *FAMILIES["cnn"], "trainer.precision=32", "trainer.deterministic=true"]
    ddp = "trainer=ddp" if device == "cuda" else "trainer=ddp_cpu"
    one, other = train("plain", *options, on(device)), train("ddp", *options, ddp, "trainer.devices=1")
    worst = _furthest(one, other)
    record(Row("DDP of one process with NCCL, and none: weights", "difference", [worst], at_most=1e-4))
    assert worst < 1e-4


def test_batchnorm_is_synchronised_over_two_processes(device, train, tmp_path, monkeypatch):
    """Two ranks on one GPU, which NCCL refuses and gloo does not; after one step both have seen the whole batch.

    The CPU has no synchronised BatchNorm: there the ranks train, and each sees its part.
    """
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    step = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.precision=32", on(device)]
    options = [*TINY, *FAMILIES["cnn"], *step]
    strategy = ["_target_=pytorch_lightning.strategies.DDPStrategy", "process_group_backend=gloo"]
    ranks = [*(f"+trainer.strategy.{entry}" for entry in strategy), "trainer.num_nodes=2"]
    synchronised = [f"+trainer.sync_batchnorm={str(device == 'cuda').lower()}"]
    whole = train("whole", *options)
    port = str(20_000 + os.getpid() % 20_000)
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    environment |= {
        "GLOO_SOCKET_IFNAME": "lo",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "TORCHELASTIC_RUN_ID": f"gpu{port}",
    }
    command = [sys.executable, "-m", "vesalius.cli", "train", *options, "trainer.strategy=null", *ranks, *synchronised]
    started = [
        subprocess.Popen(
            [*command, "hydra.run.dir=shared"],
            cwd=tmp_path,
            env={**environment, "RANK": str(rank), "GROUP_RANK": str(rank), "CUDA_VISIBLE_DEVICES": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=150)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    worst = max(_of_batchnorm(whole, tmp_path / "shared"))
    record(Row("SyncBatchNorm, two processes and one: statistics", "relative difference", [worst], at_most=1e-3))
    assert worst < 1e-3 or device == "cpu"


def differing(what: str, found: list[str]) -> Row:
    """How many parts of two runs differ."""
    return Row(what, "parts that differ", [float(len(found))], at_most=0, note=", ".join(found[:5]))


def _weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)[
        "state_dict"
    ]
    return state


def _furthest(one: Path, other: Path) -> float:
    pairs = zip(_weights(one).values(), _weights(other).values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def _of_batchnorm(one: Path, other: Path) -> list[float]:
    """Relative differences of all running statistics."""
    first, second = _weights(one), _weights(other)
    names = [name for name in first if name.endswith(("running_mean", "running_var"))]
    assert names
    return [float((first[name] - second[name]).norm() / first[name].norm()) for name in names]
