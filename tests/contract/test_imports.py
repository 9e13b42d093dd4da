"""What a command imports before it begins: a start keeps its order of magnitude, without a clock."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from small_runs import SMALL
from vesalius.launch.template import can_fork

HELPERS = Path(__file__).parents[1] / "helpers"
HEAVY = {"torch", "pytorch_lightning", "torchvision", "torchmetrics", "sklearn", "matplotlib", "wandb", "onnxruntime"}
LIGHT = ("predict", "serve", "compare", "report", "verify", "rerun", "identities")
FIRST_STEP = ["+callbacks.first._target_=first_step.FirstStep"]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.mark.parametrize("verb", LIGHT)
def test_verbs_that_may_do_without_torch_begin_without_it(verb: str) -> None:
    code = f"import sys, vesalius.commands.{verb}; print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(listed.stdout.split())


@pytest.mark.slow
def test_a_training_has_imported_nothing_before_its_first_step_that_it_does_not_use(tmp_path: Path) -> None:
    """Of what Lightning does not import itself; W&B follows the first step."""
    command = [sys.executable, "-m", "vesalius.cli", "train", *SMALL, *FIRST_STEP, "logger=wandb"]
    ended = subprocess.run([*command, f"hydra.run.dir={tmp_path}"], env=environment(), capture_output=True, text=True)
    assert (tmp_path / "first_step.json").is_file(), ended.stderr
    imported = set(json.loads((tmp_path / "first_step.json").read_text())["modules"])
    assert "torch" in imported
    assert not imported & {"wandb", "sklearn", "pydicom", "nibabel", "requests", "av", "optuna", "onnxruntime"}
    ours = {name for name in imported if name.startswith("vesalius.")}
    assert not {name for name in ours if name.split(".")[1] in ("deploy", "report", "studies", "figures")}


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="jobs are forks on Linux only")
def test_a_sweep_imports_torch_and_what_evaluates_its_jobs_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vesalius.cli", "train", "-m", "seed=0,1,2", *SMALL, "trainer.max_epochs=1"]
    noted = environment(PYTHONPROFILEIMPORTTIME="1")  # one line per module and process, on stderr
    ended = subprocess.run([*command, f"hydra.sweep.dir={tmp_path}"], env=noted, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    imported = re.findall(r"^import time: .*\| +(\S+)$", ended.stderr, flags=re.MULTILINE)
    for name in ("torch", "pytorch_lightning", "sklearn.linear_model"):
        assert imported.count(name) == 1, name
    repeated = {name for name in imported if imported.count(name) >= 3 and name.startswith(("sklearn", "vesalius"))}
    assert not repeated
