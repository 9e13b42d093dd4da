"""One export of a stored run, for all tests that only read it: it takes seconds."""

from pathlib import Path

import pytest

from vesalius.deploy.bundle.export import export_run

STORED = Path(__file__).parents[2] / "stored_runs"


@pytest.fixture(scope="session")
def cnn_run() -> Path:
    return STORED / "cnn" / "finished"


@pytest.fixture(scope="session")
def cnn_bundle(cnn_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the stored classifier; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles") / "cnn"
    export_run(cnn_run, folder, intended_use="Tests | of <b>this</b> project.")
    return folder
