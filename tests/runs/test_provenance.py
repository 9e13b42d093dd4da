"""Commit and changes of the code, and what a run cost."""

import subprocess
import time

import pytest

from vesalius.runs.provenance.code import MOST_DIFF, code_version
from vesalius.runs.provenance.cost import Cost
from vesalius.runs.provenance.energy import EnergyMeter
from vesalius.runs.run_folder import RunFolder


def git(place, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    return subprocess.run(["git", *identity, *arguments], cwd=place, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def package(tmp_path):
    """A package that runs from a checkout."""
    package = tmp_path / "checkout" / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("A = 1\n")
    (package.parents[1] / "patients.csv").write_text("Doe\n")
    git(package.parents[1], "init", "-q")
    git(package, "add", ":/")
    git(package, "commit", "-q", "-m", "first")
    return package


def test_without_changes_there_is_only_a_commit(package):
    version = code_version(package)
    assert version.to_dict() == {"commit": git(package, "rev-parse", "HEAD").strip(), "uncommitted": None}
    assert version.diff == ""


def test_the_diff_makes_the_commit_what_was_run(package, tmp_path):
    (package / "__init__.py").write_text("A = 2\n")
    (package / "new.py").write_text("B = 3\n")
    (package.parents[1] / "patients.csv").write_text("Doe\nMeier\n")  # no code
    (package / "patients.txt").write_text("Meier\n")
    before = git(package, "status", "--porcelain")
    version = code_version(package)
    assert git(package, "status", "--porcelain") == before
    assert "Meier" not in version.diff
    clone = tmp_path / "clone"
    git(package, "worktree", "add", "-q", "--detach", str(clone))
    (tmp_path / "uncommitted.diff").write_text(version.diff)
    git(clone, "apply", str(tmp_path / "uncommitted.diff"))
    for name in ("__init__.py", "new.py"):
        assert (clone / "src/package" / name).read_text() == (package / name).read_text()


def test_a_diff_holds_no_secret_and_is_bounded(package, monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_API_KEY", "0123456789secret")
    monkeypatch.setenv("HOME", str(tmp_path / "home of Doe"))
    lines = [f"ROOT = '{tmp_path}/home of Doe/data'", "KEY = '0123456789secret'", "password = 'correct horse'"]
    lines += ["URL = 'postgresql://doe:battery@host/db'"]
    (package / "new.py").write_text("\n".join([*lines, "x" * (2 * MOST_DIFF)]))
    version = code_version(package)
    assert "ROOT = '~/data'" in version.diff
    for secret in ("0123456789secret", "correct horse", "battery", "doe:", "home of"):
        assert secret not in version.diff
    assert MOST_DIFF / 2 < len(version.diff) < 1.01 * MOST_DIFF


def test_a_checkout_that_surrounds_an_installed_package_is_not_its_own(package):
    installed = package.parents[1] / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert code_version(installed).to_dict() == {"commit": None, "uncommitted": None}


def test_seconds_and_joules_add_up_over_attempts(tmp_path):
    folder, joules = RunFolder.create(tmp_path / "run", {"seed": 0}, []), {"cpu": 5.0}
    for _ in range(2):
        with folder.attempt(lambda: dict(joules)) as cost, cost.measure("training"):
            joules["cpu"] += 7.0
            time.sleep(0.01)
    parts = folder.state["parts"]
    assert parts["training"]["cpu_joules"] == 14
    assert 0.02 <= parts["training"]["seconds"] <= folder.state["seconds"] + 5


def test_a_clock_that_goes_back_shortens_nothing(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run", {"seed": 0}, [])
    with folder.attempt():
        monkeypatch.setattr("vesalius.runs.run_folder.time.time", lambda: 0.0)
    assert 0 <= folder.state["seconds"] < 60
    assert folder.state["ended"] < folder.state["started"]


def test_a_damaged_state_costs_no_run():
    assert Cost({"training": {"seconds": "x"}, "data": 3}).parts == {"training": {}, "data": {}}


def rapl(place, number, microjoules, name="package-0"):
    folder = place / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", 1_000_000)):
        (folder / file).write_text(f"{content}\n")


def test_the_counters_of_processors_begin_again_at_0(tmp_path):
    rapl(tmp_path, "0", 900_000)
    rapl(tmp_path, "1", 100_000, "package-1")
    rapl(tmp_path, "0:0", 5, "core")  # part of the package
    rapl(tmp_path, "2", 5, "psys")
    meter = EnergyMeter(tmp_path)
    rapl(tmp_path, "0", 100_000)
    rapl(tmp_path, "1", 300_000, "package-1")
    assert meter() == {"cpu": pytest.approx(0.4)}


def test_what_cannot_be_read_is_not_estimated(tmp_path):
    assert EnergyMeter(tmp_path)() == {}
    assert EnergyMeter(tmp_path, gpus=["GPU-0"])() == {}
    rapl(tmp_path, "0", 0)
    meter = EnergyMeter(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert meter() == {}
