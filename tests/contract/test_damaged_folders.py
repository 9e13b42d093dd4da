"""A run folder with a damaged file ends in one message that names the file and the cure, or goes on without it."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder
from vesalius.runs.sweep_folder import SweepFolder
from vesalius.training.checkpoint_files import PREVIOUS, DurableCheckpoints, is_damaged
from vesalius.training.checkpoints import find_resumable, load_checkpoint, restore_model

STORED = Path(__file__).parents[1] / "stored_runs"
CNN = STORED / "cnn"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


class Payload:
    def __reduce__(self):
        return print, ("ran",)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def tagged(path: Path) -> None:
    path.write_text("!!python/object/apply:os.system [echo ran]\n")


def of_zeros(path: Path) -> None:
    """As a power cut leaves a file that was never synchronised."""
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = [halved, emptied, pickled, tagged, of_zeros]


@pytest.fixture
def run(tmp_path) -> Path:
    return Path(shutil.copytree(CNN / "interrupted", tmp_path / "run"))


def edit_checkpoint(path: Path, change: Callable[[dict], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    DurableCheckpoints().save_checkpoint(content, path)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_read_by_torch_and_knows_every_flipped_bit(tmp_path):
    path, content = tmp_path / "last.ckpt", {"weights": torch.arange(50_000.0), "epoch": 3}
    DurableCheckpoints().save_checkpoint(content, path)
    read = torch.load(path, weights_only=True)
    assert read["epoch"] == 3
    assert torch.equal(read["weights"], content["weights"])
    assert not is_damaged(path)
    whole = path.read_bytes()
    for place in range(0, len(whole) - 90, 4001):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert is_damaged(path), place
    assert [inside.name for inside in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_write_that_fails_leaves_both_generations(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    for number in range(2):
        DurableCheckpoints().save_checkpoint({"number": number}, path)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vesalius.training.checkpoint_files.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        DurableCheckpoints().save_checkpoint({"number": 2}, path)
    assert sorted(inside.name for inside in tmp_path.iterdir()) == ["last.ckpt", PREVIOUS]
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert torch.load(tmp_path / PREVIOUS, weights_only=True) == {"number": 0}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(run, damage, caplog):
    folder = run / "checkpoints"
    shutil.copy(folder / "last.ckpt", folder / PREVIOUS)
    damage(folder / "last.ckpt")
    path, content = find_resumable(folder)
    assert path == folder / PREVIOUS
    assert content["epoch"] == 0
    assert "last.ckpt" in caplog.text
    assert "goes on from previous.ckpt" in caplog.text
    damage(folder / PREVIOUS)
    with pytest.raises(InputError) as refused:
        find_resumable(folder)
    assert len(refused.value.problems) == 2
    assert "weights_only" not in str(refused.value)  # torch's own message advises to switch the protection off
    shutil.rmtree(folder)
    assert find_resumable(folder) == (None, {})


def test_weights_of_other_shapes_or_without_numbers_are_refused_by_name(run):
    def widen(content):
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] = torch.zeros(3, 3)

    def spoil(content):
        content["state_dict"]["net.head.weight"][0, 0] = torch.nan

    for change, message in ((widen, "other shapes"), (spoil, "not finite: net.head.weight")):
        path = Path(shutil.copy(CNN / "finished/checkpoints/best.ckpt", run / "best.ckpt"))
        edit_checkpoint(path, change)
        with pytest.raises(InputError, match=message):
            restore_model(load_checkpoint(path))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "best.ckpt"
    for content in ([1, 2], {"state_dict": {}}, {"config": 3, "facts": {}, "state_dict": {}}):
        torch.save(content, path)
        with pytest.raises(InputError, match="not a checkpoint of Vesalius"):
            load_checkpoint(path)


# --- other files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_config_is_named(run, damage):
    damage(run / "config.yaml")
    with pytest.raises(InputError, match=r"config\.yaml"):
        _ = RunFolder(run).config


def test_a_config_cut_off_between_two_keys_is_named(run):
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    (run / "config.yaml").write_text("".join(lines[: next(at for at, line in enumerate(lines) if "trainer:" in line)]))
    with pytest.raises(InputError, match=r"lacks .*trainer"):
        _ = RunFolder(run).config


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_unknown(run, damage):
    damage(run / "state.json")
    assert RunFolder(run).state == {"state": "unknown"}
    with RunFolder(run).attempt():
        pass
    assert RunFolder(run).state["state"] == "done"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"verb": "train", "arguments": [], "jobs": [3]}', "\udcff"])
def test_a_damaged_sweep_is_named(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match=r"sweep\.json is damaged"):
        _ = SweepFolder(tmp_path).jobs


def damage_and_resume(vesalius_in, run: Path, name: str, damage: Callable[[Path], None]):
    damage(run / name)
    done = vesalius_in(run.parent, "train", f"resume={run}", "resume_despite=[code]")
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_run_goes_on_without_what_it_can_write_again(run, vesalius_in):
    halved(run / "history.csv")
    of_zeros(run / "state.json")
    shutil.copy(run / "checkpoints/last.ckpt", run / "checkpoints" / PREVIOUS)
    done = damage_and_resume(vesalius_in, run, "checkpoints/last.ckpt", halved)
    assert done.returncode == 0, done.stderr
    assert "goes on from previous.ckpt" in done.stderr
    assert "state.json is damaged" in done.stderr
    assert pd.read_csv(run / "history.csv")["epoch"].tolist() == [0, 1]
    expected = json.loads((CNN / "finished/metrics.json").read_text())["test"]["auroc"]["value"]
    assert json.loads((run / "metrics.json").read_text())["test"]["auroc"]["value"] == pytest.approx(expected, abs=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.yaml", "split.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"])
def test_a_resume_is_refused_where_nothing_can_stand_in(run, vesalius_in, name, damage):
    before = {path.name for path in run.iterdir()}
    done = damage_and_resume(vesalius_in, run, name, damage)
    assert done.returncode == 2, done.stderr
    assert Path(name).name in done.stderr
    assert "ran" not in done.stdout.split()
    assert before <= {path.name for path in run.iterdir()}  # nothing is lost


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.yaml", "split.csv", "checkpoints/best.ckpt", "metrics.json"])
def test_an_evaluation_is_refused_likewise(tmp_path, vesalius_in, name, damage):
    run = Path(shutil.copytree(CNN / "finished", tmp_path / "run"))
    damage(run / name)
    done = vesalius_in(tmp_path, "evaluate", f"run={run}")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert Path(name).name in done.stderr


# --- the split -------------------------------------------------------------------------------------------------------


def begin(run_training, path: Path) -> Path:
    """A run of this version, which knows the hash of its split, set back to before its last epoch."""
    small = ["data.source.patients=24", "data.source.slices=1", "data.source.image_size=28", "data.batch_size=12"]
    options = ["trainer=cpu", "trainer.max_epochs=1", "logger=none", "evaluation.baselines=false"]
    run_training([*small, "model.net.widths=[4]", "model.net.blocks=1", *options], path)
    (path / "state.json").write_text('{"state": "interrupted", "attempt": 1}')
    return path


@pytest.mark.slow
def test_an_edited_and_a_deleted_split_have_their_own_messages(tmp_path, vesalius_in):
    from small_runs import train_in

    run = begin(lambda overrides, path: train_in(path, overrides), tmp_path / "run")
    text = (run / "split.csv").read_text()
    (run / "split.csv").write_text(text.replace(",test\n", ",train\n", 1))
    for verb in (["train", f"resume={run}"], ["evaluate", f"run={run}"], ["embed", f"run={run}"]):
        done = vesalius_in(tmp_path, *verb)
        assert done.returncode == 2, done.stderr
        assert "is not as the run wrote it" in done.stderr
    (run / "split.csv").unlink()
    done = vesalius_in(tmp_path, "evaluate", f"run={run}")
    assert done.returncode == 2, done.stderr
    assert "split.csv is gone" in done.stderr
    done = vesalius_in(tmp_path, "train", f"resume={run}")
    assert done.returncode == 0, done.stderr
    assert "is written again" in done.stderr
    assert (run / "split.csv").read_text() == text
