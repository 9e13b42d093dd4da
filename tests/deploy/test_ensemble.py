"""Runs as one model: the mean of what each predicts, with numbers of its own, in a folder that needs nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import vesalius
from run_maker import predictions as drawn
from vesalius.commands.ensemble import ensemble
from vesalius.commands.evaluate import evaluate
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.sources.lesions import Lesions
from vesalius.deploy.contract import InputContract
from vesalius.deploy.ensemble.evaluate import evaluate_ensemble
from vesalius.deploy.ensemble.folder import EnsembleFolder
from vesalius.deploy.ensemble.members import Member
from vesalius.deploy.ensemble.predictions import pool
from vesalius.deploy.ensemble.verify import verify_ensemble
from vesalius.evaluation.decision import DecisionOptions
from vesalius.metrics.classification.decision_rule import DecisionRule
from vesalius.metrics.decision.scaling import Calibration
from vesalius.runs.run import Run
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint

STORED = Path(__file__).parents[1] / "stored_runs"
FACTS = Facts("binary", ("healthy", "sick"), 1, (8, 8), 255.0, (50, 50), 100, (0.5,), (0.2,))
OPTIONS = DecisionOptions("youden")
PROBABILITIES = ["prob/healthy", "prob/sick"]


def predictions(quality: float, seed: int, **options: int) -> pd.DataFrame:
    """As `run_maker.predictions`, a sample called the same wherever its patient is drawn."""
    table = drawn(quality, seed, **options)
    number = table.groupby("group_id").cumcount()
    return table.assign(sample_id=table["group_id"] + "_" + number.astype(str))


def member_of(path: Path, val: pd.DataFrame, test: pd.DataFrame, slope: float = 1.0) -> Member:
    """A member with these predictions, whose calibration multiplies logits by `slope`."""
    folder = path / "predictions"
    folder.mkdir(parents=True)
    (path / "config.yaml").write_text("{}")
    val.to_csv(folder / "val.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    source = {"_target_": "vesalius.data.sources.Lesions"}
    rule = DecisionRule("binary", FACTS.classes, np.nan, Calibration("temperature", (slope,)))
    return Member(
        Run(path.name, RunFolder(path), {}, {}, "done"),
        FACTS,
        InputContract.of_run({"source": source}, FACTS, None),
        rule,
    )


def calibrated(table: pd.DataFrame, slope: float) -> np.ndarray:
    powers = table[PROBABILITIES].to_numpy() ** slope
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_numbers_are_those_of_the_mean_of_calibrated_probabilities(tmp_path) -> None:
    vals = [predictions(1.0, seed, first=40) for seed in (0, 1, 2)]
    tests = [predictions(1.0, seed + 5) for seed in (0, 1, 2)]
    slopes = (0.5, 1.0, 2.0)
    members = [
        member_of(tmp_path / str(at), val, test.sample(frac=1, random_state=at), slope)
        for at, (val, test, slope) in enumerate(zip(vals, tests, slopes, strict=True))
    ]
    metrics, tables = evaluate_ensemble(members, OPTIONS)
    mean = np.mean([calibrated(test, slope) for test, slope in zip(tests, slopes, strict=True)], axis=0)
    assert tables["test"]["sample_id"].tolist() == tests[0]["sample_id"].tolist()
    np.testing.assert_allclose(tables["test"][PROBABILITIES], mean)
    truth = tests[0]["target"]
    assert metrics["test"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, mean[:, 1]))
    for at, (test, slope) in enumerate(zip(tests, slopes, strict=True)):
        own, entries = calibrated(test, slope), metrics["members"][str(at)]
        assert entries["brier"]["value"] == pytest.approx(((own - np.eye(2)[truth]) ** 2).sum(axis=1).mean())
        difference = metrics["ensemble"]["auroc"]["value"] - entries["auroc"]["value"]
        assert entries["auroc_difference"]["value"] == pytest.approx(difference)
        assert entries["auroc_difference"]["ci95"] is not None
    singles = [metrics["members"][name]["auroc"]["value"] for name in "012"]
    assert metrics["members_mean"]["auroc"]["value"] == pytest.approx(np.mean(singles))
    assert metrics["members_mean"]["auroc_difference"]["value"] > 0  # independent errors cancel
    assert "out_of_fold" not in metrics
    assert {"val", "calibration", "conformal", "decision"} <= metrics.keys()


def test_folds_are_pooled_without_predictions_of_samples_that_were_learned_from(tmp_path) -> None:
    test = predictions(1.0, 3)
    parts = [predictions(1.0, seed, first=40 + 20 * seed, patients=20) for seed in (0, 1)]
    members = [member_of(tmp_path / str(at), part, test) for at, part in enumerate(parts)]
    val = pool(members, "val")
    assert not val.whole
    assert pool(members, "test").whole
    own = pd.concat(parts).sort_values("sample_id")
    np.testing.assert_allclose(val.own[PROBABILITIES], own[PROBABILITIES])
    assert val.table.groupby("group_id")["fold"].nunique().eq(1).all()
    assert val.table["fold"].nunique() == 2
    metrics, tables = evaluate_ensemble(members, OPTIONS)
    assert set(tables) == {"test", "out_of_fold"}
    assert "val" not in metrics
    of_folds = [roc_auc_score(part["target"], part["prob/sick"]) for part in parts]
    assert metrics["out_of_fold"]["auroc"]["value"] == pytest.approx(np.mean(of_folds))


def test_without_a_common_test_split_there_is_no_number_of_the_ensemble(tmp_path) -> None:
    members = [
        member_of(tmp_path / str(seed), predictions(1.0, 9, first=80), predictions(1.0, seed, first=20 * seed))
        for seed in (0, 1)
    ]
    metrics, tables = evaluate_ensemble(members, OPTIONS)
    assert metrics["test"] == {}
    assert "ensemble" not in metrics
    assert "test" not in tables
    # patients 20 to 39 were tested by both: their prediction is the mean, and counts once
    assert len(tables["out_of_fold"]) == 2 * 60
    assert metrics["out_of_fold"]["brier"]["groups"] == 60
    changed = predictions(1.0, 1, first=20)
    changed["target"] = 1 - changed["target"]
    members = [members[0], member_of(tmp_path / "changed", predictions(1.0, 9, first=80), changed)]
    with pytest.raises(InputError, match="other patients or targets"):
        evaluate_ensemble(members, OPTIONS)


def write_member(path: Path, shift: float) -> Path:
    """A copy of a stored run whose weights and predictions are its own."""
    shutil.copytree(STORED / "cnn" / "finished", path)
    checkpoint = load_checkpoint(path / "checkpoints" / "best.ckpt")
    generator = torch.Generator().manual_seed(round(100 * shift))
    for name, value in checkpoint["state_dict"].items():
        if value.is_floating_point() and "running" not in name:
            checkpoint["state_dict"][name] = value + shift * torch.randn(value.shape, generator=generator)
    torch.save(checkpoint, path / "checkpoints" / "best.ckpt")
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["calibration"] = {"method": "temperature", "temperature": 1 + 10 * shift}
    (path / "metrics.json").write_text(json.dumps(metrics))
    return path


def create(path: Path, runs: list[Path]) -> Path:
    overrides = [f"runs=[{','.join(map(str, runs))}]", f"out={path}"]
    RunFolder.create(path, load_config("ensemble", overrides), overrides)
    ensemble(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """An ensemble of three members, in the place where they were not, and the members."""
    place = tmp_path_factory.mktemp("ensemble")
    runs = [write_member(place / f"run{at}", 0.05 * at) for at in range(3)]
    created = create(place / "created", runs)
    return created.rename(place / "moved"), runs


def test_a_loaded_ensemble_predicts_the_mean_of_its_loaded_members(folder) -> None:
    path, runs = folder
    pixels = list(np.random.default_rng(0).integers(0, 256, (9, 1, 28, 28), dtype=np.uint8))
    model = vesalius.load(path)
    columns = [f"prob/{name}" for name in model.facts.classes]
    members = [vesalius.load(run).predict(pixels)[columns].to_numpy() for run in runs]
    mean = np.mean(members, axis=0)
    assert np.ptp(members, axis=0).max() > 0.01
    np.testing.assert_allclose(model.predict(pixels)[columns], model.rule.calibrate(mean), atol=1e-7)
    images = torch.from_numpy(np.stack(pixels))
    with torch.inference_mode():
        output = model.module.predict_step({"image": images, "index": torch.arange(len(images))})
    np.testing.assert_allclose(output["probabilities"], mean, atol=1e-6)


def test_an_ensemble_is_evaluated_on_other_patients(folder, tmp_path) -> None:
    path, runs = folder
    overrides = [f"run={path}", "data=lesions", "data.source.patients=16", "data.source.seed=7"]
    overrides += ["data.source.image_size=28", "data.source.slices=1"]
    place = RunFolder.create(tmp_path / "evaluation", load_config("evaluate", overrides), overrides).path
    evaluate(place)
    found = pd.read_csv(place / "predictions" / "test.csv")
    columns = [name for name in found if name.startswith("prob/")]
    source = Lesions(patients=16, seed=7, image_size=28, slices=1)
    pixels = [source.load(row) for row in source.samples().to_dict("records")]
    members = [vesalius.load(run).predict(pixels)[columns].to_numpy() for run in runs]
    np.testing.assert_allclose(found[columns], np.mean(members, axis=0), atol=1e-6)
    alone = [f"run={path}"]
    place = RunFolder.create(tmp_path / "own", load_config("evaluate", alone), alone).path
    with pytest.raises(InputError, match="is an ensemble"):
        evaluate(place)


def test_an_ensemble_is_verified_by_its_hashes_and_its_numbers(folder, tmp_path) -> None:
    path, _ = folder
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    found = verify_ensemble(copy)
    assert found.problems == []
    assert found.numbers > 50
    assert any("members" in note for note in found.notes)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["calibration"]["temperature"] += 0.1
    (copy / "metrics.json").write_text(json.dumps(metrics))
    problems = verify_ensemble(copy).problems
    assert "metrics.json was changed after the run had ended." in problems
    assert any(one.startswith("calibration.temperature is") for one in problems)
    shutil.copyfile(path / "metrics.json", copy / "metrics.json")
    table = pd.read_csv(copy / "predictions" / "test.csv", dtype=str)
    table.loc[0, "target"] = "1" if table.loc[0, "target"] == "0" else "0"
    table.to_csv(copy / "predictions" / "test.csv", index=False)
    assert any(one.startswith("test.") for one in verify_ensemble(copy).problems)


def test_a_changed_member_and_a_newer_schema_are_refused(folder, tmp_path) -> None:
    path, _ = folder
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    content = json.loads((copy / "ensemble.json").read_text())
    assert [member["name"].split("/")[-1] for member in content["members"]] == ["run0", "run1", "run2"]
    assert str(path.parent) not in (copy / "ensemble.json").read_text()
    metrics = copy / "members" / "1" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"temperature": 1.5', '"temperature": 2.5'))
    with pytest.raises(InputError, match=r"members/1/metrics.json is not the file"):
        vesalius.load(copy)
    (copy / "members" / "1" / "metrics.json").unlink()
    with pytest.raises(InputError, match="is missing"):
        EnsembleFolder(copy)
    for text, message in (
        (json.dumps({**content, "schema": 9}), "schema 9"),
        (json.dumps({"schema": 1, "members": ["../../elsewhere", "/etc"]}), "damaged"),
        ("{", "damaged"),
    ):
        (copy / "ensemble.json").write_text(text)
        with pytest.raises(InputError, match=message):
            EnsembleFolder(copy)


def test_runs_that_do_not_go_together_are_named_with_what_differs(tmp_path) -> None:
    cnn, lstm = STORED / "cnn" / "finished", STORED / "lstm" / "finished"
    with pytest.raises(InputError, match=r"(?s)differ in .*classes.*series"):
        create(tmp_path / "a", [cnn, lstm])
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="predicts neither classes nor"):
        create(tmp_path / "b", [cnn, STORED / "autoencoder" / "finished"])
    with pytest.raises(InputError, match="at least 2"):
        create(tmp_path / "c", [cnn])
