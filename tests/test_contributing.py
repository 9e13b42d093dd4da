"""The working example of CONTRIBUTING works: a net and a config of one's own, outside the repository."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SMALL = ["data.source.patients=32", "data.source.slices=2", "trainer=debug", "logger=none"]


def block(marker: str) -> str:
    """The code block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_a_net_of_ones_own_trains(vesalius, tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(block("own-net"))
    (tmp_path / "myconf/model").mkdir(parents=True)
    (tmp_path / "myconf/model/tiny.yaml").write_text(block("own-config"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert "vesalius train --config-dir myconf model=tiny" in TEXT
    done = vesalius("train", "--config-dir", "myconf", "model=tiny", *SMALL)
    assert done.returncode == 0, done.stderr

    wrong = vesalius("train", "--config-dir", "myconf", "model=tiny", "+model.net.depth=3", *SMALL)
    assert wrong.returncode == 2
    assert "model.net.depth" in wrong.stderr
