"""What all tests share: where things are, and how a command is run as a user would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images of this test session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _isolated(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's cache, W&B account or network settings."""
    monkeypatch.setenv("VESALIUS_CACHE", str(cache_dir))
    monkeypatch.setenv("VESALIUS_IDENTITIES", str(cache_dir.parent / "private" / "identities.sqlite"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def vesalius(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `vesalius ...` in an empty folder and return what it printed."""

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vesalius.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env={**os.environ, "COLUMNS": "200"}
        )

    return run
