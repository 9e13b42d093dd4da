"""Faults of the machine end in one sentence with the cure; what was complete stays, and the work can go on."""

import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import pytest
import torch

from small_runs import train_in
from store_runs import COMMON, FAMILIES
from vesalius.config.errors import InputError, RunFailed
from vesalius.data.sources import ImageFolder
from vesalius.data.store.store import Store
from vesalius.evaluation.base import write_tables
from vesalius.launch.faults import describe_fault
from vesalius.launch.worker import enter
from vesalius.runs.locks import warn_without_locks
from vesalius.runs.run_folder import RunFolder, write_atomically, write_json
from vesalius.runs.sweep_folder import take_folder
from vesalius.sweeps.search.journal import open_journal
from vesalius.training.checkpoint_files import DurableCheckpoints

STORED = Path(__file__).parents[1] / "stored_runs"


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device", "place")


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.csv"), ["no space left at x.csv", "free some"]),
        (OSError(errno.EROFS, "Read-only file system", "x.csv"), ["x.csv cannot be written", "the right to"]),
        (MemoryError(), ["data.batch_size=12", "data.batch_size=6 trainer.accumulate_grad_batches=2"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), ["data.eval_batch_size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["data.batch_size=6"]),
    ],
)
def test_a_fault_is_named_with_its_cure(error, words):
    described = describe_fault(error, STORED / "cnn/interrupted")
    assert described is not None
    assert all(word in described for word in words)


def test_a_fault_is_found_behind_the_error_that_hides_it():
    hidden = RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")
    hidden.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert "resume=" in describe_fault(hidden, STORED / "cnn/interrupted")
    assert describe_fault(RuntimeError("a bug")) is None
    assert describe_fault(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


def test_a_worker_prints_the_sentence_and_no_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vesalius.launch.worker._catch_signals", lambda: None)
    monkeypatch.setattr("vesalius.launch.worker._ignore_signals", lambda: None)
    assert enter(full, [str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Error: There is no space left at place")
    assert "Traceback" not in printed
    assert enter(lambda path: 1 / 0, [str(tmp_path)]) == 1
    assert "Traceback" in capsys.readouterr().err  # a bug is not hidden


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    import pandas as pd

    write_atomically(tmp_path / "a.csv", "old")
    monkeypatch.setattr("vesalius.runs.run_folder.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_tables({"a": pd.DataFrame({"x": [1]})}, tmp_path)
    assert (tmp_path / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_state_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run", {"seed": 0}, [])

    def fail() -> None:
        with folder.attempt():
            monkeypatch.setattr("vesalius.runs.run_folder.os.fsync", full)
            raise RunFailed("the reason")

    with pytest.raises(RunFailed, match="the reason"):
        fail()


def test_of_commands_that_create_one_folder_at_once_one_goes_on(tmp_path):
    barrier, outcomes = threading.Barrier(8), []

    def create(number: int) -> None:
        barrier.wait()
        try:
            RunFolder.create(tmp_path / "run", {"seed": number}, [f"seed={number}"])
            outcomes.append(number)
        except InputError:
            outcomes.append(None)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (number for number in outcomes if number is not None)
    assert RunFolder(tmp_path / "run").config == {"seed": winner}
    assert (tmp_path / "run/overrides.yaml").read_text() == f"- seed={winner}\n"


# --- whole commands --------------------------------------------------------------------------------------------------


def limited(place: Path, kilobytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command for which no file may be larger than this: what a full disk is, for one process."""
    return subprocess.run(
        [sys.executable, "-m", "vesalius.cli", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # half a .pyc would stay
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes,) * 2),
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_full_disk_costs_a_training_nothing_but_time(tmp_path):
    overrides = [*COMMON, *FAMILIES["cnn"], "model.net.widths=[8,16]"]
    whole = train_in(tmp_path / "whole", overrides)  # the decoded images are there now
    assert whole.last.stat().st_size > 2 * 32 * 1024
    done = limited(tmp_path, 32, "train", *overrides, "hydra.run.dir=run")
    assert done.returncode == 1
    assert "There is no space left" in done.stderr
    assert "vesalius train resume=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run/checkpoints").iterdir())
    resumed = limited(tmp_path, 10_000, "train", "resume=run")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run/metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kilobytes", "verb", "words"),
    [
        (12, ["evaluate", "run=run"], "no space left"),  # a figure
        (40, ["report", "run=run"], "no space left"),  # a page
        (8, ["evaluate", "run=run", "data=lesions", "data.source.seed=9"], "name another folder in `data.cache_dir`"),
    ],
)
def test_a_full_disk_is_named_wherever_it_is_met(tmp_path, kilobytes, verb, words):
    shutil.copytree(STORED / "cnn/finished", tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    done = limited(tmp_path, kilobytes, *verb)
    assert done.returncode in (1, 2), done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert all(path.read_bytes() == content for path, content in before.items())


FAULT = """
import os, shutil
from pathlib import Path
import torch
from pytorch_lightning.callbacks import Callback

class Fault(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for folder in os.environ.get("REMOVE", "").split(os.pathsep):
            shutil.rmtree(folder, ignore_errors=True)
        if "CUT" in os.environ:
            for file in Path(os.environ["CUT"]).rglob("images.bin"):
                os.truncate(file, 0)
        if "ALLOCATE" in os.environ:
            torch.empty(2**50)
"""


@pytest.fixture
def train_with(tmp_path, warm_vesalius_in, monkeypatch):
    """Train on 24 small images in `tmp_path/images`, with a callback that does what the environment names."""
    from PIL import Image

    for number in range(24):
        path = tmp_path / "images" / ("a", "b")[number % 2] / f"p{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 40 + 5 * number).save(path)
    (tmp_path / "faulty.py").write_text(FAULT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def run(*more, **environment):
        given = ["data=image_folder", "data.source.root=images", "data.image_size=16", "data.batch_size=8"]
        given += [f"data.cache_dir={tmp_path}/cache", "+callbacks.fault._target_=faulty.Fault", *COMMON]
        given += ["model.net.widths=[4]", "model.net.blocks=1", "hydra.run.dir=run", *more]
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        done = warm_vesalius_in(tmp_path, "train", *given)
        for name in environment:
            monkeypatch.delenv(name)
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0, 1], ids=["mapped", "in memory"])
def test_images_and_cache_that_disappear_while_training_are_not_missed(tmp_path, train_with, memory):
    """They were decoded before the first step; the decoded ones are in memory or mapped."""
    gone = tmp_path / "images", tmp_path / "cache"
    done = train_with(f"data.memory_limit_gb={memory}", REMOVE=os.pathsep.join(map(str, gone)))
    assert done.returncode == 0, done.stderr
    assert not any(folder.exists() for folder in gone)
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["auroc"]["n"]


@pytest.mark.slow
def test_decoded_images_that_are_cut_off_while_training_are_named_and_decoded_again(
    tmp_path, train_with, warm_vesalius_in
):
    done = train_with("data.memory_limit_gb=0", CUT=tmp_path / "cache")
    assert done.returncode == 1
    assert "SIGBUS" in done.stderr
    assert "data.cache_dir" in done.stderr
    assert json.loads((tmp_path / "run/state.json").read_text())["state"] == "failed"
    resumed = warm_vesalius_in(tmp_path, "train", "resume=run")
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.slow
def test_a_lack_of_memory_names_the_batch_that_fits(tmp_path, train_with, warm_vesalius_in):
    done = train_with(ALLOCATE="1")
    assert done.returncode == 1
    assert "data.batch_size=8 does not fit" in done.stderr
    assert "data.batch_size=4 trainer.accumulate_grad_batches=2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_loss_that_becomes_nan_ends_the_run_with_the_cure(tmp_path, train_with):
    done = train_with("model.optimizer.lr=1e30")
    assert done.returncode == 1
    assert "lower model.optimizer.lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run/checkpoints").glob("*"))


@pytest.mark.slow
def test_a_server_of_wandb_that_accepts_and_never_replies_holds_no_training_up(tmp_path, train_with):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        online = ["logger=wandb", "logger.wandb.mode=online"]
        done = train_with(*online, WANDB_BASE_URL=address, WANDB_API_KEY="x" * 40, WANDB_MODE="online")
    assert done.returncode == 0, done.stderr
    assert "W&B stays offline: its server does not reply" in done.stderr
    assert "wandb sync" in done.stdout
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["auroc"]["n"]


def test_a_file_that_disappears_before_it_is_decoded_is_named(tmp_path, monkeypatch):
    from PIL import Image

    for number in range(4):
        (tmp_path / f"images/{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 40 + number).save(tmp_path / f"images/{number % 2}/p{number}.png")
    source = ImageFolder(str(tmp_path / "images"))
    table = source.samples()
    (tmp_path / "images/1/p3.png").unlink()
    with pytest.raises(InputError, match=r"p3\.png cannot be opened .*: put it back"):
        Store.open(source, table, cache_dir=tmp_path / "cache", progress=False)
    monkeypatch.setattr(source, "fingerprint", lambda: "from when it was there")
    with pytest.raises(InputError) as caught:
        Store.open(source, table, cache_dir=tmp_path / "cache", progress=False)
    assert "p3.png does not exist: put it there" in caught.value.problems[0]
    assert "data.on_bad_file=skip" in caught.value.problems[1]
    store = Store.open(source, table, cache_dir=tmp_path / "cache", progress=False, on_bad_file="skip")
    assert len(store) == 3


@pytest.fixture
def without_locks(monkeypatch):
    """A network's file system whose lock service cannot be reached."""

    def fail(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("vesalius.runs.locks.fcntl.flock", fail)
    warn_without_locks.cache_clear()


def test_a_run_without_locks_goes_on_with_a_warning(tmp_path, without_locks, caplog):
    folder = RunFolder.create(tmp_path / "run", {"seed": 0}, [])
    with folder.attempt():
        assert json.loads((tmp_path / "run/state.json").read_text())["state"] == "running"
    assert folder.state["state"] == "done"
    assert caplog.text.count("has no locks") == 1
    assert "another file system" in caplog.text


def test_without_locks_a_second_process_of_this_machine_is_still_refused(tmp_path, without_locks, monkeypatch):
    folder = RunFolder.create(tmp_path / "run", {"seed": 0}, [])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "vesalius"])
    try:
        write_json(folder.path / "state.json", {"state": "running", "pid": other.pid, "attempt": 1})
        monkeypatch.setattr("vesalius.runs.run_folder._PROBES", 0.0)
        with pytest.raises(InputError, match=f"in use by process {other.pid}"), folder.attempt():
            pass
    finally:
        other.kill()
        other.wait()
    with folder.attempt():  # its process has died
        pass
    assert folder.state["attempt"] == 2


def test_a_sweep_and_its_journal_need_no_locks(tmp_path, without_locks, caplog):
    take_folder(tmp_path / "sweep", resume=False).close()
    assert "has no locks" in caplog.text
    study = optuna.create_study(storage=open_journal(tmp_path / "journal.log"))
    study.tell(study.ask(), 1.0)
    assert len(study.trials) == 1


def test_no_half_checkpoint_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("vesalius.training.checkpoint_files._HashingWriter.write", full)
    with pytest.raises((OSError, RuntimeError)) as caught:
        DurableCheckpoints().save_checkpoint({"weights": torch.zeros(1000)}, tmp_path / "last.ckpt")
    assert "no space left" in describe_fault(caught.value)
    assert not list(tmp_path.iterdir())
