"""What a run's calibration, prediction sets and operating point are worth on fresh phantom patients (`make proof`)."""

import json

import numpy as np
import pandas as pd
import pytest

import vesalius
from small_runs import train_in
from vesalius.config.facts import Facts
from vesalius.data.sources.lesions import Lesions
from vesalius.deploy.inputs import ModelInput
from vesalius.evaluation.decision import DecisionOptions, fit_decision, score_decision, score_prior_shift
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.classification.thresholds import choose_threshold
from vesalius.metrics.decision.conformal import ConformalSets, fit_sets
from vesalius.metrics.decision.operating_point import rate_differences, rates_of
from vesalius.metrics.decision.prior_shift import shift_priors
from vesalius.metrics.decision.scaling import Calibration
from vesalius.metrics.formatting import format_metric
from vesalius.metrics.predictions import read_predictions
from vesalius.runs.run_folder import RunFolder

pytestmark = pytest.mark.proof

TRAINED = ["model=cnn_wide", "trainer=cpu", "logger=none", "evaluation.baselines=false"]
NEW = 0.25


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """As `vesalius train model=cnn_wide data.source.patients=240 trainer.max_epochs=10` trains it, on lesions."""
    overrides = [*TRAINED, "data.source.patients=240", "trainer.max_epochs=10"]
    return vesalius.load(train_in(tmp_path_factory.mktemp("run") / "lesions", overrides).path).backend


@pytest.fixture(scope="module")
def fresh(net) -> pd.DataFrame:
    """What the net predicts for 1,200 patients that it has never met, 4 slices each."""
    source = Lesions(patients=1200, slices=4, seed=77)
    samples = source.samples()
    images = [ModelInput(source.load(row)[None], None) for row in samples.to_dict("records")]
    values = np.concatenate([net.compute(images[at : at + 256]).values for at in range(0, len(images), 256)])
    columns = [f"prob/{name}" for name in net.facts.classes]
    return pd.concat([samples[["sample_id", "group_id", "target"]], pd.DataFrame(values, columns=columns)], axis=1)


def of_patients(table: pd.DataFrame, patients: np.ndarray, slices: int = 4) -> pd.DataFrame:
    """The first slices of some patients."""
    kept = table[table["group_id"].isin(patients)]
    return kept.groupby("group_id").head(slices).reset_index(drop=True)


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("slices", [1, 4])
def test_prediction_sets_cover_nine_in_ten_fresh_patients(slices, by_class, net, fresh):
    """Over 300 draws of 90 validation patients, as many as in the demo; all others are new ones."""
    rng, patients = np.random.default_rng(0), fresh["group_id"].unique()
    options = DecisionOptions("argmax", by_class=by_class)
    covered, plain = [], []
    for _ in range(300):
        val = rng.choice(patients, size=90, replace=False)
        table, test = of_patients(fresh, val, slices), of_patients(fresh, np.setdiff1d(patients, val), slices)
        fitted = fit_decision(table, net.facts, options, "argmax")
        p, q = (read_predictions(each, task="multiclass", classes=net.facts.classes) for each in (table, test))
        calibration, sets = Calibration.of_metrics(fitted, 4), ConformalSets.of_metrics(fitted, 4)
        calibrated = calibration.apply(q.probabilities)
        covered.append(sets.contains(calibrated)[q.truth].mean())
        as_if = fit_sets(p.truth, calibration.apply(p.probabilities), np.arange(len(p.groups)), 0.9)
        plain.append(as_if.contains(calibrated)[q.truth].mean())
    mean, error = np.mean(covered), np.std(covered) / np.sqrt(len(covered))
    print(
        f"\n{slices} slices, by class {by_class}: 90 % sets cover {mean:.4f} (standard error {error:.4f}) of fresh"
        f" patients, {np.std(covered):.3f} from one validation set to another; slices taken for patients"
        f" {np.mean(plain):.4f}"
    )
    assert 0.88 <= mean <= (0.92 if not by_class else 0.95)


def binary(table: pd.DataFrame) -> pd.DataFrame:
    """Healthy, or any finding."""
    sick = 1 - table["prob/healthy"]
    kept = table[["sample_id", "group_id"]].assign(target=(table["target"] > 0).astype(int))
    return kept.assign(**{"prob/healthy": 1 - sick, "prob/finding": sick})


def binary_facts(facts: Facts) -> Facts:
    return Facts.from_dict({**facts.to_dict(), "task": "binary", "classes": ["healthy", "finding"]})


def test_a_prevalence_shift_is_corrected(net, fresh):
    """Three in four validation patients have a finding, one in four of those where the model is used."""
    facts, rng = binary_facts(net.facts), np.random.default_rng(0)
    table = binary(fresh)
    sick = table.groupby("group_id")["target"].first()
    results = []
    for _ in range(20):
        order = rng.permutation(sick.index)
        val = of_patients(table, order[:300])
        rest = order[300:]
        finding, healthy = rest[sick[rest] == 1], rest[sick[rest] == 0]
        test = of_patients(table, np.r_[finding[:60], healthy[:180]])
        fitted = fit_decision(val, facts, DecisionOptions("argmax"), "argmax")
        metrics = score_decision(test, facts, fitted) | score_prior_shift(test, facts, fitted)
        p = read_predictions(test, task="binary", classes=facts.classes)
        calibrated = Calibration.of_metrics(fitted, 2).apply(p.probabilities)
        known = shift_priors(calibrated, fitted["calibration"]["priors"], [1 - NEW, NEW], multilabel=False)
        moved = test.assign(**dict(zip(["prob/healthy", "prob/finding"], known.T, strict=True)))
        given = classification_metrics(moved, task="binary", classes=facts.classes, names=["ece"])["ece"]["value"]
        entries = metrics["prior_shift"]
        results.append(
            (
                metrics["calibration"]["test"]["ece"]["value"],
                entries["test"]["ece"]["value"],
                given,
                entries["priors"]["finding"]["value"],
                float(np.diff(np.less_equal(entries["priors"]["finding"]["ci95"], NEW))[0]),
            )
        )
    before, after, given, share, held = np.mean(results, axis=0)
    halved = np.mean([each[1] < each[0] / 2 for each in results])
    print(
        f"\nece {before:.3f} under the shift, {after:.3f} corrected by an estimated share of {share:.3f} (truth {NEW};"
        f" its interval holds it in {held:.0%}), {given:.3f} by the known one; below half in {halved:.0%} of 20 draws"
    )
    assert after < before / 2
    assert given < before / 2


def test_a_sensitivity_that_validation_promised_is_within_the_interval_on_test(tmp_path):
    """Five seeds of phantoms and nets with two classes; 105 validation and 75 test patients."""
    held, again = [], []
    for seed in range(5):
        source = Lesions(patients=300, slices=4, seed=100 + seed, image_size=48)
        samples = source.samples()
        images = np.concatenate([source.load(row) for row in samples.to_dict("records")])
        patients, labels = samples["_patient"].to_numpy(), np.where(samples["target"] > 0, "finding", "healthy")
        np.savez(tmp_path / f"{seed}.npz", images=images, labels=labels, patients=patients)
        overrides = [*TRAINED, "data=npz", f"data.source.file={tmp_path / f'{seed}.npz'}", "data.source.group=patients"]
        overrides += ["data.source.classes=[healthy,finding]", "data.fractions=[0.4,0.35,0.25]", f"seed={seed}"]
        overrides += ["evaluation.decision=sensitivity@0.95", "trainer.max_epochs=8"]
        run: RunFolder = train_in(tmp_path / f"run{seed}", overrides)
        point = json.loads((run.path / "metrics.json").read_text())["operating_point"]
        test, difference = point["test"]["sensitivity"], point["difference"]["sensitivity"]
        held.append((holds(test, 0.95), holds(difference, 0.0)))
        again.append(divide_again(run, seed))
        print(
            f"\nseed {seed}: sensitivity {format_metric(test)} on {test['groups']} test patients with a finding"
            f" (validation {format_metric(point['val']['sensitivity'])}, difference {format_metric(difference)}),"
            f" specificity {format_metric(point['test']['specificity'])}; over other divisions of the patients"
            f" {again[-1][0]:.0%} of the intervals hold .95, {again[-1][1]:.0%} do not lie below it, and"
            f" {again[-1][2]:.0%} of the differences' hold 0; mean sensitivity {again[-1][3]:.3f}"
        )
    of_test, of_both = np.sum(held, axis=0)
    shares = np.mean(again, axis=0)
    print(
        f"the interval on test holds .95 in {of_test} of 5 ({shares[0]:.0%} of other divisions, {shares[1]:.0%} do not"
        f" lie below it), that of the difference 0 in {of_both} of 5 ({shares[2]:.0%});"
        f" mean sensitivity {shares[3]:.3f}"
    )
    assert of_both == 5
    assert shares[2] >= 0.93
    assert shares[0] >= 0.8
    assert shares[3] >= 0.95  # what conformal risk control promises


def holds(entry, value: float) -> bool:
    low, high = entry["ci95"]
    return bool(low <= value <= high)


def divide_again(run: RunFolder, seed: int, draws: int = 200) -> list[float]:
    """Over other divisions of a run's held-out patients: how often the interval on test holds .95, and does not lie
    below it; how often that of the difference holds 0; and the mean sensitivity on test."""
    kind: dict = {"task": "binary", "classes": ["healthy", "finding"], "names": ["recall", "specificity"]}
    rng, held = np.random.default_rng(seed), []
    whole = pd.concat([pd.read_csv(run.predictions / f"{split}.csv") for split in ("val", "test")])
    patients = whole["group_id"].unique()
    for _ in range(draws):
        val = rng.choice(patients, size=round(len(patients) * 0.35 / 0.6), replace=False)
        inside = whole["group_id"].isin(val)
        threshold = choose_threshold(whole[inside], "sensitivity@0.95")
        rates = [
            rates_of(classification_metrics(whole[part], decision=threshold, **kind), "finding")
            for part in (~inside, inside)
        ]
        differences = rate_differences(*rates)
        test = rates[0]["sensitivity"]
        held.append((holds(test, 0.95), test["ci95"][1] >= 0.95, holds(differences["sensitivity"], 0.0), test["value"]))
    return list(np.mean(held, axis=0))
