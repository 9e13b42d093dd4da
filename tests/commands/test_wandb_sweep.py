"""W&B's own sweep agent trains what `sweep.yaml` of the documentation says, and finds its metric."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from documented_commands import ROOT, check_command
from fake_wandb import fake_wandb

SWEEP = yaml.safe_load(
    re.findall(r"```yaml\n# sweep.yaml\n(.*?)```", (ROOT / "docs/sweeps.md").read_text(), re.DOTALL)[0]
)
TRIAL = {"model.optimizer.lr": 0.00321, "model.net.widths": SWEEP["parameters"]["model.net.widths"]["values"][0]}
SMALL = ["data.source.patients=32", "data.source.slices=2", "data.source.image_size=28", "trainer=cpu"]
SMALL += ["trainer.max_epochs=2", "evaluation.baselines=false"]


def test_the_command_that_the_agent_makes_composes(tmp_path):
    given = create_sweep_command_args({"args": {name: {"value": value} for name, value in TRIAL.items()}})
    command = []
    for word in create_sweep_command(list(SWEEP["command"])):  # as `wandb.wandb_agent.Agent._command_run` does
        command += given[word[2:-1]] if word.startswith("${") else [word]
    assert set(TRIAL) == set(SWEEP["parameters"])
    assert command[-2:] == ["model.optimizer.lr=0.00321", "model.net.widths=[16,32]"]
    check_command(command, tmp_path)


@pytest.mark.slow
def test_a_run_of_the_agent_has_the_metric_where_the_sweep_looks(tmp_path):
    data = [word for word in SWEEP["command"] if word.startswith("data")]
    command = [word for word in SWEEP["command"][1:] if word not in data]  # on the phantom, and small
    command = [sys.executable, "-m", "vesalius.cli", command[0], *SMALL, *command[1:]]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "command": command}))
    with fake_wandb([TRIAL]) as server:
        env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        env |= {**server.environ, "HOME": str(tmp_path), "WANDB_ERROR_REPORTING": "false"}
        for words in (["sweep", "--project", "liver", "sweep.yaml"], ["agent", "me/liver/tried"]):
            done = subprocess.run(
                [sys.executable, "-m", "wandb", *words],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
    (run,) = server.runs.values()
    assert (list(server.runs), run["sweep"], run["project"], run["exit"]) == (["trial0"], "tried", "liver", 0)
    folder = find_run(tmp_path)
    best = json.loads((folder / "metrics.json").read_text())["monitor"]["epoch"]
    history = pd.read_csv(folder / "history.csv").set_index("epoch")
    metric = SWEEP["metric"]["name"]
    assert run["summary"][metric] == pytest.approx(history.loc[best, metric])
    assert [row[metric] for row in run["history"] if metric in row] == pytest.approx(history[metric].tolist())
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["optimizer"]["lr"] == 0.00321


def find_run(place: Path) -> Path:
    """The folder of the only run."""
    (config,) = place.glob("runs/*/*/config.yaml")
    return config.parent
