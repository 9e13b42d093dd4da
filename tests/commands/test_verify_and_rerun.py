"""`vesalius verify` finds every change to a finished run, and `vesalius rerun` reaches its numbers again."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from store_runs import COMMON, FAMILIES
from vesalius.evaluation.verification import verify
from vesalius.runs.hashes import HASHES, changed_files, write_hashes
from vesalius.runs.run_folder import RunFolder
from vesalius.studies.agreement import DIFFERENT, EQUAL, INSIDE, compare_metrics, other_changes, summarize_agreement
from vesalius.training.checkpoints import load_checkpoint

STORED = Path(__file__).parents[1] / "stored_runs"


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


# --- hashes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    copied = Path(shutil.copytree(STORED / "cnn/finished", tmp_path / "run"))
    write_hashes(copied)
    return copied


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_every_file_that_a_run_rests_on_is_covered(folder):
    assert changed_files(folder) == ([], True)
    covered = json.loads((folder / HASHES).read_text())["files"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - covered.keys() == {"state.json", HASHES}
    for name in covered:
        flip(folder / name, (folder / name).stat().st_size // 2)
        assert changed_files(folder)[0] == [f"{name} was changed after the run had ended."]
        flip(folder / name, (folder / name).stat().st_size // 2)
    (folder / "split.csv").unlink()
    (folder / "predictions/more.csv").write_text("x")
    assert changed_files(folder)[0] == ["split.csv is gone.", "predictions/more.csv was not there when the run ended."]


def test_a_list_that_was_written_anew_is_not_signed(folder):
    content = json.loads((folder / HASHES).read_text())
    content["files"]["split.csv"] = "0" * 64
    (folder / HASHES).write_text(json.dumps(content))
    problems, signed = changed_files(folder)
    assert problems == ["split.csv and its hash in hashes.json differ: one of the two was changed."]
    assert not signed


# --- numbers ---------------------------------------------------------------------------------------------------------


def entry(value, ci95=(0.5, 0.9), **more):
    return {"value": value, "ci95": None if ci95 is None else list(ci95), "n": 10, "groups": 10, **more}


def test_numbers_are_equal_inside_or_different():
    before = {"test": {"auroc": entry(0.7), "ece": entry(None, None), "f1": entry(0.6), "brier": entry(0.2, None)}}
    before["baselines"] = {"majority": {"auroc": entry(0.5)}}
    now = json.loads(json.dumps(before))
    table = compare_metrics(before, now)
    assert table["verdict"].tolist() == [EQUAL] * 5
    assert summarize_agreement(table) == ["5 equal, 0 inside the interval, 0 different."]
    now["test"]["auroc"]["value"] = 0.89
    now["test"]["f1"]["value"] = 0.91
    now["test"]["ece"]["value"] = 0.1
    now["test"]["brier"]["value"] = 0.2000001
    del now["baselines"]
    verdicts = compare_metrics(before, now).set_index("metric")["verdict"]
    assert verdicts["test/auroc"] == INSIDE
    different = ["test/ece", "test/f1", "test/brier", "baselines/majority/auroc"]
    assert verdicts[different].tolist() == [DIFFERENT] * 4
    lines = summarize_agreement(compare_metrics(before, now))
    assert lines[0] == "0 equal, 1 inside the interval, 4 different."
    assert any(line.startswith("  test/auroc: 0.7 [0.5, 0.9] → 0.89") for line in lines)


def test_what_has_no_interval_is_listed_by_its_key():
    before = {"monitor": {"epoch": 3, "best": 0.5}, "test": {"auroc": entry(0.7)}}
    assert other_changes(before, {**before, "test": {"auroc": entry(0.1)}}) == []
    assert other_changes(before, {"monitor": {"epoch": 4, "best": 0.5}}) == ["monitor.epoch: 3 → 4"]


@pytest.mark.parametrize("family", ["autoencoder", "gan"])
def test_a_run_of_an_earlier_version_is_verified_without_hashes(family, tmp_path):
    run = RunFolder(shutil.copytree(STORED / family / "finished", tmp_path / "run"))
    checkpoint = load_checkpoint(run.best)
    checkpoint["config"] = run.config  # the stored config is without the callback that had stopped the run
    found = verify(run, checkpoint)
    assert found.problems == []
    assert found.numbers >= 4
    assert any("hashes.json is missing" in note for note in found.notes)
    table = pd.read_csv(run.predictions / "test.csv", dtype=str)
    column = "recalled" if family == "gan" else "psnr"
    table.loc[0, column] = "1" if family == "gan" else "99.5"
    table.to_csv(run.predictions / "test.csv", index=False)
    assert any(problem.startswith("test.") for problem in verify(run, checkpoint).problems)


def test_a_run_that_is_not_done_is_refused(tmp_path, vesalius_in):
    shutil.copytree(STORED / "cnn/interrupted", tmp_path / "run")
    for verb in ("verify", "rerun"):
        done = vesalius_in(tmp_path, verb, "run=run")
        assert done.returncode == 2, done.stderr
        assert "run is interrupted" in done.stderr


def test_what_is_no_run_is_named_with_what_to_do(tmp_path, vesalius_in):
    for name, file in (("several", "ensemble.json"), ("bundle", "manifest.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("{}")
        (tmp_path / name / file).write_text("{}")
        for verb in ("rerun", "report"):
            done = vesalius_in(tmp_path, verb, f"run={name}")
            assert done.returncode == 2, done.stderr
            assert f"and vesalius {verb} takes a run" in done.stderr
    done = vesalius_in(tmp_path, "verify")
    assert done.returncode == 2
    assert "either run=DIR or bundle=DIR" in done.stderr
    done = vesalius_in(tmp_path, "ensemble", "runs=several", "out=bundle")
    assert done.returncode == 2
    assert "bundle exists already: name another folder with out=FOLDER" in done.stderr


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def trained(request, tmp_path_factory, vesalius_in) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    overrides = [one for one in COMMON if "baselines" not in one]
    done = vesalius_in(place, "train", *overrides, *FAMILIES[request.param], "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.slow
def test_verify_fails_for_one_changed_character(trained, vesalius_in):
    done = vesalius_in(trained, "verify", "run=run")
    assert done.returncode == 0, done.stderr
    assert "all equal. No file of hashes.json was changed." in done.stdout
    assert "not signed" not in done.stdout
    for name in ("predictions/test.csv", "split.csv", "config.yaml"):
        path = trained / "run" / name
        text = path.read_text()
        at = max(at for at, letter in enumerate(text) if letter.isdigit())
        path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        changed = vesalius_in(trained, "verify", "run=run")
        assert changed.returncode == 1, (name, changed.stdout)
        assert f"{name} was changed after the run had ended." in changed.stderr
        assert "Traceback" not in changed.stderr
        path.write_text(text)
    assert vesalius_in(trained, "verify", "run=run").returncode == 0


@pytest.mark.slow
def test_a_rerun_reaches_every_number_again(trained, vesalius_in):
    done = vesalius_in(trained, "rerun", "run=run")
    assert done.returncode == 0, done.stdout + done.stderr
    (table,) = trained.glob("run/reruns/*/agreement.csv")
    assert set(pd.read_csv(table)["verdict"]) == {EQUAL}
    again = table.parent / "run"
    assert (again / "predictions/test.csv").read_bytes() == (trained / "run/predictions/test.csv").read_bytes()
    metrics = json.loads((trained / "run/metrics.json").read_text())
    name = next(name for name, one in metrics["test"].items() if one["value"] is not None and one["ci95"])
    metrics["test"][name]["value"] = metrics["test"][name]["ci95"][1] + 100
    metrics["test"][name]["ci95"] = None
    (trained / "run/metrics.json").write_text(json.dumps(metrics))
    changed = vesalius_in(trained, "rerun", "run=run")
    assert changed.returncode == 1
    assert f"test/{name}" in changed.stdout
    assert "1 different" in changed.stdout
