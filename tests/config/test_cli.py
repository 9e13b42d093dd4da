"""The command line: help, completion and mistakes, before torch is loaded."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from vesalius.cli import main
from vesalius.config.compose import run_hydra
from vesalius.config.errors import InputError
from vesalius.config.schema import register_schemas
from vesalius.sweeps.scheduler import JobStream

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def test_help_and_version(vesalius):
    assert "evaluate" in vesalius("--help").stdout
    assert vesalius("--version").stdout.strip() == "0.1.0"
    helped = vesalius("train", "--help")
    assert helped.returncode == 0
    experiments = sorted(path.stem for path in (ROOT / "conf").glob("experiment/*.yaml"))
    assert f": {', '.join(experiments)}\n" in helped.stdout


def test_both_mistakes_are_named_with_their_cure(fresh_vesalius_in, tmp_path):
    done = fresh_vesalius_in(tmp_path, "train", "model.optimizer.weight_decy=1", "+trianer.max_epochs=3")
    assert done.returncode == 2
    assert "model.optimizer.weight_decy" in done.stderr
    assert "Did you mean 'model.optimizer.weight_decay'?" in done.stderr
    assert "Did you mean 'trainer.max_epochs'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=lesion"], "Did you mean 'lesions'?"),
        pytest.param(["experiment=lesion_cnn"], "Did you mean 'lesions_cnn'?", marks=pytest.mark.slow),
        (["seed=zero"], "could not be converted to Integer"),
        pytest.param(["foo["], "is not an override", marks=pytest.mark.slow),
        (["model.optimizer.lr.x=3"], "Did you mean 'model.optimizer.lr'?"),
        pytest.param(["data=medmnist"], "data.source.name has no value", marks=pytest.mark.slow),
        (["experiment=synthetic_gain"], "Did you mean 'vesalius gain study=synthetic_gain'?"),
        pytest.param(
            ["model=lesions_cnn"], "Did you mean 'vesalius train experiment=lesions_cnn'?", marks=pytest.mark.slow
        ),
        (["-m", "trainer=cpu,gup"], "Did you mean 'gpu'?"),
        pytest.param(["-m", "seed=1,b"], "could not be converted to Integer", marks=pytest.mark.slow),
        pytest.param(["seed=-1"], "must lie between 0", marks=pytest.mark.slow),
        (["+foo=1", "--cfg", "job"], "'foo' is not a part of the config"),
        (["--config-dir", "nowhere"], "there is no such folder"),
        (["hparams_search=lesions_cnn_lr"], "add -m"),
        (["name=a${nosuch}"], "name: Interpolation key 'nosuch' not found"),
        pytest.param(
            ["-m", "seed=0,1", "name=a${nosuch}"], "name: Interpolation key 'nosuch' not found", marks=pytest.mark.slow
        ),
        ([f"name={'x' * 300}"], "File name too long"),
        (["hydra.run.dir=/dev/null"], "/dev/null cannot be created"),
        pytest.param(
            ["hydra.run.dir=/dev/null/my/run"], "/dev/null is a file, where a folder is needed", marks=pytest.mark.slow
        ),
    ],
)
def test_a_mistake_is_refused_with_its_cure(vesalius, tmp_path, arguments, said):
    done = vesalius("train", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/*/*/config.yaml"))


def test_a_bug_in_the_work_is_not_taken_for_a_mistake_in_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)

    def work(*_):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_hydra("train", [], work, work)
    monkeypatch.setattr(JobStream, "run", work)
    with pytest.raises(ValueError, match="a bug"):
        run_hydra("train", ["-m", "seed=0,1"], work, work)


def test_only_a_folder_that_could_not_be_made_is_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)

    def work(*_):
        Path("/dev/null").mkdir()

    monkeypatch.setattr(JobStream, "run", work)
    with pytest.raises(InputError, match=r"/dev/null cannot be created .* with hydra\.sweep\.dir"):
        run_hydra("train", ["-m", "seed=0,1"], work, work)

    def unreadable(*_, **__):
        raise PermissionError(13, "Permission denied", "conf/experiment/own.yaml")

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", unreadable)
    with pytest.raises(PermissionError):
        run_hydra("train", [], work, work)


def test_a_typo_in_the_users_own_yaml_is_refused(vesalius, tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/own.yaml").write_text("# @package _global_\ntrianer:\n  max_epochs: 1\n")
    done = vesalius("train", "--config-dir", "mine", "experiment=own")
    assert done.returncode == 2
    assert "trianer" in done.stderr
    assert "Did you mean 'trainer'?" in done.stderr


@pytest.mark.parametrize("setting", ["hydra/job_logging=default", "hydra.run.dir=somewhere"])
def test_hydras_own_settings_are_left_to_hydra(vesalius, setting):
    done = vesalius("train", setting, "+trainer.limit_val_batches=2", "--cfg", "job")
    assert done.returncode == 0, done.stderr


def test_evaluating_a_misspelt_run_makes_no_folder(vesalius, tmp_path):
    done = vesalius("evaluate", "run=mispelt/run")
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_users_own_config_dir_composes(vesalius, tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/own.yaml").write_text("# @package _global_\ntrainer:\n  max_epochs: 7\n")
    done = vesalius("train", "--config-dir", "mine", "experiment=own", "--cfg", "job")
    assert done.returncode == 0
    assert "max_epochs: 7" in done.stdout


def test_a_value_missing_in_a_verb_is_named(vesalius):
    done = vesalius("evaluate")
    assert done.returncode == 2
    assert "run has no value" in done.stderr


def test_a_sweep_whose_folder_has_no_name_is_refused(vesalius):
    done = vesalius("evaluate", "-m", "run=a,b")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "hydra.sweep.dir" in done.stderr


def test_an_unknown_verb_gets_the_nearest_one(vesalius):
    done = vesalius("trian")
    assert done.returncode == 2
    assert "Did you mean 'train'?" in done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        pytest.param("vesalius callb", "callbacks=", marks=pytest.mark.slow),
        pytest.param("vesalius trainer=", "trainer=cpu", marks=pytest.mark.slow),
        ("vesalius model.opt", "model.optimizer."),
    ],
)
def test_completion_offers_groups_options_and_keys(line, offered):
    done = subprocess.run(
        [sys.executable, "-m", "vesalius.cli", "train", "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": line},
        capture_output=True,
        text=True,
        check=True,
    )
    assert offered in done.stdout


def test_completion_script_works_in_bash():
    script = 'eval "$(vesalius --completion)"; COMP_WORDS=(vesalius train "data=le"); COMP_CWORD=2; '
    script += 'COMP_LINE="vesalius train data=le"; _vesalius; echo "${COMPREPLY[@]}"'
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout.strip() == "data=lesions"


def test_nothing_heavy_is_imported():
    code = """
import contextlib, sys
from vesalius.cli import main
for arguments in (["--help"], ["train", "--cfg", "job"], ["train", "--help"], ["train", "seed=x"]):
    with contextlib.suppress(SystemExit):
        main(arguments)
heavy = {"torch", "pandas", "sklearn", "pytorch_lightning", "matplotlib", "scipy"} & set(sys.modules)
sys.exit(bool(heavy))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).returncode == 0


def test_help_copies_no_schemas_for_each_group_that_it_lists(monkeypatch, capsys):
    copied, copy_config = [], DictConfig.__deepcopy__
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(DictConfig, "__deepcopy__", lambda config, memo: copied.append(1) or copy_config(config, memo))
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("data", "model", "trainer"))]
    assert len(listed) > 10
    assert len(copied) < 1000  # nine thousand with the store of schemas in each copy of Hydra's sources


def test_what_is_loaded_from_the_store_of_schemas_is_a_copy():
    register_schemas()
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    loaded, before = store.load("train_schema.yaml").node, store.load("train_schema.yaml").node
    loaded.seed = 12345
    assert store.load("train_schema.yaml").node == before != loaded
