"""How long a user waits before anything happens, against a bare Hydra app that composes the same number of configs."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.config.compose import conf_dir

ROUNDS = 15
BARE = """
import hydra

@hydra.main(version_base="1.3", config_path={conf!r}, config_name="config")
def main(config):
    pass

main()
"""


@pytest.fixture
def bare_app(tmp_path: Path) -> Path:
    """An app with nothing but Hydra, whose primary config composes as many files as `vesalius train` does."""
    listed = subprocess.run(
        [sys.executable, "-m", "vesalius.cli", "train", "--info", "defaults"],
        capture_output=True,
        text=True,
        check=True,
    )
    files = [line.split("|")[1].strip() for line in listed.stdout.splitlines() if line.startswith("| ")][1:]
    shipped = [name for name in files if (conf_dir() / f"{name}.yaml").is_file() and name != "train"]
    assert len(shipped) >= 8
    conf = tmp_path / "conf"
    for name in shipped:
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        lines = (conf_dir() / f"{name}.yaml").read_text().splitlines()
        kept, skipping = [], False  # the same content without its own defaults list, and without interpolations
        for line in lines:
            skipping = line == "defaults:" or (skipping and line.startswith("  - "))
            if not skipping and "${" not in line:
                kept.append(line)
        (conf / f"{name}.yaml").write_text("\n".join(kept) + "\n")
    defaults = "\n".join(
        f"  - {Path(name).parent}@part{number}: {Path(name).name}" for number, name in enumerate(shipped)
    )
    (conf / "config.yaml").write_text(f"defaults:\n{defaults}\n  - _self_\n")
    app = tmp_path / "app.py"
    app.write_text(BARE.format(conf=str(conf)))
    return app


@pytest.mark.benchmark
def test_printing_the_config_costs_little_more_than_hydra_itself(bare_app: Path, monkeypatch, tmp_path, row):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    vesalius = shutil.which("vesalius", path=str(Path(sys.executable).parent))
    assert vesalius is not None
    commands = {
        "bare Hydra": [sys.executable, str(bare_app), "--cfg", "job"],
        "bare Hydra, help": [sys.executable, str(bare_app), "--help"],
        "vesalius": [vesalius, "train", "--cfg", "job"],
        "vesalius, help": [vesalius, "train", "--help"],
        "vesalius, two mistakes": [vesalius, "train", "model.optimizer.weight_decy=1", "+trianer.max_epochs=3"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_number in range(ROUNDS + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=tmp_path, capture_output=True)
            if round_number:  # the first round writes byte code
                seconds[name].append(time.perf_counter() - started)
    hydra = {"reference": seconds["bare Hydra"], "against": "a bare Hydra app of as many configs", "at_most": 1.3}
    helped = {**hydra, "reference": seconds["bare Hydra, help"], "against": "the same of a bare Hydra app"}
    row("`vesalius train --cfg job`", "s", seconds["vesalius"], **hydra)
    row("`vesalius train --help`", "s", seconds["vesalius, help"], **helped)
    note = "the process of the training is started before the config is composed, and killed where it is refused"
    row("two wrong overrides, until the message", "s", seconds["vesalius, two mistakes"], **hydra, note=note)
