"""Processes that somebody else starts side by side find one run folder."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from vesalius.config.errors import InputError
from vesalius.launch.rendezvous import RENDEZVOUS, Ranks, ranks_of

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
FAKE = Path(__file__).parents[1] / "helpers/fake_sweep.py"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    return tmp_path


def test_a_process_alone_meets_nobody():
    assert ranks_of({}) is None
    assert ranks_of({"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert ranks_of({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None  # the script itself, outside of srun
    assert ranks_of({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}) is None


def test_the_environment_names_the_start():
    first, second = ranks_of(TORCHRUN), ranks_of(TORCHRUN | {"RANK": "0"})
    assert (first.rank, second.rank, first.world) == (1, 0, 2)
    assert first.name == second.name
    assert ranks_of(TORCHRUN | {"MASTER_PORT": "29501"}).name != first.name
    assert "/" not in ranks_of(TORCHRUN | {"TORCHELASTIC_RUN_ID": "../a b"}).name
    slurm = {"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_JOB_ID": "77"}
    assert (ranks_of(slurm).rank, ranks_of(slurm).world) == (3, 4)
    assert ranks_of(slurm).name != ranks_of(slurm | {"SLURM_STEP_ID": "1"}).name
    with pytest.raises(InputError, match="MASTER_PORT"):
        ranks_of({"RANK": "0", "WORLD_SIZE": "2"})


def meet(zero, others, folder, problems=()):
    """What each of the others was told, or how it ended."""
    told = {}

    def wait(ranks):
        try:
            told[ranks.rank] = ranks.wait_for_folder()
        except InputError as error:
            told[ranks.rank] = error.problems

    threads = [threading.Thread(target=wait, args=(ranks,)) for ranks in others]
    for thread in threads:
        thread.start()
    with zero.announcing() as tell:
        tell(folder, problems)
        for thread in threads:
            thread.join()
    return told


def test_all_ranks_find_the_folder_and_the_place_is_left_clean(place):
    zero = Ranks(0, 3, "here", patience=20)
    told = meet(zero, [replace(zero, rank=1), replace(zero, rank=2)], Path("run"))
    assert told == {1: place / "run", 2: place / "run"}
    assert not RENDEZVOUS.parent.exists()


def test_what_a_killed_start_left_behind_misleads_nobody(place):
    zero = Ranks(0, 2, "here", patience=20)
    (RENDEZVOUS / "here").mkdir(parents=True)
    (RENDEZVOUS / "here" / "rank1").write_text("old")
    (place / "old").mkdir()
    (place / "old" / "config.yaml").touch()
    old = {"folder": str(place / "old"), "problems": [], "tokens": {"rank1": "old"}}
    (RENDEZVOUS / "here" / "reply.json").write_text(json.dumps(old))
    assert meet(zero, [replace(zero, rank=1)], Path("run")) == {1: place / "run"}


def test_all_ranks_hear_of_a_refused_config_and_of_work_that_is_done(place):
    zero = Ranks(0, 2, "here", patience=20)
    assert meet(zero, [replace(zero, rank=1)], None, ["lr=x: no."]) == {1: ["Rank 0: lr=x: no."]}
    assert meet(zero, [replace(zero, rank=1)], None) == {1: None}


def test_nobody_waits_for_ever(place):
    with pytest.raises(InputError, match="check that rank 0 has started"):
        Ranks(1, 2, "here", patience=0.2).wait_for_folder()


def test_two_processes_train_in_one_folder(tmp_path):
    """As `torchrun` starts them; what they train costs nothing."""
    command = [sys.executable, str(FAKE), "train", "seed=null", "trainer.max_epochs=1"]
    started = []
    for rank in ("1", "0"):
        ranks = {**TORCHRUN, "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "localhost"}
        pipes = {"stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **ranks}, **pipes))
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    (config,) = tmp_path.glob("runs/*/*/config.yaml")
    log = (config.parent.parent / "log").read_text().splitlines()
    assert [line.split()[:2] for line in log if line.startswith("start")] == [["start", config.parent.name]] * 2
    assert [path.name for path in config.parent.parent.iterdir() if path.is_dir()] == [config.parent.name]
    assert not (tmp_path / RENDEZVOUS).exists()
