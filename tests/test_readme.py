"""The commands of the README do what the README says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from dicom_maker import write_cohort
from vesalius.config.compose import conf_dir

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = [
    commands
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    if (commands := [line for line in block.splitlines() if line.startswith("vesalius ")])
]
SMALL = ["trainer=cpu", "trainer.max_epochs=1", "logger=none", "data.steps_per_epoch=2", "data.batch_size=8"]
# Experiments on phantoms, which are made as large as one asks.
PHANTOMS = ("experiment=lesions", "experiment=ae_", "experiment=perfusion", "hparams_search=lesions", "model=cnn,")
SHORTER = {"seed": "seed=0", "hydra.sweeper.n_trials": "hydra.sweeper.n_trials=2"}
FEWER = ["data.source.patients=48", "data.source.image_size=28"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def test_there_are_commands_and_the_two_that_come_first():
    assert sum(map(len, BLOCKS)) >= 10
    assert README.index("make demo") < README.index("make test") < README.index("![")


def test_every_option_that_is_shipped_is_named():
    for path in conf_dir().rglob("*.yaml"):
        if path.parent != conf_dir() and path.stem != "base":
            assert f"`{path.stem}`" in README, path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the README's words in capitals stand for here."""
    import numpy as np
    from PIL import Image

    root, random = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    for name, level in (("malignant", 0), ("normal, benign", 60)):
        for number in range(12):
            for folder in ("FOLDER", "OTHER"):
                path = root / folder / name / f"P{number}_1.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(level, level + 100, (28, 28)).astype(np.uint8)).save(path)
    for name in ("rises", "falls"):
        for clip in range(12):
            for frame in range(3):
                path = root / "CLIPS" / name / f"clip{clip}" / f"{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(40 * frame, 40 * frame + 99, (24, 24)).astype(np.uint8)).save(path)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = random.integers(0, 255, (16, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(16) % 2).astype(np.uint8)[:, None]
    table = write_cohort(root / "cohort", patients=24)
    (table.parent / "files").rename(root / "SCANS")
    table.rename(root / "LABELS.csv")
    (root / "MEDMNIST").mkdir()
    np.savez(root / "MEDMNIST/breastmnist.npz", **arrays)
    return root


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_command_runs(number, vesalius, places):
    """`RUN` is the newest run of its block."""
    for line in BLOCKS[number]:
        words = [SHORTER.get(word.partition("=")[0], word) for word in shlex.split(line)[1:]]
        if any("RUN" in word for word in words):
            run = max(places.glob("runs/*/*/metrics.json"), key=lambda path: path.stat().st_mtime).parent
            words = [word.replace("=RUN", f"={run}") for word in words]
        words += ["data.source.verify=false"] if any("=MEDMNIST" in word for word in words) else []
        resumed = "-m" not in words and any("resume=" in word for word in words)
        small = SMALL if words[0] == "train" and not any("resume=" in word for word in words) else []
        small = [*small, *(FEWER if any(word.startswith(PHANTOMS) for word in words) else [])]
        if resumed:
            (run / "state.json").write_text('{"state": "interrupted", "attempt": 1}')
        done = vesalius(*words, *small, cwd=places)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    shutil.rmtree(places / "runs", ignore_errors=True)
