"""The table of `make gpu`."""

import json

from gpu_table import DATA, TABLE, record, write_table
from speed_rows import Row


def test_rows_of_several_processes_become_one_table(tmp_path, monkeypatch):
    record(Row("nowhere to go", "s", [1.0], at_most=2))
    monkeypatch.setenv("OUT", str(tmp_path / "new"))
    record(Row("ours", "images/s", [30.0, 60.0, 90.0], [10.0, 20.0, 30.0], "theirs", at_least=2))
    record(Row("resume", "parts that differ", [1.0], at_most=0, note="weights"))
    text = write_table(tmp_path / "new")
    assert (tmp_path / "new" / TABLE).read_text() == text
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:] == ["| ours", "| resume"]
    assert "* resume: weights" in text
    rows = json.loads((tmp_path / "new" / DATA).read_text())["rows"]
    assert [(row["ratios"], row["met"]) for row in rows] == [([3.0, 3.0, 3.0], True), ([], False)]
