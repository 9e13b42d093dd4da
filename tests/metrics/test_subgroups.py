"""Metrics of parts of the patients: equal to those of a table of only these, and suppressed where these are few."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vesalius.config.facts import Facts
from vesalius.evaluation.scoring import score_splits, score_table
from vesalius.metrics.subgroups import FEWEST_PATIENTS, PREFIX, UNKNOWN, describe_suppressed, patient_count

FACTS = Facts("binary", ("no", "yes"), 1, (8, 8), 255.0, (50, 50), 100, (0.5,), (0.2,))


def table_of(sites, seed=0, images=2):
    """A table of a binary task with `images` of each patient; `sites`: number of patients by value."""
    random = np.random.default_rng(seed)
    values = np.repeat(list(sites), list(sites.values()))
    target = np.arange(len(values)) % 2
    chance = np.clip(random.normal(0.4 + 0.2 * target, 0.2), 0.01, 0.99)
    table = pd.DataFrame({"group_id": [f"p{n}" for n in range(len(values))], "target": target})
    table[f"{PREFIX}site"] = values
    table["prob/no"], table["prob/yes"] = 1 - chance, chance
    table = table.loc[table.index.repeat(images)].reset_index(drop=True)
    table.insert(0, "sample_id", [f"s{n}" for n in range(len(table))])
    return table


def subgroups_of(table, facts=FACTS):
    return score_splits({"val": table, "test": table}, facts, "youden").get("subgroups")


def test_each_value_has_the_metrics_of_a_table_of_its_own():
    table = table_of({"a": 40, "b": 30})
    metrics = score_splits({"val": table, "test": table}, FACTS, "youden")
    for value, entries in metrics["subgroups"]["site"].items():
        part = table[table[f"{PREFIX}site"] == value]
        own = score_table(part.reset_index(drop=True), FACTS, metrics["decision"]["threshold"])
        assert entries == {name: own[name] for name in entries}
        assert entries["auroc"]["value"] == pytest.approx(roc_auc_score(part["target"], part["prob/yes"]))
        assert patient_count(entries) == part["group_id"].nunique()
        assert {"recall/no", "recall/yes", "ece", "brier", "accuracy"} <= entries.keys()


def test_few_patients_are_named_and_their_numbers_suppressed():
    table = table_of({"large": 40, "small": 2 * FEWEST_PATIENTS - 1, "tiny": 2})
    sites = subgroups_of(table)["site"]
    small, tiny = sites["small"], sites["tiny"]
    assert all(entry["value"] is not None for entry in sites["large"].values())
    few = FEWEST_PATIENTS - 1
    # only what counts the class with too few patients is missing
    assert small["auroc"]["value"] is small["recall/yes"]["value"] is None
    assert f"{few} patients of class yes, fewer than {FEWEST_PATIENTS}" in small["auroc"]["reason"]
    assert small["accuracy"]["value"] is not None
    assert small["recall/no"]["value"] is not None
    assert all(entry["value"] is None and entry["ci95"] is None for entry in tiny.values())
    lines = describe_suppressed(sites)
    assert [line.partition(":")[0] for line in lines] == ["small", "tiny"]
    assert lines[1] == f"tiny: all numbers suppressed: 2 patients, fewer than {FEWEST_PATIENTS}."
    assert "auroc" in lines[0]
    assert "recall/yes" in lines[0]


def test_an_empty_cell_is_a_value_of_its_own_and_no_column_is_no_entry():
    table = table_of({"a": 20, "": 20})
    assert set(subgroups_of(table)["site"]) == {"a", UNKNOWN}
    assert subgroups_of(table.drop(columns=f"{PREFIX}site")) is None


def test_continuous_targets_by_subgroup():
    facts = Facts("regression", ("age",), 1, (8, 8), 255.0, (100,), 100, (0.5,), (0.2,), None, None, (50.0,), (9.0,))
    table = table_of({"a": 20, "b": FEWEST_PATIENTS - 1})
    error = np.random.default_rng(0).normal(0, 3, len(table))
    table["target/age"], table["pred/age"] = np.arange(len(table)), np.arange(len(table)) + error
    sites = subgroups_of(table.drop(columns="target"), facts)["site"]
    of_a = (table[f"{PREFIX}site"] == "a").to_numpy()
    assert sites["a"]["mae"]["value"] == pytest.approx(np.abs(error[of_a]).mean())
    assert sites["b"]["mae"]["value"] is None
