"""The sentences on decisions hold the numbers of `metrics.json`, each with its interval."""

import copy

import pytest

from vesalius.metrics.decision.summary import summarize_decision

ENTRY = {"value": 0.5, "ci95": [0.25, 0.75], "n": 8, "groups": 4, "method": "m", "no_skill": 0.1}
CURVE = {"value": [0.3, 0.2, 0.1], "low": [0.1, 0.1, -0.1], "high": [0.5, 0.4, 0.3]}
METRICS = {
    "test": {"ece": ENTRY, "brier": ENTRY, "auroc": ENTRY},
    "calibration": {"method": "temperature", "temperature": 2.0, "test": {"ece": ENTRY, "brier": ENTRY}},
    "operating_point": {
        "rule": "sensitivity@0.95",
        "class": "sick",
        "threshold": 0.3,
        "prevalence": 0.02,
        "val": {"sensitivity": ENTRY, "specificity": ENTRY},
        "test": dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), ENTRY),
    },
    "conformal": {"coverage": 0.9, "by_class": False, "test": {"coverage": ENTRY, "set_size": ENTRY}},
    "abstention": {"kept": [1.0, 0.8, 0.5], "accuracy": CURVE},
    "decision_curve": {
        "sick": {"thresholds": [0.1, 0.2, 0.3], "model": CURVE, "treat_all": CURVE, "useful": [0.1, 0.2]}
    },
}


def test_every_part_has_a_line_and_every_number_its_interval():
    lines = summarize_decision(METRICS)
    assert len(lines) == 6
    text = "\n".join(lines)
    for wanted in ("temperature 2.00", "sensitivity@0.95", "prevalence of .020", "PPV .500 [.250,.750]", "90%"):
        assert wanted in text
    assert ".050" not in text
    assert "thresholds: .100 to .200" in text
    assert "surest 50%: .100 [-.100,.300], of all .300 [.100,.500]" in text


@pytest.mark.parametrize("part", [name for name in METRICS if name != "test"])
def test_a_run_without_a_part_has_the_other_lines(part):
    lines = summarize_decision({name: of for name, of in METRICS.items() if name != part})
    assert len(lines) == 6 - (2 if part == "operating_point" else 1)


def test_nothing_has_no_lines_and_notes_are_shown():
    assert summarize_decision({}) == []
    noted = copy.deepcopy(METRICS)
    noted["test"] |= {name: {**ENTRY, "note": "worse than chance"} for name in ("auroc", "auroc/sick")}
    noted["operating_point"]["note"] = "too few patients"
    noted["operating_point"]["difference"] = {"sensitivity": {**ENTRY, "note": "below"}}
    lines = summarize_decision(noted)
    assert "auroc .500 [.250,.750], auroc/sick .500 [.250,.750]: worse than chance" in lines
    assert "sensitivity .500 [.250,.750] below" in lines
    assert "sensitivity@0.95: too few patients" in lines
    noted["decision_curve"]["sick"]["useful"] = []
    assert any(line.endswith("none shown") for line in summarize_decision(noted))
