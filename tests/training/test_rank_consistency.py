"""Processes that read different things do not train together."""

import os
import subprocess
import sys

import pytest

from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.training.rank_consistency import check_equal, describe_shares, fingerprint

SMALL = ["data=lesions", "data.source.patients=40", "data.source.image_size=28", "logger=none", "trainer=ddp_cpu"]

# As if the second process had met another file: it edits the config before it reads it.
ANOTHER_CONFIG = """
import os, pathlib, sys
if os.environ.get("LOCAL_RANK") == "1":
    path = pathlib.Path(os.environ["RUN_FOLDER"], "config.yaml")
    path.write_text(path.read_text().replace("max_epochs: 2", "max_epochs: 3"))
"""


def test_a_fingerprint_knows_values_and_not_the_order_of_keys():
    config = {"seed": 0, "model": {"lr": 0.1, "widths": [1, 2]}}
    assert fingerprint(config) == fingerprint({"model": {"widths": [1, 2], "lr": 0.1}, "seed": 0})
    for other in ({**config, "seed": 1}, {**config, "model": {"lr": 0.1, "widths": [2, 1]}}, {"seed": 0}):
        assert fingerprint(other) != fingerprint(config)


def test_ranks_that_differ_are_named_with_the_cure():
    same = {"config": "aa", "samples": "bb"}
    check_equal([same, dict(same), dict(same)])
    with pytest.raises(InputError) as caught:
        check_equal([same, {**same, "config": "cc"}, {**same, "config": "dd", "samples": "ee"}])
    config, samples = caught.value.problems
    assert "config of rank 1, 2" in config
    assert "same run folder" in config
    assert "samples of rank 2" in samples


@pytest.mark.parametrize(
    ("size", "devices", "phrase"),
    [(64, 1, "on one device"), (64, 2, "64 = 2 x 32"), (15, 2, "15 = 1 x 8 + 1 x 7"), (10, 4, "2 x 3 + 2 x 2")],
)
def test_how_devices_share_a_batch_is_logged(size, devices, phrase):
    assert phrase in describe_shares(size, devices)


@pytest.mark.proof
def test_a_run_whose_ranks_read_different_configs_is_refused(tmp_path):
    overrides = [*SMALL, "trainer.max_epochs=2"]
    folder = RunFolder.create(tmp_path / "run", load_config("train", overrides), overrides)
    (tmp_path / "sitecustomize.py").write_text(ANOTHER_CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "vesalius.commands.train", str(folder.path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "RUN_FOLDER": str(folder.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert "config of rank 1 differs" in done.stderr
    assert "Traceback" not in done.stderr
