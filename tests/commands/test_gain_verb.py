"""`vesalius gain`: the whole loop at its smallest, in this process and as a user starts it, a stop, and mistakes."""

import contextlib
import io
import json

import pandas as pd
import pytest
from PIL import Image

from vesalius.commands.gain import gain
from vesalius.commands.synthesize import synthesize
from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.runs.run_folder import RunFolder

pytestmark = pytest.mark.xdist_group("gain_verb")  # its runs are made once

SMALL = [
    'both=["data=lesions","data.source.patients=48","data.source.slices=1","data.source.image_size=28"'
    ',"data.train_fraction=0.5","trainer=cpu","trainer.max_epochs=1","logger=none","evaluation.baselines=false"]',
    'gan=["model=gan","model.generator.width=4","model.critic.width=4"]',
    'cnn=["model=cnn","model.net.widths=[4]","data.steps_per_epoch=2"]',
    "seeds=[0]",
    *(f"arms.{name}=null" for name in ("oversampled", "synthetic_half", "synthetic_2", "synthetic_only")),
]


def in_this_process(verb, config, overrides, path):
    """What `launch` does, without another interpreter."""
    folder = RunFolder.create(path, {**config, **({"resume": None} if "resume" in config else {})}, overrides)
    {"train": train, "synthesize": synthesize}[verb](folder.path)
    return 0, 0.0


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A loop that was done, and what it printed."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("vesalius.studies.synthetic.run.launch", in_this_process)
        folder = RunFolder.create(tmp_path_factory.mktemp("gain") / "loop", load_config("gain", SMALL), SMALL)
        gain(folder.path)
    assert folder.state["state"] == "done"
    return folder.path, said.getvalue()


def test_the_loop_ends_in_tables_pictures_and_one_sentence(done):
    folder, said = done
    told = json.loads((folder / "gain.json").read_text())
    assert list(told["comparisons"]["real"]["arms"]) == ["real", "augmented", "synthetic_1"]
    assert told["verdict"] in " ".join(said.split())
    (note,) = told["notes"]
    assert "There is only one generator" in note
    assert " ".join(said.split()).index(note) < " ".join(said.split()).index(told["verdict"])
    assert told["best_on_validation"] == "synthetic_1"
    assert told["generator"]["test"]["frechet_distance"]["value"] > 0
    assert str(folder.parent) not in json.dumps(told)
    for name in ("gain.png", "gain_against_augmented.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 500


def test_all_are_trained_and_evaluated_on_one_split(done):
    folder, _ = done
    splits = {name: pd.read_csv(folder / name / "split.csv") for name in ("gan", "real/0", "synthetic_1/0")}
    assert splits["gan"].equals(splits["real/0"])
    both = splits["synthetic_1/0"].merge(splits["gan"], on="sample_id", suffixes=("", "_of_gan"))
    assert len(both) == len(splits["gan"])
    assert (both["split"] == both["split_of_gan"]).all()
    real = (splits["gan"]["split"] == "train").sum()
    assert len(splits["synthetic_1/0"]) == len(splits["gan"]) + real


def test_all_learn_by_equally_many_steps(done):
    folder, _ = done
    steps = {
        name: pd.read_csv(folder / name / "0" / "history.csv")["step"].tolist() for name in ("real", "synthetic_1")
    }
    assert steps["real"] == steps["synthetic_1"] == [2]


def test_mistakes_are_reported_before_anything_is_trained_and_leave_nothing(tmp_path):
    overrides = [*SMALL, 'gan=["model=cnn"]', 'cnn=["model=cnn"]']
    folder = RunFolder.create(tmp_path / "loop", load_config("gain", overrides), overrides)
    with pytest.raises(InputError, match=r"steps_per_epoch is not set|generates no images"):
        gain(folder.path)
    assert not folder.path.exists()


@pytest.mark.proof
def test_a_user_starts_it_and_what_was_lost_is_done_again_and_nothing_else(vesalius, tmp_path):
    first = vesalius("gain", "name=small", *SMALL)
    assert first.returncode == 0, first.stderr
    (folder,) = tmp_path.glob("runs/small/*")
    lost = folder / "augmented" / "0"
    for path in (folder, lost):
        (path / "state.json").write_text(json.dumps({"state": "failed"}))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/metrics.json")}
    again = vesalius("gain", f"resume={folder}")
    assert again.returncode == 0, again.stderr
    jobs = [line.split("]")[1].split(";")[0] for line in again.stderr.splitlines() if line.startswith("[")]
    assert jobs == [" augmented, seed 0"]
    assert {path for path, time in before.items() if path.stat().st_mtime_ns != time} == {lost / "metrics.json"}
    refused = vesalius("gain", f"resume={folder}")
    assert refused.returncode == 2
    assert "nothing to resume" in refused.stderr
