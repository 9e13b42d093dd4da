"""CONTRIBUTING is true: its map shows the rooms that there are, and its net and config of one's own train."""

import os
import re
import tomllib

import pytest

from documented_commands import ROOT, contributing_block
from vesalius.config.checks import check_config
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


SMALL = ["data.source.patients=32", "data.source.slices=2", "trainer=debug", "logger=none"]


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


def test_the_map_shows_every_room():
    rooms = {path.parent.name for path in (ROOT / "src/vesalius").glob("*/__init__.py")}
    shown = re.findall(r"^  (\w+)/ ", TEXT, re.MULTILINE)
    assert sorted(shown) == sorted(rooms)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/inside.md"])
def test_the_layers_are_those_of_the_linter(name):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    shown = re.sub(r"[`\s]+", " ", (ROOT / name).read_text())
    assert " > ".join(layers) in shown


def test_a_net_of_ones_own_trains(vesalius, tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(contributing_block("own-net"))
    (tmp_path / "myconf/model").mkdir(parents=True)
    (tmp_path / "myconf/model/tiny.yaml").write_text(contributing_block("own-config"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert "vesalius train --config-dir myconf model=tiny" in TEXT
    done = vesalius("train", "--config-dir", "myconf", "model=tiny", *SMALL)
    assert done.returncode == 0, done.stderr

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("VESALIUS_ALLOW", "mynets")
    wrong = load_config("train", ["model=tiny", "+model.net.depth=3"], str(tmp_path / "myconf"))
    with pytest.raises(InputError, match=r"model\.net\.depth"):
        check_config(wrong)
