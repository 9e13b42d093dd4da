import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats as student
from sklearn import metrics as oracle

from vesalius.config.errors import InputError
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.metrics.names import REGRESSION_METRICS
from vesalius.metrics.regression import regression_metrics

NAMES = ["peak", "slope"]


def make_table(patients=40, per=3, *, seed=0, noise=0.5, names=NAMES):
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), random.integers(1, per + 1, patients))
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(len(groups))], "group_id": [f"p{g}" for g in groups]})
    for scale, name in enumerate(names, start=1):
        truth = 1e4 + scale * (random.standard_normal(patients)[groups] + random.standard_normal(len(groups)))
        table[f"target/{name}"] = truth
        table[f"pred/{name}"] = truth + noise * scale * random.standard_normal(len(groups))
    return table


def compute(table, names=NAMES, no_skill=(1e4, 1e4), **options):
    return regression_metrics(table, names=names, no_skill=no_skill, **options)


def difference(first, second, metric="mae"):
    return paired_difference(first, second, metric=metric, task="regression", classes=NAMES)


def test_values_are_scikit_learns():
    table, expected = make_table(), {}
    truth, predicted = (table[[f"{kind}/{name}" for name in NAMES]].to_numpy() for kind in ("target", "pred"))
    functions = {"mae": oracle.mean_absolute_error, "rmse": oracle.root_mean_squared_error, "r2": oracle.r2_score}
    for kind, function in functions.items():
        expected[kind] = function(truth, predicted)
        for name, value in zip(NAMES, function(truth, predicted, multioutput="raw_values"), strict=True):
            expected[f"{kind}/{name}"] = value
    found = compute(table)
    assert list(found) == [*REGRESSION_METRICS, *(f"{kind}/{name}" for name in NAMES for kind in REGRESSION_METRICS)]
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value), name


def test_no_skill_is_the_error_of_the_training_mean():
    table = make_table()
    found, constant = compute(table, no_skill=(1e4 + 1, 1e4 - 1)), np.full(len(table), 1e4 + 1)
    truth = table["target/peak"]
    assert found["mae/peak"]["no_skill"] == pytest.approx(oracle.mean_absolute_error(truth, constant))
    assert found["rmse/peak"]["no_skill"] == pytest.approx(oracle.root_mean_squared_error(truth, constant))
    assert found["r2/peak"]["no_skill"] == pytest.approx(oracle.r2_score(truth, constant))
    assert found["r2"]["no_skill"] <= 0


def test_every_number_has_its_interval_counts_and_method_and_is_plain():
    found = compute(make_table())
    assert json.loads(json.dumps(found)) == found
    for name, metric in found.items():
        low, high = metric["ci95"]
        assert low < metric["value"] < high, name
        assert (metric["groups"], metric["method"]) == (40, "cluster bootstrap")
        assert metric["n"] == len(make_table())


def test_the_order_of_rows_does_not_matter():
    table = make_table()
    shuffled = compute(table.sample(frac=1, random_state=1))
    for name, metric in compute(table).items():
        assert shuffled[name]["ci95"] == pytest.approx(metric["ci95"]), name


def test_more_samples_of_the_same_patients_are_no_more_evidence():
    table = make_table(per=1)
    copies = pd.concat([table.assign(sample_id=table["sample_id"] + f"_{copy}") for copy in range(5)])
    for name, metric in compute(table).items():
        assert compute(copies)[name]["ci95"] == pytest.approx(metric["ci95"]), name
    apart = copies.assign(group_id=copies["sample_id"])
    width = {key: np.ptp(compute(each)["mae"]["ci95"]) for key, each in (("tied", copies), ("apart", apart))}
    assert width["apart"] < 0.6 * width["tied"]


def test_perfect_predictions():
    found = compute(make_table(noise=0.0))
    assert (found["mae"]["value"], found["r2"]["value"]) == (0.0, 1.0)
    assert found["rmse"]["ci95"] == [0.0, 0.0]
    assert found["r2"]["ci95"] == [1.0, 1.0]


def test_what_cannot_be_computed_says_why():
    one = compute(make_table().assign(group_id="p"))
    assert all(metric["value"] is None and "one patient" in metric["reason"] for metric in one.values())
    found = compute(make_table().assign(**{"target/slope": 3.0}))
    assert "same slope" in found["r2/slope"]["reason"]
    assert "same slope" in found["r2"]["reason"]
    assert found["r2/peak"]["value"] is not None
    assert found["mae/slope"]["value"] is not None


def test_a_broken_table_is_refused_with_all_reasons():
    table = make_table()
    with pytest.raises(InputError, match="no column pred/slope"):
        compute(table.drop(columns="pred/slope"))
    with pytest.raises(InputError, match="no rows"):
        compute(table.iloc[:0])
    broken = table.assign(group_id=None)
    broken.loc[1, "pred/peak"], broken.loc[2, "sample_id"] = np.nan, "s0"
    with pytest.raises(InputError) as caught:
        compute(broken)
    for words in ("1 rows have no finite number in pred/peak", "'s0' appears twice", "have no group_id"):
        assert words in str(caught.value)


@pytest.mark.parametrize("errors", [[1.0, 1.0], [1.0, -1.0], [2.0, 2.0, -2.0]])
def test_errors_that_do_not_vary_between_patients_have_no_interval(errors):
    names = [f"p{k}" for k in range(len(errors))]
    table = pd.DataFrame({"sample_id": names, "group_id": names, "target/peak": np.arange(len(errors)) ** 2.0})
    table["pred/peak"] = table["target/peak"] + errors
    found = compute(table, ["peak"], [0.0])
    for name in ("mae", "rmse", "mae/peak"):
        assert (found[name]["value"], found[name]["ci95"], found[name]["method"]) == (None, None, "none")
        assert "same in all resamples" in found[name]["reason"]
    if len(errors) == 2:
        assert found["r2"]["value"] is None
        assert "2 patients only" in found["r2"]["reason"]


def test_r2_needs_three_patients():
    table = make_table(patients=3, per=1, names=["peak"])
    assert compute(table, ["peak"], [1e4])["r2"]["ci95"] is not None
    two = compute(table.iloc[:2], ["peak"], [1e4])
    assert two["r2"]["value"] is None
    assert two["mae"]["ci95"] is not None


def pair(patients=30, per=4):
    """A model's table, and one with errors twice as large; the same samples are hard for both."""
    model = make_table(patients, per, seed=3)
    other = model.copy()
    for name in NAMES:
        other[f"pred/{name}"] = model[f"target/{name}"] + 2 * (model[f"pred/{name}"] - model[f"target/{name}"])
    return model, other


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_paired_difference_is_that_of_a_bootstrap_written_out(metric):
    model, other = pair()
    function = {"mae": oracle.mean_absolute_error, "rmse": oracle.root_mean_squared_error}[metric]

    def error(table, rows=slice(None)):
        return function(*(values[rows] for values in table))

    model_values, other_values = (
        [table[[f"{kind}/{name}" for name in NAMES]].to_numpy() for kind in ("target", "pred")]
        for table in (model, other)
    )
    rows = model.groupby("group_id").indices
    random, names, drawn = np.random.default_rng(11), list(rows), []
    for _ in range(1500):
        chosen = np.concatenate([rows[name] for name in random.choice(names, len(names))])
        drawn.append(error(model_values, chosen) - error(other_values, chosen))
    found = difference(model, other.sample(frac=1, random_state=0), metric)
    assert found["value"] == pytest.approx(error(model_values) - error(other_values))
    assert found["value"] < 0  # the model errs less
    sizes = np.array([len(each) for each in rows.values()])
    patients = sizes.sum() ** 2 / (sizes**2).sum()
    half = student.t.ppf(0.975, patients - 1) * np.std(drawn, ddof=1) * np.sqrt(patients / (patients - 1))
    low, high = found["ci95"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (low + high) / 2 == pytest.approx(found["value"])
    assert (found["n"], found["groups"], found["no_skill"]) == (len(model), len(rows), 0.0)
    assert json.loads(json.dumps(found)) == found


def test_a_paired_difference_is_narrower_than_two_intervals_and_turns_its_sign():
    model, other = pair()
    there, back = (difference(a, b) for a, b in ((model, other), (other, model)))
    assert back["value"] == -there["value"]
    assert np.ptp(there["ci95"]) < np.ptp(compute(model)["mae"]["ci95"]) + np.ptp(compute(other)["mae"]["ci95"])
    same = difference(model, model)
    assert (same["value"], same["ci95"]) == (0.0, [0.0, 0.0])


def test_a_paired_difference_that_cannot_be_says_why():
    model, other = pair()
    single = difference(model.assign(group_id="p"), other.assign(group_id="p"))
    assert single["value"] is None
    assert "one patient" in single["reason"]
    shifted = [model.assign(**{f"pred/{n}": model[f"target/{n}"] + error for n in NAMES}) for error in (0.5, 1.0)]
    constant = difference(*shifted)
    assert (constant["value"], constant["ci95"]) == (None, None)
    assert "same in all resamples" in constant["reason"]
    with pytest.raises(InputError, match="differ in samples"):
        difference(model, other.iloc[1:])
    with pytest.raises(InputError, match="predictions table 2: no column pred/slope"):
        difference(model, other.drop(columns="pred/slope"))


@pytest.mark.proof
@pytest.mark.parametrize("patients", [20, 60])
@pytest.mark.parametrize("repeats", [1, 5])
def test_coverage(patients, repeats):
    """How often the interval holds the true value, of 600 simulated sets with normal errors."""
    hits, sets = dict.fromkeys(REGRESSION_METRICS, 0), 600
    for seed in range(sets):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(patients), random.integers(1, repeats + 1, patients))

        def tied(scale, random=random, groups=groups):  # correlation of 0.5 within a patient
            of_patient = random.standard_normal(patients)[groups]
            return scale * np.sqrt(0.5) * (of_patient + random.standard_normal(len(groups)))

        truth = tied(1.0)
        table = pd.DataFrame({"sample_id": range(len(groups)), "group_id": groups, "target/a": truth})
        found = compute(table.assign(**{"pred/a": truth + tied(0.5)}), ["a"], [0.0], seed=seed)
        true = {"mae": 0.5 * np.sqrt(2 / np.pi), "rmse": 0.5, "r2": 0.75}
        for kind in REGRESSION_METRICS:
            low, high = found[kind]["ci95"]
            hits[kind] += low <= true[kind] <= high
    shares = {kind: count / sets for kind, count in hits.items()}
    print(
        f"{patients} patients, 1 to {repeats} samples each:", {kind: f"{share:.1%}" for kind, share in shares.items()}
    )
    assert all(0.86 < share < 0.98 for share in shares.values())
