"""Arms compared: the numbers, which arm is compared with which, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from run_maker import CLASSES, predictions, rewrite_run, write_baseline, write_run
from vesalius.config.errors import InputError
from vesalius.figures.comparison import comparison_figure
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.runs.arms import arms_by
from vesalius.runs.find import find_finished
from vesalius.studies.compare import compare

SEEDS = (0, 1, 2)


def compared(folder, by="init_from", **options):
    runs, _ = find_finished([str(folder)])
    return compare(arms_by(runs, by, single="baselines" in options), by=by, **{"metric": "auroc", **options})


def auroc(table):
    return roc_auc_score(table["target"], table["prob/sick"])


def two_arms(folder, weak=0.8, strong=2.5, seeds=SEEDS):
    """Folders of a weak arm `none` and a strong one `ae`, a run a seed each."""
    return [
        write_run(folder / f"{at}{seed}", predictions(quality, seed), seed=seed, init_from=start)
        for at, (quality, start) in enumerate([(weak, None), (strong, "ae")])
        for seed in seeds
    ]


def test_an_arm_is_the_mean_over_its_runs_and_a_difference_the_arm_minus_the_reference(tmp_path):
    two_arms(tmp_path)
    content = compared(tmp_path)
    assert list(content["arms"]) == ["none", "ae"]
    assert (content["reference"], content["seeds"], content["differ"]) == ("none", [0, 1, 2], [])
    means = {}
    for name, quality in {"none": 0.8, "ae": 2.5}.items():
        tables = [predictions(quality, seed) for seed in SEEDS]
        means[name] = np.mean([roc_auc_score(table["target"], table["prob/sick"]) for table in tables])
        assert content["arms"][name]["auroc"]["value"] == pytest.approx(means[name])
    assert "auroc_difference" not in content["arms"]["none"]
    ae = content["arms"]["ae"]
    assert ae["auroc_difference"]["value"] == pytest.approx(means["ae"] - means["none"])
    assert ae["auroc_difference"]["ci95"][0] > 0
    assert ae["against"] == "none"
    assert "ae" in ae["verdict"]
    assert "none" in ae["verdict"]
    json.dumps(content, allow_nan=False)


def test_another_reference_turns_the_difference_round(tmp_path):
    two_arms(tmp_path)
    one, other = compared(tmp_path), compared(tmp_path, reference="ae")
    forth, back = one["arms"]["ae"]["auroc_difference"], other["arms"]["none"]["auroc_difference"]
    assert back["value"] == pytest.approx(-forth["value"])
    assert back["ci95"] == pytest.approx([-forth["ci95"][1], -forth["ci95"][0]])


def test_one_run_an_arm_is_the_paired_difference_of_two_models(tmp_path):
    two_arms(tmp_path, weak=1.0, strong=1.3, seeds=(4,))
    found = compared(tmp_path)["arms"]["ae"]["auroc_difference"]
    expected = paired_difference(
        predictions(1.3, 4), predictions(1.0, 4), metric="auroc", task="binary", classes=CLASSES
    )
    assert found["value"] == pytest.approx(expected["value"])
    assert found["ci95"] == pytest.approx(expected["ci95"])


def test_runs_are_paired_by_seed_whatever_the_order_of_their_rows_and_folders(tmp_path):
    two_arms(tmp_path / "tidy")
    for at, seed in enumerate(reversed(SEEDS)):
        table = predictions(0.8, seed).sample(frac=1, random_state=seed)
        write_run(tmp_path / "mixed" / f"0{at}", table, seed=seed)
        write_run(tmp_path / "mixed" / f"1{seed}", predictions(2.5, seed), seed=seed, init_from="ae")
    tidy, mixed = (compared(tmp_path / name)["arms"]["ae"] for name in ("tidy", "mixed"))
    assert mixed["auroc"]["ci95"] == pytest.approx(tidy["auroc"]["ci95"])
    assert mixed["auroc_difference"]["ci95"] == pytest.approx(tidy["auroc_difference"]["ci95"])


def test_a_baseline_that_all_arms_share_is_one_arm_against_the_reference(tmp_path):
    for run in two_arms(tmp_path):
        write_baseline(run, "logistic_pca", predictions(1.2, 9))
    content = compared(tmp_path, baselines=["logistic_pca"])
    assert list(content["arms"]) == ["none", "ae", "logistic_pca"]
    expected = roc_auc_score(predictions(1.2, 9)["target"], predictions(1.2, 9)["prob/sick"])
    assert content["arms"]["logistic_pca"]["auroc"]["value"] == pytest.approx(expected)
    assert content["arms"]["logistic_pca"]["against"] == "none"
    turned = compared(tmp_path, baselines=["logistic_pca"], reference="logistic_pca")
    assert {name: arm.get("against") for name, arm in turned["arms"].items()} == {
        "none": "logistic_pca",
        "ae": "logistic_pca",
        "logistic_pca": None,
    }


def test_a_baseline_that_differs_between_arms_is_held_against_its_own(tmp_path):
    for at, run in enumerate(two_arms(tmp_path)):
        write_baseline(run, "pca", predictions(1.0 if at < 3 else 1.5, 9))
    arms = compared(tmp_path, baselines=["pca"])["arms"]
    assert {name: arm.get("against") for name, arm in arms.items()} == {
        "none": None,
        "ae": "none",
        "pca of none": "none",
        "pca of ae": "ae",
    }
    expected = (
        roc_auc_score(predictions(1.5, 9)["target"], predictions(1.5, 9)["prob/sick"]) - arms["ae"]["auroc"]["value"]
    )
    assert arms["pca of ae"]["auroc_difference"]["value"] == pytest.approx(expected)


def test_one_arm_is_compared_with_its_baselines(tmp_path):
    pixels = {seed: predictions(1.0, 10 + seed) for seed in SEEDS}
    for seed in SEEDS:
        run = write_run(tmp_path / str(seed), predictions(2.5, seed), seed=seed)
        write_baseline(run, "pixels", pixels[seed])
    arms = compared(tmp_path, None, baselines=["pixels"], reference="pixels")["arms"]
    assert {name: arm.get("against") for name, arm in arms.items()} == {"model": "pixels", "pixels": None}
    gains = [auroc(predictions(2.5, seed)) - auroc(pixels[seed]) for seed in SEEDS]
    difference = arms["model"]["auroc_difference"]
    assert difference["value"] == pytest.approx(np.mean(gains))
    two = [tmp_path / "two" / f"{at}{seed}" for at in (0, 1) for seed in SEEDS]  # the same numbers as two arms of runs
    for at, path in enumerate(two):
        table = pixels[at] if at < 3 else predictions(2.5, at - 3)
        write_run(path, table, seed=at % 3, init_from=None if at < 3 else "ae")
    other = compared(tmp_path / "two")["arms"]["ae"]["auroc_difference"]
    assert difference["ci95"] == pytest.approx(other["ci95"])


def test_each_arm_is_compared_with_its_own_baseline(tmp_path):
    for at, run in enumerate(two_arms(tmp_path)):
        write_baseline(run, "pca", predictions(0.5 + 0.5 * (at >= 3), 10 + at))
        write_baseline(run, "pixels", predictions(0.2 + 0.5 * (at >= 3), 20 + at))
    content = compared(tmp_path, baselines=["pca", "pixels"], reference="pca")
    arms = content["arms"]
    assert {name: arm.get("against") for name, arm in arms.items()} == {
        "none": "pca of none",
        "ae": "pca of ae",
        "pca of none": None,
        "pca of ae": None,
        "pixels of none": "pca of none",
        "pixels of ae": "pca of ae",
    }
    gains = [auroc(predictions(2.5, seed)) - auroc(predictions(1.0, 13 + seed)) for seed in SEEDS]
    assert arms["ae"]["auroc_difference"]["value"] == pytest.approx(np.mean(gains))
    assert any("the 4 differences" in note for note in content["notes"])


def test_seeds_may_have_test_patients_of_their_own(tmp_path):
    gains = []
    for seed in SEEDS:
        tables = [predictions(quality, seed, first=10 * seed) for quality in (1.0, 2.5)]
        for name, table in zip((None, "ae"), tables, strict=True):
            write_run(tmp_path / f"{name}{seed}", table, seed=seed, init_from=name)
        gains.append(auroc(tables[1]) - auroc(tables[0]))
    content = compared(tmp_path, reference="none")
    difference = content["arms"]["ae"]["auroc_difference"]
    assert difference["value"] == pytest.approx(np.mean(gains))
    assert difference["ci95"][1] - difference["ci95"][0] > 2 * 4.3 * np.std(gains, ddof=1) / np.sqrt(3) - 1e-9
    assert any("test patients of its own" in note for note in content["notes"])
    two_arms(tmp_path / "alike")
    assert not any("test patients of its own" in note for note in compared(tmp_path / "alike")["notes"])


@pytest.mark.parametrize(("by", "words"), [(None, "by=null: there is one arm only"), ("init_from", "all runs have")])
def test_one_arm_without_baselines_is_refused(tmp_path, by, words):
    write_run(tmp_path / "0", predictions(1.0, 0))
    with pytest.raises(InputError, match=words):
        compared(tmp_path, by)


def test_a_baseline_that_was_not_kept_is_refused(tmp_path):
    runs = two_arms(tmp_path)
    with pytest.raises(InputError, match="no run has kept predictions of its baselines"):
        compared(tmp_path, baselines=["logistic_pca"])
    write_baseline(runs[0], "logistic_pca", predictions(1.2, 9))
    with pytest.raises(InputError, match=f"every arm has runs without logistic_pca .{len(runs) - 1} of {len(runs)}"):
        compared(tmp_path, baselines=["logistic_pca"])
    for run in runs[1:]:
        write_baseline(run, "logistic_pca", predictions(1.2, 9))
    with pytest.raises(InputError, match="Did you mean 'logistic_pca'"):
        compared(tmp_path, baselines=["logistic_pcs"])


def test_other_test_samples_are_refused_by_name(tmp_path):
    two_arms(tmp_path, seeds=(0,))
    write_run(tmp_path / "z0", predictions(1.0, 1), seed=1)
    write_run(tmp_path / "z1", predictions(1.0, 1, first=1), seed=1, init_from="ae")
    with pytest.raises(InputError, match=r"/z0 and .*/z1 were not tested on the same samples.*data\.split_file"):
        compared(tmp_path)


@pytest.mark.parametrize("column", ["group_id", "target"])
def test_other_patients_or_truths_of_the_same_samples_are_refused(tmp_path, column):
    write_run(tmp_path / "a", predictions(1.0, 0))
    table = predictions(1.0, 1)
    table[column] = table[column].to_numpy()[::-1]
    write_run(tmp_path / "b", table, init_from="ae")
    with pytest.raises(InputError, match="not tested on the same samples, patients and targets"):
        compared(tmp_path)


def test_a_patient_may_be_called_na(tmp_path):
    for name, start in (("a", None), ("b", "ae")):
        table = predictions(1.0, 0)
        table["group_id"] = table["group_id"].replace({"007": "NA", "008": "nan"})
        write_run(tmp_path / name, table, init_from=start)
    assert compared(tmp_path)["arms"]["ae"]["auroc"]["groups"] == 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "auroch"}, "Did you mean 'auroc'"),
        ({"reference": "an"}, "there is no such arm"),
    ],
)
def test_what_is_misspelt_is_named(tmp_path, options, words):
    two_arms(tmp_path, seeds=(0,))
    with pytest.raises(InputError, match=words):
        compared(tmp_path, **options)


def test_other_tasks_and_other_classes_are_refused(tmp_path):
    two_arms(tmp_path, seeds=(0,))
    table = predictions(1.0, 0).rename(columns={"prob/sick": "prob/ill"})
    table.to_csv(tmp_path / "10" / "predictions" / "test.csv", index=False)
    with pytest.raises(InputError, match="predict different classes"):
        compared(tmp_path)
    path = tmp_path / "10" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task": "regression"}))
    with pytest.raises(InputError, match="different tasks"):
        compared(tmp_path)


def test_the_figure_draws_what_was_found(tmp_path):
    for run in two_arms(tmp_path):
        write_baseline(run, "logistic_pca", predictions(1.2, 9))
    arms = compared(tmp_path, baselines=["logistic_pca"])["arms"]
    left, right = comparison_figure(arms, "auroc").axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        f"{name}  (runs: 3)" for name in ("none", "ae", "logistic_pca")
    ]
    dots = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    assert dots == [arm["auroc"]["value"] for arm in arms.values()]
    spans = [tuple(np.ravel(part.get_segments()[0])[[0, 2]]) for part in right.collections]
    assert spans == [pytest.approx(arm["auroc_difference"]["ci95"]) for arm in arms.values() if "against" in arm]
    arms["ae"]["auroc_difference"] |= {"value": None, "ci95": None}
    assert len(comparison_figure(arms, "auroc").axes[1].collections) == 1


def people(count=40):
    return pd.DataFrame({"sample_id": [f"s{k}" for k in range(count)], "group_id": [f"g{k}" for k in range(count)]})


def test_quantities_are_compared_by_their_error(tmp_path):
    random, truth = np.random.default_rng(0), np.arange(40) / 10
    for at, (spread, start) in enumerate([(1.0, None), (0.1, "ae")]):
        run = write_run(tmp_path / str(at), predictions(1.0, 0), init_from=start)
        table = people().assign(**{"target/age": truth, "pred/age": truth + random.normal(0, spread, 40)})
        rewrite_run(run, table, "regression", 1.1)
    content = compared(tmp_path, metric="mae")["arms"]["ae"]
    assert content["mae_difference"]["ci95"][1] < 0
    assert content["mae"]["no_skill"] == 1.1


def test_reconstructions_are_compared_with_the_baseline_of_their_own_size(tmp_path):
    random, quality = np.random.default_rng(0), {}
    for size in (8, 16):
        for seed in (0, 1):
            run = write_run(tmp_path / f"{size:02}_{seed}", predictions(1.0, 0), seed=seed, model__latent_dim=size)
            table = people().assign(psnr=20 + size / 4 + random.normal(size=40), ssim=0.8, mse=0.01, target=0)
            rewrite_run(run, table, "reconstruction", 15.0 + seed)
            jitter = 0.1 * (-1.0) ** np.arange(40)  # a difference without spread has no interval
            write_baseline(run, "pca", table.assign(psnr=table["psnr"] - size / 8 + jitter))
            quality[size] = quality.get(size, 0) + table["psnr"].mean() / 2
    arms = compared(tmp_path, by="model.latent_dim", metric="psnr", baselines=["pca"])["arms"]
    assert {name: arm.get("against") for name, arm in arms.items()} == {
        "8": None,
        "16": "8",
        "pca of 8": "8",
        "pca of 16": "16",
    }
    for size in (8, 16):
        assert arms[str(size)]["psnr"]["value"] == pytest.approx(quality[size])
        assert arms[f"pca of {size}"]["psnr_difference"]["value"] == pytest.approx(-size / 8)
        assert arms[f"pca of {size}"]["psnr"]["no_skill"] == 15.5


def test_notes_name_what_else_differs_and_how_classes_are_decided(tmp_path):
    two_arms(tmp_path, seeds=(0,))
    run = write_run(tmp_path / "z", predictions(1.0, 0), init_from="other", model__lr=3)
    decided = json.loads((run / "metrics.json").read_text()) | {"decision": {"rule": "youden", "threshold": 0.3}}
    (run / "metrics.json").write_text(json.dumps(decided))
    content = compared(tmp_path, metric="accuracy")
    assert content["differ"] == ["model.lr"]
    assert "model.lr" in content["notes"][0]
    assert "argmax" in content["notes"][1]
    assert content["notes"][1].endswith("/z.")
    assert "2 differences are widened" in content["notes"][2]
    assert len(compared(tmp_path)["notes"]) == 2  # AUROC decides nothing


def test_a_baseline_decides_by_the_threshold_in_its_table(tmp_path):
    table, thresholds = predictions(1.2, 9), {None: 0.1, "ae": 0.9}
    for run, threshold in zip(two_arms(tmp_path, seeds=(0,)), thresholds.values(), strict=True):
        write_baseline(run, "logistic_pca", table.assign(threshold=threshold))
    arms = compared(tmp_path, metric="balanced_accuracy", baselines=["logistic_pca"])["arms"]
    # Equal predictions, but other decisions: not one baseline that both arms share.
    for name, threshold in thresholds.items():
        expected = balanced_accuracy_score(table["target"], table["prob/sick"] > threshold)
        assert expected < balanced_accuracy_score(table["target"], table["prob/sick"] > 0.5)
        difference = arms[f"logistic_pca of {name or 'none'}"]["balanced_accuracy_difference"]["value"]
        assert difference == pytest.approx(expected - arms[name or "none"]["balanced_accuracy"]["value"])


def test_arms_of_a_cross_validation_are_compared_fold_by_fold(tmp_path):
    values: dict[str, list[float]] = {"none": [], "ae": []}
    for at, (name, quality) in enumerate({"none": 0.5, "ae": 2.5}.items()):
        for fold, offset in enumerate((-2.0, 0.0, 2.0)):
            table = predictions(quality, fold, patients=24, first=24 * fold)
            values[name].append(roc_auc_score(table["target"], table["prob/sick"]))
            sick = 1 / (1 + (1 / table["prob/sick"] - 1) * np.exp(-offset * (1 - 2 * at)))
            table = table.assign(**{"prob/sick": sick, "prob/healthy": 1 - sick})
            write_run(tmp_path / f"{at}{fold}", table, data__fold=fold, init_from=None if name == "none" else name)
    content = compared(tmp_path)
    assert (content["seeds"], content["folds"], content["differ"]) == ([0], [0, 1, 2], [])
    for name in values:
        assert content["arms"][name]["auroc"]["value"] == pytest.approx(np.mean(values[name]))
        assert content["arms"][name]["auroc"]["groups"] == 72
    difference = content["arms"]["ae"]["auroc_difference"]
    assert difference["value"] == pytest.approx(np.mean(values["ae"]) - np.mean(values["none"]))
    assert "3 folds" in difference["method"]
    with pytest.raises(InputError, match=r"by=data\.fold: runs of one arm differ by their fold"):
        compared(tmp_path, by="data.fold")
    for file in (tmp_path / "12").rglob("*.*"):
        file.unlink()
    with pytest.raises(InputError, match="ae has no run of seed 0, fold 2"):
        compared(tmp_path)
